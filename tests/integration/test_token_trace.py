"""The tokens of kept episodes: what was trained on, and what the update saw of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.tiny import NoisyWorld, make_tiny
from vrag.episode import Episode, Reward, Tokens
from vrag.training.algorithm import AlgorithmConfig
from vrag.training.learner import Learner
from vrag.training.optimizer import OptimizerConfig
from vrag.training.prefix_tree import PrefixTree
from vrag.training.rl import GRPO
from vrag.training.rl_config import RLConfig
from vrag.training.run import CheckpointConfig
from vrag.training.samples import KeptEpisode, SampleConfig, read_samples
from vrag.training.token_trace import Observed, Pads, Sampled, TokenTrace, UpdateScores, trace_of
from vrag.types import Task


def by_tokens(episode: Episode) -> Reward:
    assert episode.tokens is not None
    total = sum(episode.tokens.response_ids) % 7 / 7
    return Reward(total=total, parts={"answer": total})


class Spied:
    """A short run with all that went in and out of its updates."""

    def __init__(self, out: Path, monkeypatch: pytest.MonkeyPatch, score: Any = by_tokens, **settings: Any) -> None:
        self.batches: list[tuple[PrefixTree, list[Tokens], torch.Tensor]] = []
        self.episodes: dict[int, list[Episode]] = {}
        monkeypatch.setattr(Learner, "_backward", self._spy(Learner._backward))
        tiny = make_tiny("qwen2_5_vl")
        self.codec = tiny.codec
        config = RLConfig(
            groups=2, group_size=4, limits_tokens=500, limits_turn_tokens=10, samples=SampleConfig(every=1),
            optimizer=OptimizerConfig(lr=3e-3), checkpoints=CheckpointConfig(every=9), **{"steps": 2} | settings,
        )  # fmt: skip
        trainer = GRPO(tiny.model, tiny.codec, lambda: NoisyWorld(tiny.factor), score, config)
        tasks = [Task(id=str(i), question="?") for i in range(5)]
        trainer.train(tasks, out, on_episodes=lambda step, episodes: self.episodes.update({step: episodes}))
        self.kept = read_samples(out)

    def _spy(self, real: Any) -> Any:
        def backward(learner: Learner, chosen: Sequence[Any], scale: Any, watch: Any) -> dict[str, float]:
            batch = learner._tree(chosen)
            advantages = torch.tensor([e.advantage for e in chosen], dtype=torch.float64)
            self.batches.append((batch, [e.tokens for e in chosen], advantages))
            return real(learner, chosen, scale, watch)

        return backward

    def episode_of(self, kept: KeptEpisode) -> Episode:
        (found,) = [
            e for e in self.episodes[kept.step]
            if (e.task.id, e.sample) == (kept.episode.task.id, kept.episode.sample)
        ]  # fmt: skip
        return found

    def trained(self, tokens: Tokens) -> list[tuple[list[int], float]]:
        """Of each time that an update took an episode: at which of its ids there was a loss, and the advantage."""
        return [
            (batch.loss_mask[row].nonzero()[:, 0].tolist(), float(advantages[row]))
            for batch, all_tokens, advantages in self.batches
            for row, one in enumerate(all_tokens)
            if one is tokens
        ]


def trace(kept: KeptEpisode) -> TokenTrace:
    assert kept.tokens is not None
    return kept.tokens


def sampled(found: TokenTrace) -> list[Sampled]:
    return [span for span in found.spans if isinstance(span, Sampled)]


def mask(found: TokenTrace) -> list[int]:
    """Of every token of the episode, pads one by one: whether it is shown as sampled."""
    sizes = [(span.count if isinstance(span, Pads) else len(span.pieces), span.type) for span in found.spans]
    return [int(kind == "sampled") for count, kind in sizes for _ in range(count)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        yield Spied(tmp_path_factory.mktemp("rl") / "run", patch, updates=2)


def test_what_is_shown_as_sampled_is_what_the_loss_was_taken_over(run: Spied) -> None:
    seen = 0
    for kept in run.kept:
        tokens = run.episode_of(kept).tokens
        assert tokens is not None and len(mask(trace(kept))) == len(tokens.ids)
        for positions, _ in run.trained(tokens):
            assert np.flatnonzero(mask(trace(kept))).tolist() == positions
            seen += 1
    assert len(run.kept) == 6 and seen == 6


def test_the_advantage_is_that_of_the_update(run: Spied) -> None:
    shown = [(trace(kept).advantage, run.trained(run.episode_of(kept).tokens)) for kept in run.kept]  # type: ignore[arg-type]
    assert all(advantage == used for advantage, ((_, used),) in shown)
    assert len({advantage for advantage, _ in shown}) > 2


def test_the_pieces_are_the_text_and_images_are_counted(run: Spied) -> None:
    for kept in run.kept:
        episode = run.episode_of(kept)
        assert episode.tokens is not None
        pad, spans = run.codec.image_pad_id, trace(kept).spans
        text = "".join(piece for span in spans if not isinstance(span, Pads) for piece in span.pieces)
        ids = [id for id in episode.tokens.ids if id != pad]
        assert text == run.codec.tokenizer.decode(ids, skip_special_tokens=False)
        pads = [span for span in spans if isinstance(span, Pads)]
        assert [span.count for span in pads] == [t * h * w // 4 for t, h, w in (i.grid for i in episode.tokens.images)]
        assert sum(span.count for span in pads) == episode.tokens.ids.count(pad)
        assert {(span.ref.page, span.crop) for span in pads} <= {(1, False)}


def test_an_image_is_a_crop_where_a_crop_was_shown(run: Spied) -> None:
    kept = max(run.kept, key=lambda one: len(one.episode.turns))
    episode = run.episode_of(kept)
    assert episode.tokens is not None and episode.turns[0].observation is not None
    looked = episode.turns[0].observation.model_copy(update={"kind": "crop"})
    turns = [episode.turns[0].model_copy(update={"observation": looked}), *episode.turns[1:]]
    pieces, pad = run.codec.pieces(episode.tokens.ids), run.codec.image_pad_id
    found = trace_of(replace(episode, turns=turns), pieces, pad, None, None)
    shown = [turn.observation.view for turn in turns if turn.observation]
    crops = [span.crop for span in found.spans if isinstance(span, Pads)]
    assert crops == [view == looked.view for view in shown] and crops[0] and not all(crops)


def test_the_log_probabilities_are_those_of_the_rollout(run: Spied) -> None:
    for kept in run.kept:
        tokens = run.episode_of(kept).tokens
        assert tokens is not None
        said = [lp for lp, m in zip(tokens.logprobs, tokens.loss_mask, strict=True) if m]
        assert [lp for span in sampled(trace(kept)) for lp in span.logprobs] == pytest.approx(said, abs=6e-6)


def test_what_the_update_saw_agrees_with_the_rollout_until_it_has_moved(run: Spied) -> None:
    """Of two updates the first sees the policy as it was, and the second one that has moved, up to its bound."""
    moved = []
    for kept in run.kept:
        for span in sampled(trace(kept)):
            assert span.update is not None
            for old, new, ratio in zip(span.logprobs, span.update.logprobs, span.update.ratios, strict=True):
                assert old is not None and new is not None and ratio is not None
                assert ratio == pytest.approx(np.exp(new - old), rel=1e-3)
                moved.append(abs(ratio - 1) > 0.01)
            assert all(entropy is not None and 0 < entropy < 7 for entropy in span.update.entropy)
            acted = [r is not None and abs(r - 1) > 0.2 for r in span.update.ratios]
            assert all(outside for outside, bound in zip(acted, span.update.clipped, strict=True) if bound)
    assert any(moved) and not all(moved)


def test_an_episode_that_teaches_nothing_has_no_update(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kl = AlgorithmConfig(kl=0.0)
    flat = Spied(tmp_path / "flat", monkeypatch, lambda _: Reward(total=0.5, parts={}), steps=1, algorithm=kl)
    assert [trace(kept).advantage for kept in flat.kept] == [0, 0, 0] and not flat.batches
    assert all(span.update is None for kept in flat.kept for span in sampled(trace(kept)))
    dropped = AlgorithmConfig(name="dapo", extra_rounds=1, overlong_zone=0.0)
    none = Spied(tmp_path / "none", monkeypatch, lambda _: Reward(total=0.5, parts={}), steps=1, algorithm=dropped)
    assert [trace(kept).advantage for kept in none.kept] == [None, None, None]


def test_numbers_that_are_not_finite_are_said_to_be_none(run: Spied) -> None:
    part = UpdateScores([-0.5, float("nan")], [1.0, float("inf")], [0.123456789, 0.0], [0, 1]).part(0, 2)
    assert (part.logprobs, part.ratios, part.entropy) == ([-0.5, None], [1.0, None], [0.12346, 0.0])


def test_a_line_is_short_and_a_run_without_tokens_still_opens(run: Spied, tmp_path: Path) -> None:
    kept = run.kept[0]
    row = json.loads(kept.model_dump_json())
    columns = sum(len(span.pieces) for span in trace(kept).spans if isinstance(span, (Observed, Sampled)))
    assert len(json.dumps(row["tokens"], separators=(",", ":"))) < 300 * len(row["tokens"]["spans"]) + 60 * columns
    del row["tokens"]
    (tmp_path / "samples.jsonl").write_text(json.dumps(row) + "\n")
    (old,) = read_samples(tmp_path)
    assert old.tokens is None and old.episode == kept.episode
