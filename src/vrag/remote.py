"""Search over HTTP: a retriever whose corpus is behind `vrag serve search`, and what the two say to each other."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import httpx
import stamina
from pydantic import ConfigDict, Field, ValidationError

from vrag.errors import InfrastructureError, UsageError
from vrag.types import Frozen, Hit, PageRef

_CONNECT = 5.0  # s
_JITTER = 0.5  # s
_PASSING = frozenset({429, 502, 503, 504})  # statuses of what may have passed when asked again


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


class _Refused(Exception):
    """An answer that isn't 200. `after`: in how many seconds to ask again, if the server said so."""

    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        self.after = _seconds(response.headers.get("Retry-After"))
        super().__init__(f"answered {self.status}: {response.text[:200]}" + _HINTS.get(self.status, ""))


_HINTS = {401: "; give the server's token", 404: "; is this the URL of a search server of vrag?"}


class RemoteRetriever:
    """A `Retriever` that asks a search server. Usable from any number of event loops, and holds no connection between
    searches.

    What may pass (no connection, no answer in time, 429, 502, 503, 504) is tried again, at growing and random
    intervals, or as the server's Retry-After says; a search changes nothing, so asking twice does no harm.
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
        parsed = httpx.URL(url)
        if parsed.scheme not in ("http", "https") or not parsed.host or parsed.userinfo:
            raise UsageError("the URL of a search server is like http://127.0.0.1:8002, without user and password")
        self.url = url.rstrip("/")
        self._by, self._patience, self._attempts = by, patience, attempts
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._timeout = httpx.Timeout(timeout, connect=min(timeout, _CONNECT))
        self._transport, self._tls = transport, httpx.create_ssl_context()  # 20 ms, which no search should pay

    async def search(self, query: str, k: int) -> list[Hit]:
        """The `k` best pages; none only when nothing matches."""
        return (await self.search_many([query], k))[0]

    async def search_many(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """The same for each of several queries, in one request. Raises `InfrastructureError`, naming the URL."""
        if k <= 0 or not queries:
            return [[] for _ in queries]
        try:
            found = await asyncio.wait_for(
                self._ask({"queries": list(queries), "k": k, "by": self._by}), self._patience
            )
        except asyncio.TimeoutError:
            raise InfrastructureError(f"search server {self.url}: no answer within {self._patience:g} s") from None
        except (httpx.HTTPError, _Refused) as error:
            reason = str(error) if isinstance(error, _Refused) else f"{type(error).__name__}: {error}"
            raise InfrastructureError(f"search server {self.url}: {reason}") from error
        except ValidationError as error:
            raise InfrastructureError(f"search server {self.url}: answered what is no search result") from error
        if len(found.results) != len(queries):
            raise InfrastructureError(
                f"search server {self.url}: answered {len(found.results)} of {len(queries)} queries"
            )
        return [[_hit(page) for page in pages] for pages in found.results]

    async def _ask(self, question: dict[str, object]) -> Found:
        ends = asyncio.get_running_loop().time() + self._patience

        def retry(error: Exception) -> bool | float:
            if not isinstance(error, _Refused):
                return isinstance(error, httpx.TransportError)
            if error.status not in _PASSING or error.after is None:
                return error.status in _PASSING
            pause = error.after + random.uniform(0, _JITTER)
            return pause if asyncio.get_running_loop().time() + pause < ends else False

        async with httpx.AsyncClient(
            headers=self._headers, timeout=self._timeout, verify=self._tls, transport=self._transport
        ) as client:
            async for attempt in stamina.retry_context(
                retry, attempts=self._attempts, timeout=self._patience, wait_max=5.0, wait_jitter=_JITTER
            ):
                with attempt:
                    response = await client.post(f"{self.url}/v1/search", json=question)
                    if response.status_code != 200:
                        raise _Refused(response)
                    return Found.model_validate_json(response.content)
        raise AssertionError("stamina raises what the last attempt raised")


def _hit(page: FoundPage) -> Hit:
    ref = PageRef(document=page.document, page=page.page)
    return Hit(page_id=page.page_id, ref=ref, score=page.score, ranks=page.ranks)


def _seconds(retry_after: str | None) -> float | None:
    """The header's seconds; its other form, a date, is left to the usual pauses."""
    return float(retry_after) if retry_after is not None and retry_after.isascii() and retry_after.isdigit() else None
