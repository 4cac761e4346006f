"""Queries and the pages that answer them: what an encoder of pages is trained on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from vrag.corpus.store import Corpus
from vrag.errors import CorpusError, DataError
from vrag.protocols import Retriever
from vrag.types import Task


@dataclass(frozen=True)
class Pair:
    """Page ids: `gold` answer `query`; `negatives` look as if they did. `document` is that of the first gold page."""

    query: str
    gold: tuple[str, ...]
    negatives: tuple[str, ...] = ()
    document: str = ""


def pairs_of(tasks: Iterable[Task], corpus: Corpus) -> tuple[list[Pair], list[str]]:
    """Of each task its question with its gold pages, and what an agent searches for (`meta["queries"]`, one for each
    hop) with the page of that hop. A question of several hops that has such queries isn't asked itself: no page of its
    answers it alone.

    Also returns why tasks were left out, one line each. Raises `DataError` when none is left.
    """
    pairs: dict[Pair, None] = {}
    left_out: list[str] = []
    for task in tasks:
        try:
            pairs.update(dict.fromkeys(_pairs(task, corpus)))
        except (CorpusError, DataError) as error:  # noqa: PERF203
            left_out.append(f"{task.id}: {error}")
    if not pairs:
        raise DataError(f"no task has gold pages in {corpus.folder}" + (f" ({left_out[0]})" if left_out else ""))
    return list(pairs), left_out


def _pairs(task: Task, corpus: Corpus) -> list[Pair]:
    gold = [corpus.resolve(evidence.ref) for evidence in task.gold]
    if not gold:
        raise DataError("has no gold page")
    queries = [str(query) for query in task.meta.get("queries", [])]
    documents = [evidence.ref.document for evidence in task.gold]
    found = [Pair(query, (page,), (), name) for query, page, name in zip(queries, gold, documents, strict=False)]
    if len(gold) == 1 or not found:
        found.append(Pair(task.question, tuple(dict.fromkeys(gold)), (), documents[0]))
    return found


async def with_negatives(pairs: Sequence[Pair], retriever: Retriever, count: int) -> list[Pair]:
    """Each pair with the first `count` pages that `retriever` finds for its query and that aren't its gold pages: hard
    negatives, for they share what it looks for. Raises what the retriever does.
    """
    found: list[Pair] = []
    for pair in pairs:
        hits = await retriever.search(pair.query, count + len(pair.gold))
        others = [hit.page_id for hit in hits if hit.page_id not in pair.gold]
        found.append(replace(pair, negatives=tuple(others[:count])))
    return found
