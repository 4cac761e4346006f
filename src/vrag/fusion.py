"""Several rankings of the same pages → one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from vrag.errors import UsageError
from vrag.protocols import PageStore, Retriever
from vrag.types import Hit, Page

RRF = 60  # the constant of reciprocal rank fusion (Cormack et al., SIGIR 2009)
DEPTH = 50  # hits asked of each retriever, at least

# (query, pages) -> a score for each page; larger is better
Reranker = Callable[[str, Sequence[Page]], Sequence[float]]


@runtime_checkable
class BatchRetriever(Retriever, Protocol):
    """A retriever for which many queries at once are cheaper than one by one."""

    async def search_many(self, queries: Sequence[str], k: int) -> list[list[Hit]]: ...


async def search_many(retriever: Retriever, queries: Sequence[str], k: int) -> list[list[Hit]]:
    """The hits of each query: in one call where the retriever can, else side by side."""
    if isinstance(retriever, BatchRetriever):
        return await retriever.search_many(queries, k)
    return list(await asyncio.gather(*(retriever.search(query, k) for query in queries)))


@runtime_checkable
class ScopedRetriever(Retriever, Protocol):
    """A retriever that can search one document alone."""

    def within(self, document: str) -> Retriever:
        """The same search among the pages of the document with that name or id. Searching raises
        `InfrastructureError` when there is none.
        """
        ...


def within(retriever: Retriever, document: str) -> Retriever:
    """`ScopedRetriever.within`; raises `UsageError` for a retriever that can't."""
    if not isinstance(retriever, ScopedRetriever):
        raise UsageError(f"{type(retriever).__name__} can't search one document alone: search the whole corpus")
    return retriever.within(document)


@dataclass(frozen=True)
class Weighted:
    """A retriever and what its ranks weigh."""

    retriever: Retriever
    weight: float = 1.0


class FusedRetriever:
    """Several retrievers of one corpus by weighted reciprocal rank fusion: a page scores the sum of weight /
    (60 + rank) over the retrievers that found it. With a `reranker` the best are sorted anew by what it says of them.
    """

    def __init__(self, store: PageStore, retrievers: Mapping[str, Weighted], reranker: Reranker | None = None) -> None:
        if not retrievers or any(one.weight <= 0 for one in retrievers.values()):
            raise UsageError("fusion needs at least one retriever, and weights above 0")
        self._store, self._retrievers, self._reranker = store, dict(retrievers), reranker

    def within(self, document: str) -> FusedRetriever:
        """Raises `UsageError` as `within` does."""
        inside = {
            name: replace(one, retriever=within(one.retriever, document)) for name, one in self._retrievers.items()
        }
        return FusedRetriever(self._store, inside, self._reranker)

    async def search(self, query: str, k: int) -> list[Hit]:
        """The `k` best pages, each with its rank in every retriever that found it."""
        return (await self.search_many([query], k))[0]

    async def search_many(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """The same for each of several queries, asked of each retriever at once."""
        depth = max(DEPTH, k)
        asked = (search_many(one.retriever, queries, depth) for one in self._retrievers.values())
        found = zip(*await asyncio.gather(*asked), strict=True)  # of one query: what each retriever found
        fused = [fuse(dict(zip(self._retrievers, lists, strict=True)), self._weights()) for lists in found]
        if self._reranker is not None:
            pairs = zip(queries, fused, strict=True)
            fused = [await asyncio.to_thread(self._reranked, query, hits[:depth]) for query, hits in pairs]
        return [hits[:k] for hits in fused]

    def _weights(self) -> dict[str, float]:
        return {name: one.weight for name, one in self._retrievers.items()}

    def _reranked(self, query: str, hits: list[Hit]) -> list[Hit]:
        assert self._reranker is not None
        scores = self._reranker(query, [self._store.page(hit.page_id) for hit in hits])
        pairs = sorted(zip(hits, scores, strict=True), key=lambda pair: -pair[1])
        return [hit.model_copy(update={"score": float(score)}) for hit, score in pairs]


def fuse(lists: Mapping[str, Sequence[Hit]], weights: Mapping[str, float]) -> list[Hit]:
    """All hits of several retrievers, best first; of equal ones those that the first retriever found first."""
    ranks: dict[str, dict[str, int]] = {}
    refs = {hit.page_id: hit.ref for hits in lists.values() for hit in hits}
    for name, hits in lists.items():
        for rank, hit in enumerate(hits, 1):
            ranks.setdefault(hit.page_id, {}).setdefault(name, rank)
    scores = {page: sum(weights[name] / (RRF + rank) for name, rank in of.items()) for page, of in ranks.items()}
    fused = [Hit(page_id=page, ref=refs[page], score=scores[page], ranks=of) for page, of in ranks.items()]
    return sorted(fused, key=lambda hit: -hit.score)
