"""A dataset of trajectories becomes the tokens that the loop made, in both families."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.tiny import Tiny, make_tiny, roll_out
from tests.trajectories import environment_of, make_dataset, make_store, one_hop, two_hops
from vrag.data.dataset import TrajectoryWriter, read_trajectories
from vrag.data.replay import check_fits, load_episodes
from vrag.data.trajectories import expert_episodes
from vrag.environment import DocumentEnvironment
from vrag.episode import Episode
from vrag.errors import DataError
from vrag.policies.expert import ExpertStyle
from vrag.rollout import Limits
from vrag.runs import RunDir
from vrag.testing import MemoryStore, WordRetriever
from vrag.types import Answer, StopReason


@pytest.fixture(scope="module", params=["qwen2_5_vl", "qwen3_vl"])
def tiny(request: pytest.FixtureRequest) -> Tiny:
    return make_tiny(request.param)


@pytest.fixture(scope="module")
def store() -> MemoryStore:
    return make_store()


@pytest.fixture(scope="module")
def dataset(tiny: Tiny, store: MemoryStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("replay") / "set"
    make_dataset(folder, store, [two_hops(store), one_hop(store)], environment_of(tiny))
    return folder


def test_nobody_is_taught_to_give_up(tiny: Tiny, store: MemoryStore) -> None:
    config, found = environment_of(tiny), one_hop(store)
    lost = found.model_copy(update={"id": "lost", "question": "no words", "meta": {"queries": ["nothing of the kind"]}})
    bare = found.model_copy(update={"id": "bare", "gold": []})
    episodes = expert_episodes(
        [lost, bare, found],
        store,
        lambda: DocumentEnvironment(store, WordRetriever(store), config),
        tiny.codec,
        config.view,
        ExpertStyle(box_min=60),
        0,
    )
    assert [episode.task.id for episode in episodes] == ["one"]


def test_the_tokens_are_those_of_the_loop(tiny: Tiny, store: MemoryStore, dataset: Path) -> None:
    config = environment_of(tiny)
    direct = expert_episodes(
        [two_hops(store), one_hop(store)],
        store,
        lambda: DocumentEnvironment(store, WordRetriever(store), config),
        tiny.codec,
        config.view,
        ExpertStyle(box_min=60),
        0,
    )
    loaded, left_out = load_episodes(dataset, tiny.codec)
    assert left_out == [] and len(loaded) == 2
    for mine, theirs in zip(loaded, direct, strict=True):
        assert mine.tokens is not None and theirs.tokens is not None
        assert replace(mine.tokens, images=[]) == replace(theirs.tokens, images=[])
        for a, b in zip(mine.tokens.images, theirs.tokens.images, strict=True):
            assert a.grid == b.grid and np.array_equal(a.pixels, b.pixels)
        assert (mine.turns, mine.task, mine.answer) == (theirs.turns, theirs.task, theirs.answer)


def test_only_what_the_assistant_says_is_trained_on(tiny: Tiny, dataset: Path) -> None:
    for episode in load_episodes(dataset, tiny.codec)[0]:
        assert episode.tokens is not None
        said = [tiny.codec.decode(episode.tokens.ids[a:b]) for a, b in episode.tokens.sampled_runs()]
        assert said == [turn.text for turn in episode.turns]


def test_a_page_of_two_episodes_is_one_object(tiny: Tiny, dataset: Path) -> None:
    two, one = (e.tokens for e in load_episodes(dataset, tiny.codec)[0])
    assert two is not None and one is not None
    assert two.images[2] is one.images[0]


def sampled(tiny: Tiny, folder: Path) -> list[Episode]:
    """Episodes that a model sampled, as a dataset with their ids; called finished though they say nothing."""
    episodes = roll_out(tiny, [str(i) for i in range(4)])
    config = environment_of(tiny)
    writer = TrajectoryWriter(RunDir.open(folder, {}), config)
    for episode in episodes:
        episode.stop, episode.answer = StopReason.ANSWER, "a"
        episode.turns = [turn.model_copy(update={"action": Answer(text="a")}) for turn in episode.turns]
        writer.add(episode, sampled=True)
    writer.finish()
    return episodes


def test_sampled_ids_are_kept(tiny: Tiny, tmp_path: Path) -> None:
    episodes = sampled(tiny, tmp_path)
    loaded, _ = load_episodes(tmp_path, tiny.codec)
    recoded = 0
    for mine, theirs in zip(loaded, episodes, strict=True):
        assert mine.tokens is not None and theirs.tokens is not None
        assert mine.tokens.ids == theirs.tokens.ids and mine.tokens.loss_mask == theirs.tokens.loss_mask
        runs = [theirs.tokens.ids[a:b] for a, b in theirs.tokens.sampled_runs()]
        texts = [turn.text for turn in theirs.turns]
        recoded += sum(tiny.codec.encode_sampled(text) != run for text, run in zip(texts, runs, strict=True))
    assert recoded, "else encoding the text again would have done as well"


def test_ids_of_another_tokenizer_are_left_out(tiny: Tiny, tmp_path: Path) -> None:
    sampled(tiny, tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "episodes.jsonl").read_text().splitlines()]
    rows[1]["messages"][1]["ids"] = tiny.codec.encode_text("other words")
    (tmp_path / "episodes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    loaded, left_out = load_episodes(tmp_path, tiny.codec)
    assert len(loaded) == 3 and len(left_out) == 1 and "another tokenizer" in left_out[0]


def test_what_cannot_be_used_is_left_out_alone(tiny: Tiny, dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    shutil.copytree(dataset, folder)
    two, one = read_trajectories(folder)
    crop = folder / next(name for name in two.images if name not in one.images)
    crop.write_bytes(crop.read_bytes()[:200])
    loaded, left_out = load_episodes(folder, tiny.codec)
    assert [e.task.id for e in loaded] == ["one"] and crop.name in left_out[0]

    tokens = [len(e.tokens.ids) for e in load_episodes(dataset, tiny.codec)[0] if e.tokens]
    loaded, left_out = load_episodes(dataset, tiny.codec, Limits(max_tokens=max(tokens) - 1))
    assert [e.task.id for e in loaded] == ["one"] and "two" in left_out[0] and "tokens" in left_out[0]
    with pytest.raises(DataError, match="no episode to train on"):
        load_episodes(dataset, tiny.codec, Limits(max_tokens=50))


def test_an_image_outside_the_dataset_is_not_read(tiny: Tiny, dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    shutil.copytree(dataset, folder)
    name = read_trajectories(folder)[0].images[0]
    shutil.copy(folder / name, tmp_path / "secret.png")
    log = folder / "episodes.jsonl"
    log.write_text(log.read_text().replace(name, "../secret.png"))
    _, left_out = load_episodes(folder, tiny.codec)
    assert len(left_out) == 1 and "outside the dataset" in left_out[0]


def test_a_dataset_of_the_other_family_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    other = make_tiny("qwen3_vl" if tiny.shape.family == "qwen2_5_vl" else "qwen2_5_vl")
    mine = environment_of(tiny).view
    check_fits(mine, mine, tmp_path)
    with pytest.raises(DataError, match="--for"):
        check_fits(environment_of(other).view, mine, tmp_path)
    with pytest.raises(DataError, match="pixels"):
        check_fits(mine.model_copy(update={"max_pixels": mine.max_pixels * 4}), mine, tmp_path)
