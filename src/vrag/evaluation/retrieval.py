"""How well retrievers find the gold pages of questions, asked with the questions themselves."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import median

from pydantic import ValidationError

from vrag.environment import own_document
from vrag.errors import DataError, InfrastructureError
from vrag.evaluation.intervals import Interval, bootstrap
from vrag.fusion import within
from vrag.protocols import Retriever
from vrag.rewards.retrieval import mrr, ndcg, recall
from vrag.runs import Json, RunDir, said_of
from vrag.types import Frozen, PageRef, Task

RECALL_AT = (1, 5, 10)
NDCG_AT = (5, 10)


class Found(Frozen):
    """What one retriever found for one question. `error`: infrastructure failed, and it enters no number."""

    by: str
    task: str
    pages: list[PageRef]
    seconds: float
    error: str | None = None


class RetrievalSummary(Frozen):
    """One retriever in numbers: means over the questions that it could answer, 95 % bootstrap intervals.

    nDCG weighs gold pages by their relevance; recall and MRR count all of them alike, as trec_eval does.
    """

    by: str
    questions: int
    errored: int
    recall: dict[int, Interval]
    ndcg: dict[int, Interval]
    mrr: Interval | None
    milliseconds: float | None  # median of a search, the encoding of its query included


async def evaluate_retrieval(
    run: RunDir,
    tasks: Sequence[Task],
    retrievers: Mapping[str, Retriever],
    depth: int = max(RECALL_AT),
    on_found: Callable[[Found], None] = lambda _: None,
    *,
    scoped: bool = False,
) -> list[RetrievalSummary]:
    """Ask every retriever every question that has gold pages; what `run` holds already isn't asked again. `scoped`:
    each among the pages of its own document alone. Raises `DataError` when no question has gold pages, and `UsageError`
    for a question without a document where it needs one.
    """
    judged = [task for task in tasks if task.gold]
    if not judged:
        raise DataError("no question has gold pages; retrieval can't be judged without")
    log = run.log("found")
    known = [_found(row, f"{log.path}, line {number}") for number, row in enumerate(log.read(), start=1)]
    answered = {(one.by, one.task): one for one in known if one.error is None}
    for by, retriever in retrievers.items():
        for task in judged:
            if (by, task.id) not in answered:
                found = await _ask(by, within(retriever, own_document(task)) if scoped else retriever, task, depth)
                log.append(found)
                answered[by, task.id] = found
            on_found(answered[by, task.id])
    return [summarize(by, judged, [answered[by, task.id] for task in judged]) for by in retrievers]


def _found(row: Json, where: str) -> Found:
    try:
        return Found.model_validate(row)
    except ValidationError as failure:
        raise DataError(f"{where}: isn't what a search found: {said_of(failure)}") from failure


async def _ask(by: str, retriever: Retriever, task: Task, depth: int) -> Found:
    began = time.perf_counter()
    try:
        hits = await retriever.search(task.question, depth)
    except InfrastructureError as error:
        return Found(by=by, task=task.id, pages=[], seconds=time.perf_counter() - began, error=str(error))
    return Found(by=by, task=task.id, pages=[hit.ref for hit in hits], seconds=time.perf_counter() - began)


def summarize(by: str, tasks: Sequence[Task], found: Sequence[Found]) -> RetrievalSummary:
    """`found` goes with `tasks`, which have gold pages."""
    scored = [(grades(task), one) for task, one in zip(tasks, found, strict=True) if one.error is None]

    def mean(score: Callable[[Sequence[PageRef], Mapping[PageRef, int]], float]) -> Interval | None:
        return bootstrap([score(one.pages, gold) for gold, one in scored])

    def at(depths: Sequence[int], score: Callable[..., float]) -> dict[int, Interval]:
        means = {depth: mean(partial(score, depth=depth)) for depth in depths}
        return {depth: interval for depth, interval in means.items() if interval is not None}

    return RetrievalSummary(
        by=by,
        questions=len(found),
        errored=len(found) - len(scored),
        recall=at(RECALL_AT, recall),
        ndcg=at(NDCG_AT, ndcg),
        mrr=mean(mrr),
        milliseconds=1000 * median(one.seconds for _, one in scored) if scored else None,
    )


def grades(task: Task) -> dict[PageRef, int]:
    """The gold pages of a task with their relevance; of a page that is named more than once, its highest."""
    grades: dict[PageRef, int] = {}
    for gold in task.gold:
        grades[gold.ref] = max(gold.relevance, grades.get(gold.ref, 0))
    return grades
