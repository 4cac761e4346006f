"""Metrics of a run shown elsewhere while it trains: by tensorboard, trackio or wandb. `metrics.jsonl` has them always;
a tracker is a view, and when it fails, that is said once and training goes on without it.

    RUN/tracking.json   the id under which trackers know the run, so that a resumed run continues the same one
    RUN/tensorboard/    event files
    RUN/wandb/          wandb's own files; trackio keeps its in its own home (TRACKIO_DIR)
"""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from vrag.errors import UsageError
from vrag.runs import Json, atomic_write, read_config, read_lines


class Tracker(Protocol):
    """Takes the numbers of each step. What it raises ends tracking, and nothing else."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class TrackedRun:
    """What a tracker is opened with. `first`: the step that comes next; `id` stays the same when a run is resumed."""

    path: Path
    project: str
    id: str
    config: Json
    first: int

    @property
    def name(self) -> str:
        return f"{self.path.resolve().name}-{self.id}"


Opener = Callable[[TrackedRun], Tracker]


class Tracking:
    """Gives a run's metrics to the tracker `spec`: NAME or NAME:PROJECT. A context manager; called with the metrics of
    each step, as trainers call `on_step`. `say` gets the message of a tracker that fails.

    A run that nobody tracked before is caught up on from its `metrics.jsonl`. Raises `UsageError` for an unknown
    tracker and where its package is missing.
    """

    def __init__(self, spec: str, path: Path, say: Callable[[str], None], openers: Mapping[str, Opener] | None = None):
        self.name, _, project = spec.partition(":")
        self.path, self.project, self._say = path, project or "vrag", say
        known = OPENERS if openers is None else openers
        if self.name not in known:
            raise UsageError(f"no tracker {self.name!r}: give one of {', '.join(known)}, or NAME:PROJECT")
        if self.name in PACKAGES:
            _require(self.name)
        self._open = known[self.name]
        self._tracker: Tracker | None = None
        self._failed = False

    def __enter__(self) -> Tracking:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with self._survived("can't be closed"):
            if self._tracker is not None:
                self._tracker.close()
        self._tracker = None

    def __call__(self, metrics: Mapping[str, Any]) -> None:
        if self._failed:
            return
        with self._survived("training goes on without it, and metrics.jsonl has all"):
            if self._tracker is None:
                self._tracker = self._start(metrics["step"])
            self._tracker.log(metrics["step"], numbers(metrics))

    def _start(self, first: int) -> Tracker:
        """Opened at the first step, when the run's folder is there."""
        file = self.path / "tracking.json"
        ids: dict[str, str] = json.loads(file.read_text()) if file.is_file() else {}
        new = self.name not in ids
        if new:
            ids[self.name] = secrets.token_hex(4)
            atomic_write(file, json.dumps(ids).encode() + b"\n")
        tracker = self._open(TrackedRun(self.path, self.project, ids[self.name], read_config(self.path), first))
        if new:
            for row in read_lines(self.path / "metrics.jsonl"):
                if row["step"] < first:
                    tracker.log(row["step"], numbers(row))
        return tracker

    @contextmanager
    def _survived(self, so: str) -> Generator[None]:
        try:
            with redirect_stdout(sys.stderr):  # stdout is the command's own; trackio prints there
                yield
        except Exception as failure:  # noqa: BLE001  the boundary: no tracker ends a training
            self._failed = True
            self._say(f"tracking by {self.name} failed ({type(failure).__name__}: {failure}); {so}")


def numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """What can be drawn over the steps: all numbers but the step itself."""
    return {
        name: float(value)
        for name, value in metrics.items()
        if isinstance(value, (int, float)) and name not in ("step", "steps")
    }


def _require(name: str) -> Any:
    """The module of a tracker; raises `UsageError` where it is missing."""
    try:
        return import_module(PACKAGES[name])
    except ImportError as failure:
        raise UsageError(f"--track {name} needs {name} ({failure}): pip install 'vrag[{name}]'") from failure


class _TensorBoard:
    def __init__(self, run: TrackedRun) -> None:
        # of a killed run, `purge_step` hides the steps that come again
        writer = _require("tensorboard").SummaryWriter
        self._writer = writer(str(run.path / "tensorboard"), purge_step=run.first or None)
        self._writer.add_text("config", f"```json\n{json.dumps(run.config, indent=2)}\n```", run.first)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class _Trackio:
    def __init__(self, run: TrackedRun) -> None:
        self._trackio = _require("trackio")
        self._run = self._trackio.init(
            project=run.project,
            name=run.name,
            config=run.config,
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._run.log(dict(metrics), step=step)

    def close(self) -> None:
        self._trackio.finish()  # not the run's own, after which it would be finished, and say so, once more at exit


class _Wandb:
    """With `id` and `resume`, a run that goes on is the same one; wandb ignores the steps that it has already."""

    def __init__(self, run: TrackedRun) -> None:
        wandb = _require("wandb")
        self._run = wandb.init(
            project=run.project,
            name=run.name,
            id=run.id,
            resume="allow",
            dir=str(run.path),
            config=run.config,
            settings=wandb.Settings(console="off", save_code=False),
        )

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._run.log(dict(metrics), step=step)

    def close(self) -> None:
        self._run.finish()


OPENERS: dict[str, Opener] = {"tensorboard": _TensorBoard, "trackio": _Trackio, "wandb": _Wandb}
PACKAGES = {"tensorboard": "torch.utils.tensorboard", "trackio": "trackio", "wandb": "wandb"}
