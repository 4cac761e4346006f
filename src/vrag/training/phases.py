"""Where the time of a step goes."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Generator
from contextlib import contextmanager


class Phases:
    """Wall-clock seconds by phase, of phases that don't overlap."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, phase: str) -> Generator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[phase] += time.perf_counter() - began

    def take(self) -> dict[str, float]:
        """`PHASE_seconds` of what was measured since the last call."""
        taken = {f"{phase}_seconds": seconds for phase, seconds in self._seconds.items()}
        self._seconds.clear()
        return taken
