"""What a wave computes: each conversation once, and no rows that are done; with the same episodes as row by row."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import pytest
import torch

from tests.tiny import NoisyWorld, Tiny, make_tiny
from vrag.episode import Episode
from vrag.policies.cache import ROOM, RoomyLayer
from vrag.policies.transformers import TransformersPolicy
from vrag.policies.wave import Wave
from vrag.rollout import Job, Limits, rollout_many
from vrag.types import Message, Sampling, Step, Task

Fed = list[tuple[int, int]]  # rows and new tokens of each forward


class OnePast(NoisyWorld):
    """Siblings are asked the same and shown the same images, by the codec's own objects."""

    seen: ClassVar[dict[tuple[str, int], Step]] = {}

    def reset(self, task: Task) -> list[Message]:
        self.name = task.id
        return super().reset(task)

    async def step(self, text: str) -> Step:
        found = await super().step(text)
        return self.seen.setdefault((self.name, self.turns), found)


@pytest.fixture(scope="module", params=["qwen2_5_vl", "qwen3_vl"])
def tiny(request: pytest.FixtureRequest) -> Tiny:
    return make_tiny(request.param)


@pytest.fixture
def fed(monkeypatch: pytest.MonkeyPatch) -> Fed:
    found: Fed = []
    forward = TransformersPolicy._forward

    def watched(self: Any, wave: Any, ids: torch.Tensor, *rest: Any) -> torch.Tensor:
        found.append((ids.shape[0], ids.shape[1]))
        return forward(self, wave, ids, *rest)

    monkeypatch.setattr(TransformersPolicy, "_forward", watched)
    return found


def groups(tiny: Tiny, tasks: list[str], size: int, temperature: float, max_batch: int = 64) -> list[Episode]:
    OnePast.seen = {}
    policy = TransformersPolicy(tiny.model, tiny.codec, max_batch=max_batch, stop_tags=("x", "e", "</search>"))
    jobs = [Job(Task(id=name, question="?"), sample) for name in tasks for sample in range(size)]
    limits = Limits(max_tokens=600, max_turn_tokens=12, min_turn_tokens=4)
    run = rollout_many(
        jobs, lambda: OnePast(tiny.factor), policy, tiny.codec, limits, Sampling(temperature=temperature)
    )
    return asyncio.run(run)


def ids(episodes: list[Episode]) -> list[list[int]]:
    return [e.tokens.ids for e in episodes if e.tokens]


def logprobs(episodes: list[Episode]) -> torch.Tensor:
    return torch.tensor([lp for e in episodes if e.tokens for lp in e.tokens.logprobs])


def test_a_group_is_prefilled_once_and_says_what_its_episodes_say_alone(tiny: Tiny, fed: Fed) -> None:
    together = groups(tiny, ["0", "3", "4"], 4, temperature=0.7)
    assert fed[0][0] == 3, "twelve episodes, three prompts"
    assert fed[1][0] == 12
    apart = groups(tiny, ["0", "3", "4"], 4, temperature=0.7, max_batch=1)
    assert ids(together) == ids(apart)
    assert (logprobs(together) - logprobs(apart)).abs().max() <= 1e-5


def test_siblings_that_said_the_same_share_their_next_prefill(tiny: Tiny, fed: Fed) -> None:
    episodes = groups(tiny, ["3", "4"], 5, temperature=0.0)
    assert max(len(e.turns) for e in episodes) >= 3
    assert {rows for rows, width in fed if width > 1} <= {1, 2}, "greedy siblings never part"
    assert len({tuple(i) for i in ids(episodes)}) == 2


def test_rows_that_have_stopped_are_not_decoded_on(tiny: Tiny, fed: Fed) -> None:
    episodes = groups(tiny, [str(i) for i in range(12)], 1, temperature=1.0)
    sampled = [len(tiny.codec.encode_text(turn.text)) for e in episodes for turn in e.turns]
    assert min(sampled) < max(sampled), "turns must differ in length"
    decoded = [rows for rows, width in fed if width == 1]
    assert min(decoded) <= 3 and max(decoded) == 12
    kept = sum(m for e in episodes if e.tokens for m in e.tokens.loss_mask)
    assert sum(decoded) < 2 * kept, "at most half of a batch is done"


def test_a_cache_grows_in_place_and_holds_what_it_was_given() -> None:
    steps = [torch.randn(3, 2, width, 4, generator=torch.Generator().manual_seed(width)) for width in (7, 1, 2, ROOM)]
    layer, places = RoomyLayer(), set[int]()
    for number, new in enumerate(steps, start=1):
        keys, values = layer.update(new, -new)
        places.add(keys.data_ptr())
        assert torch.equal(keys, torch.cat(steps[:number], dim=2)) and torch.equal(values, -keys)
    assert len(places) == 2, "it moved once, when the room was used up"
    layer.batch_select_indices(torch.tensor([2, 0]))
    keys, values = layer.update(steps[1][:2], steps[1][:2])
    assert torch.equal(keys[:, :, :-1], torch.cat(steps, dim=2)[[2, 0]]) and torch.equal(
        values[:, :, -1:], steps[1][:2]
    )


def test_plain_layers_are_those_that_grow_in_place(tiny: Tiny) -> None:
    layers = Wave.empty([], tiny.model.config).cache.layers
    assert len(layers) == tiny.shape.layers and {type(layer) for layer in layers} == {RoomyLayer}
