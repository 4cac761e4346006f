"""A live line per training step on a terminal; plain lines, now and then, elsewhere; warnings, each cause once."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

SHOWN = {
    "pretrain": ("loss", "level", "words", "digits", "looked", "read"),
    "ground": ("loss", "looked", "box_tokens", "read", "bridged", "copied"),
    "sft": ("loss", "exact"),
    "align": ("loss", "tokens"),
    "encoder": ("loss", "first"),
    "rl": ("reward", "reward/answer", "reward/retrieval", "reward/pattern", "entropy", "invalid_actions"),
}
PLAIN_SECONDS = 10.0


def counting(console: Console) -> Progress:
    """A bar that counts, with its description before it and the time left behind it; gone when it ends."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True)


class LiveLine:
    """Writes to stderr. `step(stage, metrics)` fits the trainers' `on_step`; metrics hold "step" and "steps"."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._started: dict[str, tuple[float, int]] = {}
        self._last = 0.0
        self._warned: set[tuple[str, str]] = set()

    def __enter__(self) -> LiveLine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._live:
            sys.stderr.write("\n")

    def say(self, text: str) -> None:
        sys.stderr.write(("\n" if self._live else "") + text + "\n")
        sys.stderr.flush()

    def step(self, stage: str, metrics: dict[str, Any]) -> None:
        self._warn(stage, metrics)
        now = time.monotonic()
        if stage not in self._started and metrics["step"]:
            self.say(f"{stage}: goes on after step {metrics['step']} of {metrics['steps']}")
        began, first = self._started.setdefault(stage, (now, metrics["step"]))
        done, steps = metrics["step"] + 1, metrics["steps"]
        if not self._live and now - self._last < PLAIN_SECONDS and done < steps:
            return
        self._last = now
        line = f"{stage} {done}/{steps}  {_numbers(stage, metrics)}"
        if done > first + 1:  # the first step only starts the clock
            line += f"  ETA {_duration((now - began) / (metrics['step'] - first) * (steps - done))}"
        if self._live:
            end = "\n" if done == steps else ""
            sys.stderr.write(f"\r\x1b[2K{line}{end}")
        else:
            sys.stderr.write(line + "\n")
        sys.stderr.flush()

    def _warn(self, stage: str, metrics: dict[str, Any]) -> None:
        for cause, text in metrics.get("warnings", {}).items():
            if (stage, cause) not in self._warned:
                self._warned.add((stage, cause))
                self.say(f"warning, {stage} step {metrics['step'] + 1}: {text}")


def _numbers(stage: str, metrics: dict[str, Any]) -> str:
    shown = [name for name in SHOWN.get(stage, ()) if name in metrics]
    return "  ".join(f"{name.removeprefix('reward/')} {metrics[name]:.3f}" for name in shown)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
