"""Several runs over the same questions: how they differ from one of them, on which questions, and in what settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vrag.episode import EpisodeRecord
from vrag.errors import DataError, UsageError
from vrag.evaluation.intervals import Difference, holm
from vrag.evaluation.metrics import Summary, compare_runs, correct_by_question, summarize
from vrag.evaluation.paper import PaperTable, paper_tables
from vrag.evaluation.runner import read_records
from vrag.runs import Json, read_config
from vrag.types import Frozen

UNSET = "unset"


@dataclass(frozen=True)
class EvalRun:
    """A run as it lies on disk; `records` by task, seed and sample."""

    name: str
    records: Sequence[EpisodeRecord]
    config: Json


class Paired(Frozen):
    """A run minus the baseline, on the questions that both scored. `p_holm` is corrected for the number of runs that
    are compared with it.
    """

    difference: Difference
    p_holm: float


class Disagreement(Frozen):
    """A question that runs answer differently: the share of each one's samples that is right (None: none scored)."""

    task: str
    right: dict[str, float | None]


class Comparison(Frozen):
    """`paired`: by run, each but the baseline; a run that shares no scored question with it is missing. `unlike`: the
    names under which runs have different questions, which aren't compared. `settings`: what the runs were started with,
    where that differs, by setting and run.
    """

    baseline: str
    runs: dict[str, Summary]
    paired: dict[str, Paired]
    disagreements: list[Disagreement]
    unlike: Sequence[str] = ()
    settings: dict[str, dict[str, str]]
    paper: list[PaperTable]


def read_run(name: str, folder: Path) -> EvalRun:
    """Raises `DataError` for a folder that holds no episodes."""
    if not (folder / "episodes.jsonl").is_file():
        raise DataError(f"{folder}: holds no episodes.jsonl; name a folder that `vrag eval` got as --out")
    records = sorted(read_records(folder), key=lambda one: (one.task.id, one.seed, one.sample))
    if not records:
        raise DataError(f"{folder}: holds no whole episode; run its `vrag eval` again")
    return EvalRun(name, records, read_config(folder))


def compare_all(runs: Sequence[EvalRun], baseline: str | None = None) -> Comparison:
    """Against the run `baseline`, by default the first. Raises `UsageError` for a name that no run has."""
    by_name = {run.name: run.records for run in runs}
    if baseline is None:
        baseline = runs[0].name
    if baseline not in by_name:
        raise UsageError(f"--baseline {baseline}: no run has this name; there are {', '.join(by_name)}")
    unlike = _unlike(by_name)
    alike = {name: [one for one in records if one.task.id not in unlike] for name, records in by_name.items()}
    differences = {
        name: difference
        for name, records in alike.items()
        if name != baseline and (difference := compare_runs(alike[baseline], records)) is not None
    }
    corrected = holm({name: difference.p for name, difference in differences.items()})
    return Comparison(
        baseline=baseline,
        runs={name: summarize(records) for name, records in by_name.items()},
        paired={name: Paired(difference=one, p_holm=corrected[name]) for name, one in differences.items()},
        disagreements=list(_disagreements(alike)),
        unlike=sorted(unlike),
        settings=_settings(runs),
        paper=paper_tables(by_name, [run.name for run in runs if _scoped(run)]),
    )


def _unlike(runs: Mapping[str, Sequence[EpisodeRecord]]) -> set[str]:
    """Names under which the runs have different questions."""
    asked: dict[str, str] = {}
    tasks = (record.task for records in runs.values() for record in records)
    return {task.id for task in tasks if asked.setdefault(task.id, task.question) != task.question}


def _scoped(run: EvalRun) -> bool:
    return dict(_flat(run.config)).get("environment.scope") == "document"


def _disagreements(runs: Mapping[str, Sequence[EpisodeRecord]]) -> Iterator[Disagreement]:
    scores = {name: correct_by_question(records) for name, records in runs.items()}
    for task in sorted({task for by_question in scores.values() for task in by_question}):
        right = {name: _mean(by_question.get(task, [])) for name, by_question in scores.items()}
        if len({share for share in right.values() if share is not None}) > 1:
            yield Disagreement(task=task, right=right)


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _settings(runs: Sequence[EvalRun]) -> dict[str, dict[str, str]]:
    flat = {run.name: dict(_flat(run.config)) for run in runs}
    keys = sorted({key for settings in flat.values() for key in settings})
    said = {key: {name: settings.get(key, UNSET) for name, settings in flat.items()} for key in keys}
    return {key: values for key, values in said.items() if len(set(values.values())) > 1}


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")  # pyright: ignore[reportUnknownArgumentType]
        else:
            yield f"{prefix}{key}", str(value)
