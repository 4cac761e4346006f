"""Episodes in, numbers out: pure functions of `EpisodeRecord`s.

An episode that infrastructure failed (`reward` is None) is counted as errored and enters no other number, so
scored + errored = N always.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from vrag.episode import EpisodeRecord
from vrag.evaluation.evidence import box_scores, first_hits, gold_pages
from vrag.evaluation.intervals import Difference, Interval, compare, mean_by_question, wilson
from vrag.evaluation.judging import Judging, judging
from vrag.evaluation.mmlongbench import Published, published
from vrag.rewards.answer import normalise
from vrag.rewards.retrieval import mrr, ndcg, recall, shown_pages
from vrag.types import Crop, Frozen, PageRef, Search, StopReason, Task, Usage

ANSWER = "answer"  # the part of the reward that says whether the answer is right
DEPTHS = (1, 5, 10)


class Ranking(Frozen):
    """How well a list of pages finds the gold pages; means over questions that have gold pages."""

    recall: dict[int, float]  # share of the gold pages among the first k, by k
    mrr: float
    ndcg: float


class Constant(Frozen):
    """The best that one and the same answer to every question would score."""

    answer: str
    share: float


class Summary(Frozen):
    """One run in numbers. Shares are 0..1; means are per scored episode unless said otherwise."""

    episodes: int
    scored: int
    errored: int
    questions: int
    accuracy: Interval | None
    by_sample: dict[str, float]  # accuracy of each sample (seed) alone
    by_hop: dict[str, Interval]
    by_kind: dict[str, Interval]
    constant: Constant | None
    reward: dict[str, float]  # total and each part
    first_search: Ranking | None  # what the first search returned; an episode without one scores 0
    shown: Ranking | None  # the pages shown, in order: recall is the coverage of the evidence
    box_iou: float | None  # of the last crop on each gold page with each gold box
    box_containment: float | None
    finished: Interval | None  # share that ended in an answer
    invalid: Interval | None  # share of turns without a valid action
    turns: float
    searches: float
    crops: float
    sampled_tokens: float
    seconds: float
    stops: dict[str, int]
    judge: Judging | None = None  # None: answers were scored by rules
    usage: Usage | None = None  # of the policy's server, errored episodes too; None: it asked none
    mmlongbench: Published | None = None  # that dataset's own figures; None: no question is of it


def is_correct(record: EpisodeRecord) -> bool:
    """Whether the answer got full marks. Raises `KeyError` for a reward without an answer part."""
    return record.reward is not None and record.reward.parts[ANSWER] >= 1.0


def accuracy(records: Iterable[EpisodeRecord]) -> Interval | None:
    return mean_by_question(_correct_by_question(records))


def compare_runs(before: Iterable[EpisodeRecord], after: Iterable[EpisodeRecord]) -> Difference | None:
    """Accuracy of `after` minus `before` on the questions that both scored."""
    return compare(_correct_by_question(before), _correct_by_question(after))


def summarize(records: Sequence[EpisodeRecord]) -> Summary:
    scored = [record for record in records if record.reward is not None]
    stops = Counter(record.stop.value for record in scored)
    turns = [turn for record in scored for turn in record.turns]
    boxes = [score for record in scored for score in box_scores(record)]
    return Summary(
        episodes=len(records),
        scored=len(scored),
        errored=len(records) - len(scored),
        questions=len({record.task.id for record in records}),
        accuracy=accuracy(scored),
        by_sample={
            name: float(np.mean([is_correct(record) for record in group]))
            for name, group in _grouped(scored, lambda record: f"{record.seed}.{record.sample}").items()
        },
        by_hop=_accuracy_by(scored, lambda record: str(record.task.hops)),
        by_kind=_accuracy_by(scored, lambda record: record.task.kind),
        constant=best_constant([record.task for record in scored]),
        reward=_mean_reward(scored),
        first_search=_ranking([(gold_pages(record), [hit.ref for hit in first_hits(record)]) for record in scored]),
        shown=_ranking([(gold_pages(record), shown_pages(record.turns)) for record in scored]),
        box_iou=float(np.mean([iou for iou, _ in boxes])) if boxes else None,
        box_containment=float(np.mean([inside for _, inside in boxes])) if boxes else None,
        finished=wilson(stops[StopReason.ANSWER.value], len(scored)),
        invalid=wilson(sum(turn.action is None for turn in turns), len(turns)),
        turns=_mean(len(record.turns) for record in scored),
        searches=_mean(_count(record, Search) for record in scored),
        crops=_mean(_count(record, Crop) for record in scored),
        sampled_tokens=_mean(record.sampled_tokens for record in scored),
        seconds=_mean(record.seconds for record in scored),
        stops=dict(sorted(Counter(record.stop.value for record in records).items())),
        judge=judging(records),
        usage=_spent(records),
        mmlongbench=published(scored),
    )


def _spent(records: Sequence[EpisodeRecord]) -> Usage | None:
    """Of the attempts that are on record."""
    usages = [record.usage for record in records if record.usage is not None]
    return sum(usages, Usage()) if usages else None


def best_constant(tasks: Sequence[Task]) -> Constant | None:
    """The gold answer that is right for most tasks, in the spelling that the reward compares."""
    unique = {task.id: task for task in tasks if task.answers}
    counts = Counter(answer for task in unique.values() for answer in {normalise(answer) for answer in task.answers})
    if not counts:
        return None
    answer, count = min(counts.items(), key=lambda item: (-item[1], item[0]))
    return Constant(answer=answer, share=count / len(unique))


def _correct_by_question(records: Iterable[EpisodeRecord]) -> dict[str, list[float]]:
    scored = [record for record in records if record.reward is not None]
    return {
        name: [float(is_correct(record)) for record in group]
        for name, group in _grouped(scored, lambda record: record.task.id).items()
    }


def _accuracy_by(records: Sequence[EpisodeRecord], key: Callable[[EpisodeRecord], str]) -> dict[str, Interval]:
    intervals = {name: accuracy(group) for name, group in _grouped(records, key).items()}
    return {name: interval for name, interval in intervals.items() if interval is not None}


def _grouped(records: Iterable[EpisodeRecord], key: Callable[[EpisodeRecord], str]) -> dict[str, list[EpisodeRecord]]:
    groups: defaultdict[str, list[EpisodeRecord]] = defaultdict(list)
    for record in records:
        groups[key(record)].append(record)
    return dict(sorted(groups.items()))


def _ranking(lists: Sequence[tuple[Sequence[PageRef], Sequence[PageRef]]]) -> Ranking | None:
    judged = [(gold, found) for gold, found in lists if gold]
    if not judged:
        return None
    return Ranking(
        recall={depth: _mean(recall(found[:depth], gold) for gold, found in judged) for depth in DEPTHS},
        mrr=_mean(mrr(found, gold) for gold, found in judged),
        ndcg=_mean(ndcg(found, gold) for gold, found in judged),
    )


def _mean_reward(records: Sequence[EpisodeRecord]) -> dict[str, float]:
    values: defaultdict[str, list[float]] = defaultdict(list)
    for record in records:
        if record.reward is not None:
            values["total"].append(record.reward.total)
            for name, value in record.reward.parts.items():
                values[name].append(value)
    return {name: _mean(parts) for name, parts in values.items()}


def _count(record: EpisodeRecord, action: type[Search] | type[Crop]) -> int:
    return sum(isinstance(turn.action, action) for turn in record.turns)


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return float(np.mean(listed)) if listed else 0.0
