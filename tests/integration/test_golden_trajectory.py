"""One trajectory, four users of the loop: data construction, training, evaluation and asking see the same bytes."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from pathlib import Path

from tests.tiny import make_tiny
from vrag.data.trajectories import Tokenized
from vrag.environment import DocumentEnvironment, EnvironmentConfig
from vrag.episode import Episode
from vrag.evaluation.runner import EvalSettings, evaluate
from vrag.geometry import ViewSpec
from vrag.policies.scripted import ScriptedPolicy
from vrag.rewards.combine import score_episode
from vrag.rollout import Job, Limits, rollout, rollout_many
from vrag.runs import RunDir
from vrag.testing import MemoryStore, WordRetriever
from vrag.types import Evidence, ImagePart, Message, PageRef, Request, Sample, Sampling, Task

SCRIPT = [
    "<think>look</think><search>revenue of Acme</search>",
    "<think>closer</think><bbox>[20, 20, 120, 60]</bbox>",
    "<think>closer still</think><bbox>[10, 10, 90, 50]</bbox>",
    "<think>read</think><answer>4,812</answer>",
]
TASK = Task(
    id="t", question="What is the revenue?", answers=["4,812"], gold=[Evidence(ref=PageRef(document="a.pdf", page=1))]
)


class Watching:
    """A policy that keeps the bytes of every image it is shown."""

    def __init__(self) -> None:
        self.inner, self.seen = ScriptedPolicy(SCRIPT), list[str]()

    async def generate(self, request: Request) -> Sample:
        self.seen = [_digest(part) for message in request.messages for part in _images(message)]
        return await self.inner.generate(request)

    def close(self, session: str) -> None:
        self.inner.close(session)


def _images(message: Message) -> list[ImagePart]:
    return [part for part in message.parts if isinstance(part, ImagePart)]


def _digest(part: ImagePart) -> str:
    return hashlib.sha256(repr(part.image.size).encode() + part.image.tobytes()).hexdigest()


def test_every_user_of_the_loop_gets_byte_equal_observations(tmp_path: Path) -> None:
    store = MemoryStore()
    store.add("a.pdf", 1, ["Revenue of Acme", "2020  4,812"])
    store.add("b.pdf", 1, ["Costs of Acme", "2020  100"])
    tiny = make_tiny("qwen2_5_vl")
    spec = ViewSpec(min_pixels=tiny.shape.min_pixels, max_pixels=tiny.shape.max_pixels)
    config = EnvironmentConfig(view=spec, prompt="brief-v1")

    def make() -> DocumentEnvironment:
        return DocumentEnvironment(store, WordRetriever(store), config)

    asking, building, training, measuring = (Watching() for _ in range(4))
    limits, sampling = Limits(), Sampling()
    asked = asyncio.run(rollout(make(), asking, None, TASK, limits, sampling))
    built = asyncio.run(rollout(make(), Tokenized(building, tiny.codec), tiny.codec, TASK, limits, sampling))
    trained: Episode = asyncio.run(
        rollout_many([Job(TASK)], make, Tokenized(training, tiny.codec), tiny.codec, limits, sampling)
    )[0]
    run = RunDir.open(tmp_path / "run", {"task": TASK.id})
    records = asyncio.run(
        evaluate(
            run,
            [TASK],
            make_environment=make,
            policy=measuring,
            codec=None,
            score=score_episode,
            settings=EvalSettings(),
            limits=limits,
        )
    )
    assert len(asking.seen) == 3
    assert asking.seen == building.seen == training.seen == measuring.seen
    turns = [turn.model_dump() for turn in asked.turns]
    for other in (built.turns, trained.turns, records[0].turns):
        assert [turn.model_dump() for turn in other] == turns
    assert built.tokens is not None and trained.tokens is not None
    assert built.tokens.response_ids == trained.tokens.response_ids
    assert replace(built.tokens, images=[]) == replace(trained.tokens, images=[])
