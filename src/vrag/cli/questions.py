"""Which questions an evaluation asks, about which corpus: `--benchmark`, or `--corpus` and `--tasks`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from vrag.errors import UsageError

if TYPE_CHECKING:
    from vrag.types import Task

CorpusName = Annotated[
    str | None, typer.Option("--corpus", "-c", help="Name of the corpus, or a path; that of the benchmark if none.")
]
TaskFile = Annotated[Path | None, typer.Option("--tasks", help="JSON Lines of questions with gold answers and pages.")]
BenchmarkName = Annotated[
    str | None,
    typer.Option(
        "--benchmark",
        "-b",
        help="Instead of --corpus and --tasks, what `vrag data` made: slidevqa, slidevqa_refined, vidoseek, "
        "mmlongbench, a name of your own, or its folder.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the run; an earlier run of the same is continued. With --benchmark, a folder of runs/ if none."
    ),
]
Limit = Annotated[int | None, typer.Option(min=1, help="Only the first so many questions.")]


class Questions(NamedTuple):
    corpus: str
    tasks: list[Task]
    out: Path


def asked(
    benchmark: str | None,
    corpus: str | None,
    tasks: Path | None,
    limit: int | None,
    out: Path | None,
    *what: str | None,
) -> Questions:
    """What the options say together; `what` is run on them is in the name of the run's folder, where none is given.
    Raises `UsageError` for options that don't go together, and for a benchmark that isn't there.
    """
    from vrag.data.tasks import read_tasks

    if benchmark is not None:
        from vrag.data.benchmarks.place import find

        if tasks is not None:
            raise UsageError("--benchmark brings its own questions: leave --tasks out")
        placed = find(benchmark)
        corpus, tasks = corpus or placed.corpus, placed.tasks
    if corpus is None or tasks is None:
        raise UsageError("name the questions: --benchmark NAME, or --corpus and --tasks together")
    if out is None:
        if benchmark is None:
            raise UsageError("name the folder of the run: --out FOLDER")
        out = Path("runs") / _name(Path(benchmark).name, *what, limit and f"first{limit}")
    return Questions(corpus, read_tasks(tasks)[:limit], out)


def _name(*parts: str | int | None) -> str:
    """A name for a file, of the parts that there are."""
    return "-".join(re.sub(r"[^\w.]+", "-", str(part)).strip("-.") for part in parts if part)
