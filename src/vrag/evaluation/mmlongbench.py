"""MMLongBench-Doc's own figures: accuracy and F1 by the rules of its authors, beside what the reward says."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from vrag.episode import EpisodeRecord
from vrag.rewards.mmlongbench import UNANSWERABLE, declines, form_of, gold_of, score
from vrag.types import Frozen

_Scored = list[tuple[EpisodeRecord, float]]


class Published(Frozen):
    """Accuracy is the mean score, which may be a fraction. F1 is of recall, the mean score over questions that can be
    answered, and precision, the sum of their scores over the episodes that answered (any that doesn't say "Not
    answerable"). `by_pages`: single, cross, unanswerable; a question that can be answered from no stated page counts as
    cross, as there. `by_source`: a question with evidence in several counts in each.
    """

    episodes: int
    accuracy: float
    f1: float
    by_pages: dict[str, float]
    by_source: dict[str, float]


def published(records: Iterable[EpisodeRecord]) -> Published | None:
    """None without a question of that dataset."""
    scored: _Scored = []
    for record in records:
        form = form_of(record.task)
        if form is not None:
            scored.append((record, score(record.answer, gold_of(record.task), form)))
    if not scored:
        return None
    return Published(
        episodes=len(scored),
        accuracy=_mean(scored),
        f1=_f1(scored),
        by_pages=_grouped(scored, lambda record: [_pages(record)]),
        by_source=_grouped(scored, lambda record: list(record.task.meta.get("evidence_sources", []))),
    )


def _f1(scored: _Scored) -> float:
    total = sum(value for record, value in scored if _answerable(record))
    answerable = sum(_answerable(record) for record, _ in scored)
    answered = sum(not declines(record.answer) for record, _ in scored)
    if not total:
        return 0.0
    recall, precision = total / answerable, total / answered
    return 2 * recall * precision / (recall + precision)


def _answerable(record: EpisodeRecord) -> bool:
    return gold_of(record.task) != UNANSWERABLE


def _pages(record: EpisodeRecord) -> str:
    if len(record.task.meta.get("evidence_pages", [])) == 1:
        return "single"
    return "cross" if _answerable(record) else "unanswerable"


def _grouped(scored: _Scored, keys: Callable[[EpisodeRecord], Sequence[str]]) -> dict[str, float]:
    groups: defaultdict[str, _Scored] = defaultdict(list)
    for record, value in scored:
        for key in keys(record):
            groups[key].append((record, value))
    return {key: _mean(group) for key, group in sorted(groups.items())}


def _mean(scored: _Scored) -> float:
    return sum(value for _, value in scored) / len(scored)
