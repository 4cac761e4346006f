"""Where the tokens of a box are told to look, in whole trajectories of the expert."""

import re
from typing import Any

import pytest

from tests.tiny import Tiny, make_tiny, spec_of
from tests.trajectories import make_store, two_hops
from vrag.data.trajectories import expert_episodes
from vrag.environment import DocumentEnvironment, EnvironmentConfig
from vrag.episode import Episode
from vrag.errors import UsageError
from vrag.geometry import ViewSpec
from vrag.policies.expert import ExpertStyle
from vrag.testing import MemoryStore, WordRetriever
from vrag.training.demonstration import example


@pytest.fixture(scope="module")
def tiny() -> Tiny:
    return make_tiny("qwen3_vl")


@pytest.fixture(scope="module")
def spec(tiny: Tiny) -> ViewSpec:
    return spec_of(tiny)


@pytest.fixture(scope="module")
def store() -> MemoryStore:
    return make_store()


def played(tiny: Tiny, store: MemoryStore, spec: ViewSpec, style: ExpertStyle, **settings: Any) -> Episode:
    config = EnvironmentConfig(view=spec, max_turns=8, **settings)

    def make() -> DocumentEnvironment:
        return DocumentEnvironment(store, WordRetriever(store), config)

    return expert_episodes([two_hops(store)], store, make, tiny.codec, spec, style, 0)[0]


@pytest.fixture(scope="module")
def episode(tiny: Tiny, store: MemoryStore, spec: ViewSpec) -> Episode:
    return played(tiny, store, spec, ExpertStyle(box_min=60))


def test_each_box_looks_at_its_value_on_the_page(tiny: Tiny, store: MemoryStore, episode: Episode) -> None:
    assert [turn.action.name for turn in episode.turns if turn.action] == ["search", "bbox", "search", "bbox", "answer"]
    check_glances(tiny, store, episode, [(0, "42"), (2, "48")])


def check_glances(tiny: Tiny, store: MemoryStore, episode: Episode, expected: list[tuple[int, str]]) -> None:
    """For each glance the number of the image that it looks into, and the value seen there."""
    assert episode.tokens is not None
    ids = episode.tokens.ids
    starts = [i for i, token in enumerate(ids) if token == tiny.codec.image_pad_id and ids[i - 1] != token]
    views = [view for turn in episode.turns if turn.observation for view in turn.observation.views]
    for glance, (number, text) in zip(example(episode, {}, tiny.codec).glances, expected, strict=True):
        written = tiny.codec.decode(ids[glance.start + 1 : glance.end + 1])
        assert re.fullmatch(r"<bbox>\[\d+, \d+", written), "the second corner follows from the first"
        view = views[number]
        row, column = divmod(glance.target - starts[number], view.width // tiny.factor)
        box = store.box(store.page(view.page_id), text)
        page = store.page(view.page_id)
        x = (box.x1 + box.x2) / 2 * page.width - view.region.x1
        y = (box.y1 + box.y2) / 2 * page.height - view.region.y1
        assert column == int(x / view.region.width * view.width / tiny.factor)
        assert row == int(y / view.region.height * view.height / tiny.factor)


def test_a_box_that_missed_is_not_imitated_and_the_next_looks_at_the_page_again(
    tiny: Tiny, store: MemoryStore, spec: ViewSpec
) -> None:
    mended = played(tiny, store, spec, ExpertStyle(box_min=60, miss=1.0), crops_of="page")
    names = [turn.action.name for turn in mended.turns if turn.action]
    assert names == ["search", "bbox", "bbox", "search", "bbox", "bbox", "answer"] and mended.tokens is not None
    made = example(mended, {}, tiny.codec)
    weights, told = iter(made.weights), list[set[float]]()
    for length in mended.tokens.turn_lengths():
        told.append({next(weights) for _ in range(length)})
    assert told == [{1}, {0}, {1}, {1}, {0}, {1}, {1}]
    check_glances(tiny, store, mended, [(0, "42"), (3, "48")])


def test_an_expert_that_misses_needs_an_environment_that_lets_it_draw_again(
    tiny: Tiny, store: MemoryStore, spec: ViewSpec
) -> None:
    with pytest.raises(UsageError, match="crops_of"):
        played(tiny, store, spec, ExpertStyle(miss=0.5))


def test_without_guidance_nothing_is_looked_for(episode: Episode) -> None:
    assert example(episode, {}).glances == ()
