"""Random tiny models of both families, and a noisy world for them: what the engine's tests share."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from vrag.codecs.qwen_vl import QwenVLCodec
from vrag.episode import Episode
from vrag.geometry import ViewSpec
from vrag.policies.transformers import TransformersPolicy
from vrag.rollout import Job, Limits, rollout_many
from vrag.testing import MemoryStore
from vrag.training.tiny import TinyShape, make_image_processor, make_model, make_tokenizer
from vrag.types import (
    Box,
    Evidence,
    ImagePart,
    Message,
    Observation,
    Page,
    PageRef,
    Sampling,
    Step,
    StopReason,
    Task,
    Turn,
    View,
)

torch.set_num_threads(1)  # these models are too small to share between threads, least of all on a busy machine

TEXTS = ["<think>find a</think><search> question </search>", "Question: what? user assistant 12 [1, 2, 3, 4]"]


@dataclass(frozen=True)
class Tiny:
    model: Any
    codec: QwenVLCodec
    shape: TinyShape

    @property
    def factor(self) -> int:
        return self.shape.patch * 2


def make_tiny(family: str, seed: int = 0) -> Tiny:
    """About 0.2 million parameters; every part of the real class is there."""
    shape = TinyShape(
        family=family,  # type: ignore[arg-type]
        patch=14 if family == "qwen2_5_vl" else 16,
        vocabulary=400,
        hidden=64,
        layers=2,
        heads=4,
        kv_heads=2,
        intermediate=128,
        vision_hidden=32,
        vision_layers=2,
        vision_heads=2,
        vision_intermediate=64,
        min_pixels=4 * 32 * 32,
        max_pixels=36 * 32 * 32,
    )
    tokenizer = make_tokenizer(TEXTS * 3, shape.vocabulary)
    model = make_model(shape, tokenizer, seed)
    return Tiny(model, QwenVLCodec(tokenizer, make_image_processor(shape)), shape)


def spec_of(tiny: Tiny) -> ViewSpec:
    """How a Qwen3-VL of this shape is shown pages."""
    return ViewSpec(
        frame="relative1000", factor=tiny.factor, min_pixels=tiny.shape.min_pixels, max_pixels=tiny.shape.max_pixels
    )


def seek(store: MemoryStore, page: Page, name: str, value: str) -> Task:
    """A task whose answer is `value`, which stands on `page` and is sought by `name`."""
    gold = Evidence(ref=page.ref, box=store.box(page, value))
    return Task(id=name, question=f"What is the {name}?", answers=[value], gold=[gold], meta={"metric": name})


class NoisyWorld:
    """Ragged questions, noise images of any size, and an end after 1 to 5 turns; all a function of the task."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def reset(self, task: Task) -> list[Message]:
        self.rng = np.random.default_rng(int(task.id))
        self.turns = int(self.rng.integers(1, 6))
        return [Message("user", ["Question: " + "x" * int(self.rng.integers(1, 20))])]

    async def step(self, text: str) -> Step:
        await asyncio.sleep(0)
        self.turns -= 1
        if self.turns <= 0:
            return Step(Turn(text=text), [], StopReason.TURNS)
        width, height = (self.factor * int(n) for n in self.rng.integers(1, 5, size=2))
        region = Box(x1=0, y1=0, x2=width, y2=height)
        view = View(page_id="p", ref=PageRef(document="d", page=1), region=region, width=width, height=height)
        noise = (self.rng.random((height, width, 3)) * 255).astype("uint8")
        turn = Turn(text=text, observation=Observation(kind="page", view=view))
        return Step(turn, [Message("user", [ImagePart(Image.fromarray(noise), view)])])


def roll_out(
    tiny: Tiny,
    tasks: Sequence[str],
    *,
    max_batch: int = 5,
    temperature: float = 0.7,
    max_tokens: int = 600,
    seed: int = 0,
) -> list[Episode]:
    """Episodes of `tasks` (numbers as ids); generations stop early at frequent letters, so rows are ragged."""
    policy = TransformersPolicy(tiny.model, tiny.codec, max_batch=max_batch, stop_tags=("x", "e", "</search>"))
    jobs = [Job(Task(id=name, question="?"), seed=seed) for name in tasks]
    return asyncio.run(
        rollout_many(
            jobs,
            lambda: NoisyWorld(tiny.factor),
            policy,
            tiny.codec,
            Limits(max_tokens=max_tokens, max_turn_tokens=12, min_turn_tokens=4),
            Sampling(temperature=temperature),
        )
    )
