"""Episodes in, numbers out: pure functions of `EpisodeRecord`s.

An episode that infrastructure failed (`reward` is None) is counted as errored and enters no other number, so
scored + errored = N always.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np

from vrag.episode import EpisodeRecord
from vrag.evaluation.evidence import box_scores, first_hits, gold_pages
from vrag.evaluation.intervals import Difference, Interval, compare, mean_by_question, wilson
from vrag.evaluation.judging import Judging, judging
from vrag.evaluation.mmlongbench import Published, published
from vrag.rewards.answer import normalise, stands_in
from vrag.rewards.retrieval import mrr, ndcg, recall, shown_pages
from vrag.types import Crop, Frozen, PageRef, Search, StopReason, Task, Usage

ANSWER = "answer"  # the part of the reward that says whether the answer is right
DEPTHS = (1, 5, 10)
MANY = 6  # pages: the paper's figure 3 ends there


class Ranking(Frozen):
    """How well a list of pages finds the gold pages; means over questions that have gold pages."""

    recall: dict[int, Interval]  # share of the gold pages among the first k, by k
    mrr: Interval
    ndcg: Interval


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
    majority: Interval | None = None  # share whose most frequent answer is right; None: one sample, or an older run
    best: Interval | None = None  # the same of any of the answers: what choosing among them could reach at most
    by_hop: dict[str, Interval]
    by_kind: dict[str, Interval]  # kind of content; a question about "chart+table" counts in both
    by_document: dict[str, Interval]  # that which it is about, or each that has a gold page
    by_pages: dict[str, Interval]  # number of different pages that were shown, `MANY` of them or more as one
    constant: Constant | None
    reward: dict[str, float]  # total and each part
    first_search: Ranking | None  # what the first search returned; an episode without one scores 0
    shown: Ranking | None  # the pages shown, in order
    coverage: Interval | None  # share of the gold pages that were shown at any time
    complete: Interval | None  # share of questions of which all gold pages were
    box_iou: Interval | None  # of the last crop on each gold page with each gold box
    box_containment: Interval | None
    finished: Interval | None  # share that ended in an answer
    invalid: Interval | None  # share of turns without a valid action
    turns: float
    searches: float
    crops: float
    sampled_tokens: float
    total_tokens: float  # of the conversation, images included; 0 for a policy that speaks only text
    seconds: float
    stops: dict[str, int]
    contained: Interval | None = None  # share whose answer holds a gold answer, in whatever words; None: an older run
    judge: Judging | None = None  # None: answers were scored by rules
    usage: Usage | None = None  # of the policy's server, errored episodes too; None: it asked none
    mmlongbench: Published | None = None  # that dataset's own figures; None: no question is of it


def is_correct(record: EpisodeRecord) -> bool:
    """Whether the answer got full marks. Raises `KeyError` for a reward without an answer part."""
    return record.reward is not None and record.reward.parts[ANSWER] >= 1.0


def accuracy(records: Iterable[EpisodeRecord]) -> Interval | None:
    return mean_by_question(correct_by_question(records))


def compare_runs(before: Iterable[EpisodeRecord], after: Iterable[EpisodeRecord]) -> Difference | None:
    """Accuracy of `after` minus `before` on the questions that both scored."""
    return compare(correct_by_question(before), correct_by_question(after))


def correct_by_question(records: Iterable[EpisodeRecord]) -> dict[str, list[float]]:
    """1 for each right answer and 0 for each wrong one, by question; those without a score are left out."""
    return _by_question(records, lambda record: None if record.reward is None else float(is_correct(record)))


def documents(record: EpisodeRecord) -> list[str]:
    """The document that the question is about, where it says so, or else those that have its gold pages."""
    task = record.task
    return [task.document] if task.document else list(dict.fromkeys(gold.ref.document for gold in task.gold))


def said_pages(key: str) -> str:
    """A key of `by_pages`, for people."""
    return "1 page" if key == "1" else f"{key} pages" + (" or more" if key == str(MANY) else "")


def said_kind(key: str) -> str:
    """A key of `by_kind`, for people."""
    return "of no given kind" if key == "unknown" else key


def summarize(records: Sequence[EpisodeRecord]) -> Summary:
    scored = [record for record in records if record.reward is not None]
    return Summary(
        episodes=len(records),
        scored=len(scored),
        errored=len(records) - len(scored),
        questions=len({record.task.id for record in records}),
        accuracy=accuracy(scored),
        by_sample={
            name: float(np.mean([is_correct(record) for record in group]))
            for name, group in _grouped(scored, lambda record: [f"{record.seed}.{record.sample}"]).items()
        },
        **_together(scored),
        by_hop=_accuracy_by(scored, lambda record: [str(record.task.hops)]),
        by_kind=_accuracy_by(scored, lambda record: record.task.kind.split("+")),
        by_document=_accuracy_by(scored, documents),
        by_pages=_accuracy_by(scored, lambda record: [str(min(MANY, len(set(shown_pages(record.turns)))))]),
        constant=best_constant([record.task for record in scored]),
        reward=_mean_reward(scored),
        first_search=_ranking(scored, lambda record: [hit.ref for hit in first_hits(record)]),
        shown=_ranking(scored, lambda record: shown_pages(record.turns)),
        coverage=_over_questions(scored, _covered),
        complete=_over_questions(scored, _complete),
        box_iou=_over_questions(scored, lambda record: _mean_or_none(iou for iou, _ in box_scores(record))),
        box_containment=_over_questions(scored, lambda record: _mean_or_none(share for _, share in box_scores(record))),
        finished=_over_questions(scored, lambda record: float(record.stop is StopReason.ANSWER)),
        invalid=_share_of_turns(scored),
        turns=_mean(len(record.turns) for record in scored),
        searches=_mean(_count(record, Search) for record in scored),
        crops=_mean(_count(record, Crop) for record in scored),
        sampled_tokens=_mean(record.sampled_tokens for record in scored),
        total_tokens=_mean(record.total_tokens for record in scored),
        seconds=_mean(record.seconds for record in scored),
        stops=dict(sorted(Counter(record.stop.value for record in records).items())),
        contained=_over_questions(scored, lambda record: float(stands_in(record.answer, record.task.answers))),
        judge=judging(records),
        usage=_spent(records),
        mmlongbench=published(scored),
    )


def most_frequent(records: Sequence[EpisodeRecord]) -> EpisodeRecord:
    """Of the samples of one question, the first with the answer that most of them give, whatever its spelling; ties go
    to the answer that came first, and episodes without one don't count ("self-consistency", arXiv 2203.11171).
    """
    answered = [record for record in records if record.answer] or records
    answers = [normalise(record.answer or "") for record in answered]
    return answered[answers.index(Counter(answers).most_common(1)[0][0])]


def _together(scored: Sequence[EpisodeRecord]) -> dict[str, Interval | None]:
    """`majority` and `best`, where questions have several samples."""
    in_order = sorted(scored, key=lambda record: (record.seed, record.sample))
    samples = _grouped(in_order, lambda record: [record.task.id])
    if all(len(group) == 1 for group in samples.values()):
        return {}
    right = sum(is_correct(most_frequent(group)) for group in samples.values())
    any_right = sum(any(map(is_correct, group)) for group in samples.values())
    return {"majority": wilson(right, len(samples)), "best": wilson(any_right, len(samples))}


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


def _accuracy_by(
    records: Sequence[EpisodeRecord], keys: Callable[[EpisodeRecord], Iterable[str]]
) -> dict[str, Interval]:
    intervals = {name: accuracy(group) for name, group in _grouped(records, keys).items()}
    return {name: interval for name, interval in intervals.items() if interval is not None}


def _grouped(
    records: Iterable[EpisodeRecord], keys: Callable[[EpisodeRecord], Iterable[str]]
) -> dict[str, list[EpisodeRecord]]:
    """In each of its groups, where a record has several."""
    groups: defaultdict[str, list[EpisodeRecord]] = defaultdict(list)
    for record in records:
        for key in keys(record):
            groups[key].append(record)
    return dict(sorted(groups.items()))


def _by_question(
    records: Iterable[EpisodeRecord], value: Callable[[EpisodeRecord], float | None]
) -> dict[str, list[float]]:
    """A value that is None doesn't apply."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for record in records:
        one = value(record)
        if one is not None:
            found[record.task.id].append(one)
    return dict(sorted(found.items()))


def _over_questions(
    records: Iterable[EpisodeRecord], value: Callable[[EpisodeRecord], float | None]
) -> Interval | None:
    found = _by_question(records, value)
    return mean_by_question(found) if found else None


def _share_of_turns(records: Sequence[EpisodeRecord]) -> Interval | None:
    """Without a valid action. Several samples of a question count as one, so that they don't narrow the interval."""
    turns = [turn for record in records for turn in record.turns]
    if not turns:
        return None
    samples = len(records) / len({record.task.id for record in records})
    count = max(1, round(len(turns) / samples))
    return wilson(count * sum(turn.action is None for turn in turns) / len(turns), count)


def _ranking(records: Sequence[EpisodeRecord], pages: Callable[[EpisodeRecord], Sequence[PageRef]]) -> Ranking | None:
    def mean(score: Callable[[Sequence[PageRef], Sequence[PageRef]], float]) -> Interval | None:
        return _over_questions(
            records, lambda record: score(pages(record), gold_pages(record)) if record.task.gold else None
        )

    recalls = {depth: mean(partial(recall, depth=depth)) for depth in DEPTHS}
    first, gain = mean(mrr), mean(ndcg)
    if first is None or gain is None:
        return None
    return Ranking(recall={depth: one for depth, one in recalls.items() if one}, mrr=first, ndcg=gain)


def _covered(record: EpisodeRecord) -> float | None:
    return recall(shown_pages(record.turns), gold_pages(record)) if record.task.gold else None


def _complete(record: EpisodeRecord) -> float | None:
    covered = _covered(record)
    return None if covered is None else float(covered == 1.0)


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
    return _mean_or_none(values) or 0.0


def _mean_or_none(values: Iterable[float]) -> float | None:
    listed = list(values)
    return float(np.mean(listed)) if listed else None
