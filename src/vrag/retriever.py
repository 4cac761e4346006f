"""Queries → ranked pages, by anything that implements `vrag.protocols.Retriever`."""

from __future__ import annotations

import asyncio

from vrag.corpus.store import Corpus
from vrag.errors import CorpusError, InfrastructureError
from vrag.types import Hit


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
