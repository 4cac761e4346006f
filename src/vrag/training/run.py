"""A training run on disk: configuration, metrics, checkpoints, and the step at which to go on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from pydantic import Field

from vrag.runs import RunDir
from vrag.training import checkpoint
from vrag.types import Frozen


class CheckpointConfig(Frozen):
    """Save after every `every` steps and after the last; keep the newest `keep`."""

    every: int = Field(default=50, ge=1)
    keep: int = Field(default=2, ge=1)


class TrainingRun:
    """Opens or resumes the run at `path`; `start` is the first step that is still owed."""

    def __init__(
        self,
        path: Path,
        config: Frozen,
        model: Any,
        codec: Any,
        optimizer: Any,
        checkpoints: CheckpointConfig,
        heads: Any = None,
    ) -> None:
        self.run = RunDir.open(path, config)
        self.model, self.codec, self.optimizer, self.checkpoints = model, codec, optimizer, checkpoints
        self.heads = heads  # what the stage trains and the model doesn't keep
        self.folder = path / "checkpoints"
        self.start = 0
        self.state: dict[str, Any] = {}
        newest = checkpoint.newest(self.folder)
        if newest is not None:
            self.state = checkpoint.restore(newest, model, optimizer, heads)
            self.start = int(self.state["step"])
        self.saving_seconds = 0.0  # of the last commit
        start = self.start
        self.run.metrics.keep(lambda row: int(row["step"]) < start)

    def commit(self, step: int, steps: int, metrics: dict[str, Any], state: dict[str, Any] | None = None) -> None:
        """Log step `step` (from 0) and save when it is due."""
        self.run.metrics.append({"step": step, **metrics})
        done, began = step + 1, time.perf_counter()
        self.saving_seconds = 0.0
        if done % self.checkpoints.every == 0 or done == steps:
            checkpoint.save(self.folder, done, self.model, self.codec, self.optimizer, state or {}, self.heads)
            checkpoint.prune(self.folder, self.checkpoints.keep)
            self.saving_seconds = time.perf_counter() - began
