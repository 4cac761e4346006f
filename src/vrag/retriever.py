"""Queries → ranked pages, by anything that implements `vrag.protocols.Retriever`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

from vrag.corpus.store import Corpus
from vrag.errors import CorpusError, InfrastructureError, UsageError
from vrag.fusion import FusedRetriever, Weighted
from vrag.protocols import PageEncoder, Retriever
from vrag.types import Hit

if TYPE_CHECKING:
    from vrag.index.vectors import VectorIndex

Way = Literal["auto", "text", "visual", "fused"]


class LexicalRetriever:
    """BM25 over the page text of one corpus; needs no model and no second index."""

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus

    async def search(self, query: str, k: int) -> list[Hit]:
        """The `k` best pages; searched in a thread, so that many episodes may ask at once."""
        try:
            return await asyncio.to_thread(self.corpus.search, query, k)
        except CorpusError as error:
            raise InfrastructureError(f"search failed: {error}") from error


class VisualRetriever:
    """MaxSim of a query's vectors against those of the page images of one corpus."""

    def __init__(self, corpus: Corpus, index: VectorIndex, encoder: PageEncoder) -> None:
        """Raises `UsageError` when the encoder's vectors have another width than the index's."""
        if encoder.dim != index.dim:
            raise UsageError(f"the encoder gives vectors of {encoder.dim} dimensions, the index holds {index.dim}")
        self.corpus, self._index, self._encoder = corpus, index, encoder

    async def search(self, query: str, k: int) -> list[Hit]:
        """The `k` best pages; none for an empty query."""
        if not query.strip() or k <= 0:
            return []
        try:
            return await asyncio.to_thread(self._search, query, k)
        except CorpusError as error:
            raise InfrastructureError(f"search failed: {error}") from error

    def _search(self, query: str, k: int) -> list[Hit]:
        vectors = self._encoder.encode_queries([query])[0]
        found = self._index.search(vectors, k)
        refs = self.corpus.refs([one.page_id for one in found])
        known = [one for one in found if one.page_id in refs]  # a page may just have left the corpus
        return [Hit(page_id=one.page_id, ref=refs[one.page_id], score=one.score) for one in known]


def open_retriever(corpus: Corpus, by: Way = "auto") -> Retriever:
    """What searches a corpus: its text, its page images by the encoder of its vectors, or both fused; "auto" is both
    where it has vectors, and the text where it hasn't. Raises `UsageError` for vectors that aren't there, and what
    loading the encoder raises.
    """
    found = corpus.vectors.exists()
    if by == "text" or (by == "auto" and not found):
        return LexicalRetriever(corpus)
    if not found:
        raise UsageError(f"corpus {corpus.folder} has no vectors: `vrag index … --encoder MODEL` makes them")
    from vrag.embed import index_encoder, open_index

    index = open_index(corpus)
    visual = VisualRetriever(corpus, index, index_encoder(index))
    if by == "visual":
        return visual
    return FusedRetriever(corpus, {"text": Weighted(LexicalRetriever(corpus)), "visual": Weighted(visual)})
