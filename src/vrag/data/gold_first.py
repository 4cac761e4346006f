"""Search that shows gold pages first, so that what an expert is shown can be learned from (FACTS: SFT data)."""

from __future__ import annotations

from collections.abc import Collection

from vrag.fusion import within
from vrag.protocols import Retriever
from vrag.types import Hit, PageRef


class GoldFirst:
    """What another retriever finds, gold pages before the others, each group in the order in which it was found.

    A gold page is moved up only from within the first `depth` hits: a query that doesn't find it isn't taught as one
    that does. Hits keep their scores, so a moved one can be told by its score.
    """

    def __init__(self, retriever: Retriever, gold: Collection[PageRef], depth: int) -> None:
        self._retriever, self._gold, self._depth = retriever, gold, depth

    def within(self, document: str) -> GoldFirst:
        """Raises `UsageError` as `vrag.fusion.within` does."""
        return GoldFirst(within(self._retriever, document), self._gold, self._depth)

    async def search(self, query: str, k: int) -> list[Hit]:
        hits = await self._retriever.search(query, max(k, self._depth))
        first = [hit for hit in hits[: self._depth] if hit.ref in self._gold]
        return [*first, *(hit for hit in hits if hit not in first)][:k]
