"""Search over HTTP: a retriever whose corpus is behind `vrag serve search`, and what the two say to each other."""

from __future__ import annotations

from collections.abc import Sequence

import httpx
from pydantic import ConfigDict, Field, ValidationError

from vrag.errors import InfrastructureError
from vrag.http import Patience, Server
from vrag.types import Frozen, Hit, PageRef


class FoundPage(Frozen):
    """A hit; see `vrag.types.Hit`. Fields that a newer server adds are no reason to fail."""

    model_config = ConfigDict(extra="ignore")

    page_id: str
    document: str
    page: int
    score: float
    ranks: dict[str, int] = Field(default_factory=lambda: {})


class Found(Frozen):
    """The hits of each query, best first. Answers of one `index_version` come from the same index, which grows with
    its corpus; another version is another index.
    """

    model_config = ConfigDict(extra="ignore")

    results: list[list[FoundPage]]
    index_version: str


class RemoteRetriever:
    """A `Retriever` that asks a search server. Usable from any number of event loops, and holds no connection between
    searches. What may pass is tried again, as `vrag.http` says.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        by: str | None = None,
        timeout: float = 35.0,
        patience: float = 90.0,
        attempts: int = 5,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`url` of the server, `by` as of `vrag search` (None: the server's own); one attempt takes at most `timeout`
        seconds, all of them and the pauses at most `patience`. `transport` replaces the network in tests.
        """
        self._server = Server("search server", url, token, transport)
        self._by, self._patience = by, Patience(timeout, patience, attempts)

    @property
    def url(self) -> str:
        return self._server.url

    async def search(self, query: str, k: int) -> list[Hit]:
        """The `k` best pages; none only when nothing matches."""
        return (await self.search_many([query], k))[0]

    async def search_many(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """The same for each of several queries, in one request. Raises `InfrastructureError`, naming the URL."""
        if k <= 0 or not queries:
            return [[] for _ in queries]
        question = {"queries": list(queries), "k": k, "by": self._by}
        async with self._server.connect() as client:
            answer = await self._server.ask(client, "POST", "/v1/search", self._patience, json=question)
        try:
            found = Found.model_validate_json(answer.content)
        except ValidationError as error:
            raise InfrastructureError(f"{self._server}: answered what is no search result") from error
        if len(found.results) != len(queries):
            raise InfrastructureError(f"{self._server}: answered {len(found.results)} of {len(queries)} queries")
        return [[_hit(page) for page in pages] for pages in found.results]


def _hit(page: FoundPage) -> Hit:
    ref = PageRef(document=page.document, page=page.page)
    return Hit(page_id=page.page_id, ref=ref, score=page.score, ranks=page.ranks)
