"""Progress of a long command on stderr."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from vrag.corpus.options import Progress, Stage

_STAGES = {
    "unpack": "unpacking pages",
    "hash": "checking files",
    "read": "reading pages",
    "convert": "converting office documents",
    "ocr": "recognising text",
    "text": "indexing text",
    "encode": "encoding pages",
}
_PLAIN_SECONDS = 10.0  # between progress lines when stderr is no terminal


class Reporter:
    """Progress on stderr: a bar on a terminal, now and then a line elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: Bars | None = None
        self._task: tuple[str, int] | None = None  # stage, id
        self._stage: Stage | None = None
        self._started = self._last = time.monotonic()

    def __enter__(self) -> Reporter:
        if self._console.is_terminal:
            columns = BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()
            status = TextColumn("{task.fields[failed]} failed · {task.fields[current]}")
            text = TextColumn("{task.description}")
            self._bars = Bars(text, *columns, status, console=self._console, transient=True)
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def update(self, progress: Progress) -> None:
        if self._bars is None:
            self._line(progress)
            return
        current = escape(printable(progress.current))
        if self._task is None or self._task[0] != progress.stage:
            task = self._bars.add_task(_STAGES[progress.stage], total=None, failed=0, current="")
            self._task = (progress.stage, task)
        self._bars.update(
            self._bars.task_ids[-1],
            completed=progress.done,
            total=progress.total,
            failed=progress.failed,
            current=current,
        )

    def _line(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.stage != self._stage:
            self._stage, self._started = progress.stage, now
        if now - self._last < _PLAIN_SECONDS:
            return
        self._last = now
        left = (now - self._started) * (progress.total - progress.done) / max(1, progress.done)
        print(
            f"{_STAGES[progress.stage]}: {progress.done} of {progress.total}, {progress.failed} failed,"
            f" about {left:.0f} s left ({printable(progress.current)})",
            file=sys.stderr,
        )


def printable(text: str) -> str:
    """Text from a document or file name without anything that could steer a terminal; white space of any kind is a
    space.
    """
    return "".join(char if char.isprintable() else " " if char.isspace() else "�" for char in text)
