"""What a training command does with the metrics of each step: shows and tracks them, and notes the run's origin."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from vrag.cli.live import LiveLine

if TYPE_CHECKING:
    from vrag.training.origin import Origin


class Watch:
    """Called with the metrics of a step, as trainers call `on_step`. Raises `UsageError` as `Tracking` does."""

    def __init__(self, stage: str, out: Path, line: LiveLine, track: str | None) -> None:
        from vrag.training.tracking import Tracking

        self.stage, self.out, self.line = stage, out, line
        self.tracking = Tracking(track, out, line.say) if track else None
        self.origin: Origin | None = None

    def __enter__(self) -> Watch:
        if self.tracking is not None:
            self.tracking.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self.tracking is not None:
            self.tracking.__exit__(kind, error, tb)

    def comes_from(self, origin: Origin) -> None:
        """Raises `UsageError` when the run that is there began otherwise."""
        origin.check(self.out)
        self.origin = origin

    def __call__(self, metrics: dict[str, Any]) -> None:
        if self.origin is not None:
            self.origin.write(self.out)  # not before: the run's folder must be new when training opens it
        self.line.step(self.stage, metrics)
        if self.tracking is not None:
            self.tracking(metrics)
