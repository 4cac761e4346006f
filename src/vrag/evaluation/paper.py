"""What the paper publishes for its benchmarks (table 1 of arXiv 2505.22019, in `paper.csv`), beside runs on the same.

A run is on a benchmark when its tasks say so by their `source`. Single and multi-hop questions of ViDoSeek are what the
paper calls extraction and logic (an inference).
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib.resources import files

from vrag.episode import EpisodeRecord
from vrag.evaluation.intervals import Interval
from vrag.evaluation.metrics import accuracy
from vrag.types import Frozen, Task

_SOURCES = {
    "slidevqa:test": "slidevqa",
    "slidevqa_refined": "slidevqa",
    "vidoseek": "vidoseek",
    "mmlongbench": "mmlongbench",
}
_QUESTIONS = {"slidevqa": 2020, "vidoseek": 1142, "mmlongbench": 847}  # its table 4
_CAVEATS = {
    "slidevqa": "The paper's 2,020 questions are SlideVQA-Refined's; SlideVQA's own test split has 2,215 others.",
    "mmlongbench": "A question about several kinds counts in each; the paper's 847 are probably those with an answer.",
}


class PaperRow(Frozen):
    """Shares of right answers as the paper prints them, one for each column."""

    size: str  # of the model
    system: str
    shares: list[float]


class PaperTable(Frozen):
    """One benchmark: for each column what each run has there, and the paper's rows."""

    benchmark: str
    columns: list[str]
    ours: dict[str, list[Interval | None]]
    rows: list[PaperRow]
    notes: list[str]


def paper_tables(runs: Mapping[str, Sequence[EpisodeRecord]], scoped: Collection[str] = ()) -> list[PaperTable]:
    """A table for each benchmark of the paper that any run is on; none for other questions. `scoped`: the runs that
    searched one document at a time.
    """
    found = {benchmark for records in runs.values() for record in records if (benchmark := _benchmark(record.task))}
    return [_table(benchmark, runs, scoped) for benchmark in sorted(found)]


def _table(benchmark: str, runs: Mapping[str, Sequence[EpisodeRecord]], scoped: Collection[str]) -> PaperTable:
    columns, rows = _rows(benchmark)
    of_it = {name: [one for one in records if _benchmark(one.task) == benchmark] for name, records in runs.items()}
    return PaperTable(
        benchmark=benchmark,
        columns=columns,
        ours={name: [_share(records, column) for column in columns] for name, records in of_it.items() if records},
        rows=rows,
        notes=_notes(benchmark, of_it, scoped),
    )


def _rows(benchmark: str) -> tuple[list[str], list[PaperRow]]:
    text = files("vrag.evaluation").joinpath("paper.csv").read_text(encoding="utf-8")
    cells = list(csv.DictReader(text.splitlines()))
    names = [name for name in cells[0] if name.startswith(f"{benchmark} ")]
    rows = [
        PaperRow(size=row["size"], system=row["system"], shares=[float(row[name]) / 100 for name in names])
        for row in cells
    ]
    return [name.removeprefix(f"{benchmark} ") for name in names], rows


_COLUMNS: dict[str, Callable[[Task], bool]] = {
    "single-hop": lambda task: task.hops == 1,
    "multi-hop": lambda task: task.hops > 1,
    "extraction": lambda task: task.hops == 1,
    "logic": lambda task: task.hops > 1,
}


def _share(records: Sequence[EpisodeRecord], column: str) -> Interval | None:
    """A column that isn't about hops is a kind of content."""
    belongs = _COLUMNS.get(column, lambda task: column in task.kind.split("+"))
    return accuracy(record for record in records if belongs(record.task))


def _benchmark(task: Task) -> str | None:
    return _SOURCES.get(task.source)


def _notes(benchmark: str, runs: Mapping[str, Sequence[EpisodeRecord]], scoped: Collection[str]) -> list[str]:
    """What keeps figures from being compared as they stand."""
    notes = ["The paper's answers are judged by a model, searched for in all documents at once, and have no interval."]
    if benchmark in _CAVEATS:
        notes.append(_CAVEATS[benchmark])
    for name, records in runs.items():
        asked = len({record.task.id for record in records})
        if records and asked != _QUESTIONS[benchmark]:
            notes.append(f"{name}: {asked:,} questions, {_QUESTIONS[benchmark]:,} in the paper.")
        if any(record.judgement is None and record.reward is not None for record in records):
            notes.append(f"{name}: answers are scored by rules, not by a judge.")
        if records and name in scoped:
            notes.append(f"{name}: searched one document at a time, which is far easier.")
    return notes
