"""A small world that the expert can play, and its trajectories as a dataset: shared by tests of data and of SFT."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vrag.data.dataset import Manifest, TrajectoryWriter
from vrag.data.trajectories import write_expert_trajectories
from vrag.environment import DocumentEnvironment, EnvironmentConfig
from vrag.geometry import Frame, ViewSpec
from vrag.policies.expert import ExpertStyle
from vrag.runs import RunDir
from vrag.testing import MemoryStore, WordRetriever
from vrag.types import Evidence, Task

if TYPE_CHECKING:
    from tests.tiny import Tiny  # imports torch


def make_store() -> MemoryStore:
    store = MemoryStore()
    store.add("noise.pdf", 1, ["Acme Corp plant plant plant", "nothing here"])
    store.add("acme.pdf", 1, ["Acme Corp plants", "plant 42", "mine 17"])
    store.add("acme.pdf", 2, ["Plant 42 output", "output 48", "staff 310"])
    return store


def two_hops(store: MemoryStore) -> Task:
    """Search, crop, search, crop, answer."""
    first, second = (p for p in store.pages.values() if p.ref.document == "acme.pdf")
    return Task(
        id="two",
        question="What is the output of the plant of Acme Corp?",
        answers=["48"],
        gold=[
            Evidence(ref=first.ref, box=store.box(first, "42")),
            Evidence(ref=second.ref, box=store.box(second, "48")),
        ],
        hops=2,
        meta={
            "entity": "Acme Corp",
            "metric": "Output",
            "site": "Plant",
            "bridge": "42",
            "queries": ["acme corp plants", "plant 42 output"],
        },
    )


def one_hop(store: MemoryStore) -> Task:
    """Search, crop, answer, on a page of the other task."""
    page = next(p for p in store.pages.values() if p.ref.page == 2)
    gold = Evidence(ref=page.ref, box=store.box(page, "310"))
    meta = {"metric": "staff", "queries": ["plant 42 staff"]}
    return Task(id="one", question="How many staff has plant 42?", answers=["310"], gold=[gold], meta=meta)


def environment_of(tiny: Tiny) -> EnvironmentConfig:
    """As its family is shown pages."""
    frame: Frame = "absolute" if tiny.shape.family == "qwen2_5_vl" else "relative1000"
    spec = ViewSpec(frame=frame, factor=tiny.factor, min_pixels=tiny.shape.min_pixels, max_pixels=tiny.shape.max_pixels)
    return EnvironmentConfig(view=spec, prompt="brief-v1", max_turns=8)


def make_dataset(
    folder: Path, store: MemoryStore, tasks: Sequence[Task], environment: EnvironmentConfig, samples: int = 1
) -> Manifest:
    """Also continues one."""
    run = RunDir.open(folder, {"environment": environment.model_dump(mode="json"), "samples": samples})
    return asyncio.run(
        write_expert_trajectories(
            tasks,
            store,
            lambda: DocumentEnvironment(store, WordRetriever(store), environment),
            TrajectoryWriter(run, environment),
            environment.view,
            ExpertStyle(box_min=60),
            0,
            samples=samples,
        )
    )
