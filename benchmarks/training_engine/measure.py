"""One way of doing one thing, in a process of its own: prints its CPU seconds, peak memory and tokens as JSON.

Called by run.py. CPU seconds of one thread, since they are what a busy machine leaves comparable.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from by_trl import TrlUpdate
from regenerate import Regenerating
from world import Load, Pages

from vrag.actions import STOP_TAGS
from vrag.codecs.qwen_vl import QwenVLCodec
from vrag.episode import Episode, Reward
from vrag.policies.transformers import TransformersPolicy
from vrag.protocols import Environment, Policy
from vrag.rollout import Job, Limits, rollout_many
from vrag.training.advantages import advantages_of
from vrag.training.algorithm import AlgorithmConfig
from vrag.training.learner import Learner
from vrag.training.memory import checkpoint_activations
from vrag.training.rl_config import RLConfig
from vrag.training.tiny import TinyShape, make_image_processor, make_model, make_tokenizer
from vrag.training.watch import Watch
from vrag.types import Sampling, Task


class Work:
    """A model, an environment, and the episodes to roll out; made anew with the same seeds in each process."""

    def __init__(self, load: Load, *, ragged: bool) -> None:
        shape = TinyShape()
        tokenizer = make_tokenizer(["what is asked"] * 3, shape.vocabulary)
        self.model: Any = make_model(shape, tokenizer, 0)
        self.codec = QwenVLCodec(tokenizer, make_image_processor(shape))
        self.tasks, self.size = load.tasks(), load.group_size
        self.make: Callable[[], Environment] = lambda: Pages(load, shape.patch * 2, ragged=ragged)
        self.limits, self.tags = Limits(10_240, load.sampled), ()

    def roll_out(self, policy: Policy) -> list[Episode]:
        jobs = [Job(task, sample) for task in self.tasks for sample in range(self.size)]
        sampling = Sampling(temperature=1.0, max_tokens=self.limits.max_turn_tokens)
        return asyncio.run(rollout_many(jobs, self.make, policy, self.codec, self.limits, sampling))


class Documents(Work):
    """A policy that ships over a corpus: episodes that end when they want to."""

    def __init__(self, model: str, corpus: str, tasks: Path, groups: int, size: int) -> None:
        from vrag.cli.loaded import Loaded, Opened

        loaded = Loaded(model)
        opened = Opened(corpus, tasks, loaded)
        self.model, self.codec, self.make = loaded.model, loaded.codec, opened.make
        self.tasks: list[Task] = list(opened.tasks[:groups])
        self.size, self.limits, self.tags = size, Limits(2048, 96), STOP_TAGS


def rollout(work: Work, way: str) -> tuple[Callable[[], object], Callable[[], int]]:
    if way == "vrag":
        policy: Policy = TransformersPolicy(work.model, work.codec, stop_tags=work.tags)
    else:
        policy = Regenerating(work.model, work.codec, stop_tags=work.tags)
    last: list[Episode] = []

    def run() -> None:
        work.codec._encoded.clear()  # each rollout sees its images for the first time
        last[:] = work.roll_out(policy)

    return run, lambda: sum(len(e.tokens.ids) for e in last if e.tokens)


def update(
    work: Work, way: str, *, frozen: bool = False, recomputed: bool = False, micro_tokens: int
) -> tuple[Callable[[], object], Callable[[], int]]:
    """The gradient of one batch, with the tower trained along or `frozen`, and activations kept or `recomputed` by
    layers; rewards are random.
    """
    for name, parameter in work.model.named_parameters():
        parameter.requires_grad_(not (frozen and "visual" in name))
    episodes = work.roll_out(TransformersPolicy(work.model, work.codec, stop_tags=work.tags))
    rng = np.random.default_rng(0)
    episodes = [replace(e, reward=Reward(total=float(rng.random()), parts={})) for e in episodes]
    if recomputed and way != "vrag":
        checkpoint_activations(work.model)
    tokens = [e.tokens for e in episodes if e.tokens]
    count = sum(len(one.ids) for one in tokens)
    if way == "vrag":
        groups = len(episodes) // work.size
        config = RLConfig(
            groups=groups,
            group_size=work.size,
            algorithm=AlgorithmConfig(kl=0.0),
            max_tokens=micro_tokens,
            freeze_vision=frozen,
            gradient_checkpointing=recomputed,
        )
        learner = Learner(work.model, work.codec, config)

        def run() -> None:
            experiences, valid = learner._experiences(episodes, Watch())
            learner.accumulate(experiences, learner._scale(valid, 1.0))

    else:
        advantages = [a or 0.0 for a in advantages_of(episodes, work.size)[0]]
        width = max(len(one.prompt_ids) for one in tokens) + max(len(one.response_ids) for one in tokens)
        fitting = [n for n in range(2, len(tokens) + 1) if len(tokens) % n == 0 and n * width <= micro_tokens]
        micro = max(fitting, default=2)  # its trainer wants two generations in a batch
        trl = TrlUpdate(work.model, work.codec.tokenizer, work.codec.image_pad_id, len(tokens), micro)
        order = rng.permutation(len(tokens)).tolist()

        def run() -> None:
            trl.run(tokens, advantages, order)

    def fresh() -> float:
        work.model.zero_grad()
        run()
        return gradient_norm(work.model)

    return fresh, lambda: count


def gradient_norm(model: Any) -> float:
    return float(sum((p.grad.double() ** 2).sum() for p in model.parameters() if p.grad is not None)) ** 0.5


def rise(run: Callable[[], object]) -> float:
    """How far the memory of this process rises above where it stands, in MB (Linux)."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    run()
    return (_status("VmHWM") - before) / 1024


def _status(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1])


def main() -> None:
    wanted = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    if wanted.get("corpus"):
        tasks = Path(wanted["tasks"])
        work: Work = Documents(wanted["model"], wanted["corpus"], tasks, wanted["groups"], wanted["group_size"])
    else:
        load = Load(**{key: wanted[key] for key in ("groups", "group_size", "turns", "tokens")})
        work = Work(load, ragged=wanted["kind"] == "update")
    way = wanted["way"]
    how = {key: wanted[key] for key in ("frozen", "recomputed", "micro_tokens") if key in wanted}
    run, tokens = rollout(work, way) if wanted["kind"] == "rollout" else update(work, way, **how)
    seconds: list[float] = []
    results: list[object] = []

    def timed() -> None:
        began = time.process_time()
        results.append(run())
        seconds.append(time.process_time() - began)

    memory = rise(timed)
    for _ in range(wanted["repeats"] - 1):
        timed()
    print(json.dumps({"seconds": median(seconds), "mb": memory, "tokens": tokens(), "norm": results[0]}))


if __name__ == "__main__":
    main()
