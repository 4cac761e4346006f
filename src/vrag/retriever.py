"""Queries → ranked pages, by anything that implements `vrag.protocols.Retriever`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Literal

from vrag.corpus.store import Corpus
from vrag.errors import CorpusError, InfrastructureError, UsageError
from vrag.fusion import FusedRetriever, Weighted
from vrag.protocols import PageEncoder, Retriever
from vrag.types import Hit

if TYPE_CHECKING:
    from vrag.index.vectors import EncoderName, Filter, VectorIndex
    from vrag.kernels import KernelChoice

_ROUNDS = 4  # in which others take the places of pages that left the corpus, and not yet its vectors

Way = Literal["auto", "text", "visual", "fused"]


class LexicalRetriever:
    """BM25 over the page text of one corpus; needs no model. Searching raises `UsageError` as `Corpus.search`."""

    def __init__(self, corpus: Corpus, document: str | None = None) -> None:
        """`document`: the name or id of the only one that is searched."""
        self.corpus, self._document = corpus, document

    def within(self, document: str) -> LexicalRetriever:
        return LexicalRetriever(self.corpus, document)

    async def search(self, query: str, k: int) -> list[Hit]:
        """The `k` best pages; searched in a thread, so that many episodes may ask at once."""
        return (await self.search_many([query], k))[0]

    async def search_many(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """The same for each of several queries, one after the other in one thread."""
        try:
            return await asyncio.to_thread(lambda: [self.corpus.search(query, k, self._document) for query in queries])
        except CorpusError as error:
            raise InfrastructureError(f"search failed: {error}") from error


class VisualRetriever:
    """MaxSim of a query's vectors against those of the page images of one corpus."""

    def __init__(self, corpus: Corpus, index: VectorIndex, encoder: PageEncoder, document: str | None = None) -> None:
        """`document`: the name or id of the only one that is searched. Raises `UsageError` when the encoder's vectors
        have another width than the index's.
        """
        if encoder.dim != index.dim:
            raise UsageError(f"the encoder gives vectors of {encoder.dim} dimensions, the index holds {index.dim}")
        self.corpus, self._index, self.encoder, self._document = corpus, index, encoder, document

    def within(self, document: str) -> VisualRetriever:
        return VisualRetriever(self.corpus, self._index, self.encoder, document)

    def close(self) -> None:
        """Close the index; the corpus stays open."""
        self._index.close()

    async def search(self, query: str, k: int) -> list[Hit]:
        """The `k` best pages; none for an empty query."""
        return (await self.search_many([query], k))[0]

    async def search_many(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """The same for each of several queries, all encoded in one call."""
        asked = dict.fromkeys(query for query in queries if query.strip() and k > 0)
        if not asked:
            return [[] for _ in queries]
        try:
            found = await asyncio.to_thread(self._search, list(asked), k)
        except CorpusError as error:
            raise InfrastructureError(f"search failed: {error}") from error
        return [list(found.get(query, [])) for query in queries]

    def _search(self, queries: list[str], k: int) -> dict[str, list[Hit]]:
        where = None if self._document is None else _only(self.corpus.document_id(self._document))
        asked = dict(zip(queries, self.encoder.encode_queries(queries), strict=True))
        found, depth, gone = dict[str, list[Hit]](), k, 0
        for _ in range(_ROUNDS):
            answers = [self._index.search(vectors, depth, where=where) for vectors in asked.values()]
            refs = self.corpus.refs([one.page_id for pages in answers for one in pages])
            for query, pages in zip(list(asked), answers, strict=True):
                held = [one for one in pages if one.page_id in refs]
                found[query] = [Hit(page_id=one.page_id, ref=refs[one.page_id], score=one.score) for one in held[:k]]
                gone = max(gone, len(pages) - len(held))
                if len(held) >= k or len(pages) < depth:
                    del asked[query]
            if not asked:
                break
            depth = k + 2 * gone
        return found


def _only(document_id: str) -> Filter:
    from vrag.index.vectors import Filter

    return Filter(documents=[document_id])


def way_of(corpus: Corpus, by: Way) -> Way:
    """What "auto" is for `corpus` as it stands: a run says which search it used."""
    if by != "auto":
        return by
    return "fused" if corpus.has_vectors else "text"


def open_retriever(
    corpus: Corpus, by: Way = "auto", encoder: EncoderName | None = None, kernel: KernelChoice | None = None
) -> Retriever:
    """What searches a corpus: its text, its page images by the encoder of its vectors, or both fused; "auto" is both
    where it has vectors, and the text where it hasn't. `encoder` says where else to find the same encoder, `kernel`
    what compares vectors. Raises `UsageError` for vectors that aren't there, for an extra that isn't installed, or an
    encoder or a kernel that nothing is asked of, and what loading them raises.
    """
    if by == "text" or (by == "auto" and not corpus.has_vectors):
        _check_unused(encoder, kernel)
    if encoder is None:
        return open_ways(corpus, by, kernel=kernel)[by]
    from vrag.embed import index_encoder

    return open_ways(corpus, by, lambda index: index_encoder(index, encoder), kernel)[by]


def _check_unused(encoder: EncoderName | None, kernel: KernelChoice | None) -> None:
    if encoder is not None:
        raise UsageError(f"search by text asks no encoder: leave {encoder.name} out")
    if kernel is not None and not kernel.is_default:
        raise UsageError("search by text compares no vectors: choose no kernel and no device")


def open_ways(
    corpus: Corpus,
    by: Way = "auto",
    load: Callable[[VectorIndex], PageEncoder] | None = None,
    kernel: KernelChoice | None = None,
) -> dict[Way, Retriever]:
    """All ways to search a corpus that need no more than `by` does, over one index and one encoder; raises as
    `open_retriever`. `load` gives the encoder of an index; else it is loaded anew.
    """
    if by != "visual":
        corpus.check_search()
    text = LexicalRetriever(corpus)
    found = corpus.has_vectors
    if by == "text" or (by == "auto" and not found):
        return {"text": text, "auto": text}
    if not found:
        raise UsageError(f"corpus {corpus.folder} has no vectors: `vrag index … --encoder MODEL` makes them")
    from vrag.embed import index_encoder, open_index

    with ExitStack() as failed:
        index = open_index(corpus, kernel)
        failed.callback(index.close)
        visual = VisualRetriever(corpus, index, (load or index_encoder)(index))
        failed.pop_all()
    fused = FusedRetriever(corpus, {"text": Weighted(text), "visual": Weighted(visual)})
    return {"text": text, "visual": visual, "fused": fused, "auto": fused}
