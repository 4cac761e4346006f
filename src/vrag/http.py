"""Requests to servers of vrag: which failures are waited out, and what the others are called.

What may pass (no connection, no answer in time, 429, 502, 503, 504) is tried again, at growing and random intervals, or
as the server's Retry-After says: what these servers are asked changes nothing, so asking twice does no harm.
"""

from __future__ import annotations

import asyncio
import random
import re
from dataclasses import dataclass
from typing import Any

import httpx
import stamina

from vrag.errors import InfrastructureError, UsageError

_CONNECT = 5.0  # s
_JITTER = 0.5  # s
_PASSING = frozenset({429, 502, 503, 504})  # statuses of what may have passed when asked again


@dataclass(frozen=True)
class Patience:
    """One attempt takes at most `timeout` seconds, all of them and the pauses at most `total`; a pause that the server
    doesn't ask for at most `pause`.
    """

    timeout: float
    total: float
    attempts: int
    pause: float = 5.0


class Refused(InfrastructureError):
    """An answer that isn't 200. `after`: in how many seconds to ask again, if the server said so."""

    def __init__(self, server: Server, response: httpx.Response) -> None:
        self.response, self.status = response, response.status_code
        self.after = _seconds(response.headers.get("Retry-After"))
        hint = {
            401: "; give the server's token",
            404: f"; is this the URL of {_an(server.what)} of vrag?",
        }.get(self.status, "")
        super().__init__(f"{server}: answered {self.status}: {response.text[:200]}{hint}")


class Server:
    """A server of vrag as its clients see it; `what` it is begins the errors, "search server". Usable from any number
    of event loops.
    """

    def __init__(
        self, what: str, url: str, token: str | None = None, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        """`transport` replaces the network in tests. Raises `UsageError` for what can't be a URL or a token."""
        try:
            parsed = httpx.URL(url)
        except (httpx.InvalidURL, TypeError):
            parsed = httpx.URL("")
        if parsed.scheme not in ("http", "https") or not parsed.host or parsed.userinfo:
            raise UsageError(f"the URL of {_an(what)} is like http://127.0.0.1:8002, without user and password")
        if token is not None and not is_token(token):
            raise UsageError(f"the token for {what} {url} is none: one line of printable ASCII without spaces")
        self.what, self.url = what, url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._transport, self._tls = transport, httpx.create_ssl_context()  # 20 ms, which no request should pay

    def __str__(self) -> str:
        return f"{self.what} {self.url}"

    def connect(self) -> httpx.AsyncClient:
        """Connections for `ask`, to be used as a context manager in one event loop."""
        return httpx.AsyncClient(headers=self._headers, verify=self._tls, transport=self._transport)

    async def ask(
        self, client: httpx.AsyncClient, method: str, path: str, patience: Patience, **content: Any
    ) -> httpx.Response:
        """The answer, of status 200; `content` is as httpx takes it. Raises `Refused` for another status that won't
        pass or didn't, and `InfrastructureError` when there is no answer; both name the server.
        """
        try:
            return await asyncio.wait_for(self._ask(client, method, path, patience, content), patience.total)
        except asyncio.TimeoutError:
            raise InfrastructureError(f"{self}: no answer within {patience.total:g} s") from None
        except httpx.HTTPError as error:
            raise InfrastructureError(f"{self}: {type(error).__name__}: {error}") from error

    async def _ask(
        self, client: httpx.AsyncClient, method: str, path: str, patience: Patience, content: dict[str, Any]
    ) -> httpx.Response:
        ends = asyncio.get_running_loop().time() + patience.total
        timeout = httpx.Timeout(patience.timeout, connect=min(patience.timeout, _CONNECT))

        def retry(error: Exception) -> bool | float:
            if not isinstance(error, Refused):
                return isinstance(error, httpx.TransportError)
            if error.status not in _PASSING or error.after is None:
                return error.status in _PASSING
            pause = error.after + random.uniform(0, _JITTER)
            return pause if asyncio.get_running_loop().time() + pause < ends else False

        async for attempt in stamina.retry_context(
            retry,
            attempts=patience.attempts,
            timeout=patience.total,
            wait_max=patience.pause,
            wait_jitter=_JITTER,
        ):
            with attempt:
                response = await client.request(method, f"{self.url}{path}", timeout=timeout, **content)
                if response.status_code != 200:
                    raise Refused(self, response)
                return response
        raise AssertionError("stamina raises what the last attempt raised")


def is_token(text: str) -> bool:
    """Whether a header can carry `text` as a token."""
    return re.fullmatch(r"[\x21-\x7e]+", text) is not None


def _an(what: str) -> str:
    return f"{'an' if what[0] in 'aeiou' else 'a'} {what}"


def _seconds(retry_after: str | None) -> float | None:
    """The header's seconds; its other form, a date, is left to the usual pauses."""
    return float(retry_after) if retry_after is not None and retry_after.isascii() and retry_after.isdigit() else None
