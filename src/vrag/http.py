"""Requests to servers: which failures are waited out, and what the others are called.

What may pass (no connection, no answer in time, 429, 502, 503, 504) is tried again, at growing and random intervals, or
as the server's Retry-After says: what these servers are asked changes nothing, so asking twice does no harm. The token
stays in the client: no message has it, also where a server repeats it.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import anyio
import httpx
import stamina

from vrag.errors import InfrastructureError, UsageError

T = TypeVar("T")

PASSING = frozenset({429, 502, 503, 504})  # statuses of what may have passed when asked again
_JITTER = 0.5  # s
_SHOWN = 200  # characters of what a server says
_HEADERS = frozenset(  # that a request may have; the last is one that OpenAI's client looks for when it was answered
    {
        "host",
        "user-agent",
        "accept",
        "accept-encoding",
        "connection",
        "content-type",
        "content-length",
        "x-stainless-raw-response",
    }
)


@dataclass(frozen=True)
class Patience:
    """One attempt takes at most `timeout` seconds, all of them and the pauses at most `total`; a pause that the server
    doesn't ask for at most `pause`. Answers of the statuses `passing` are asked for again. Connecting
    takes at most `connect`, of which the time that the caller's own work blocks the event loop is a part.
    """

    timeout: float
    total: float
    attempts: int
    pause: float = 5.0
    passing: frozenset[int] = PASSING
    connect: float = 5.0

    def timeouts(self) -> httpx.Timeout:
        """Of one attempt."""
        return httpx.Timeout(self.timeout, connect=min(self.timeout, self.connect))


class Refused(InfrastructureError):
    """An answer that isn't 200. `after`: in how many seconds to ask again, if the server said so."""

    def __init__(self, server: Server, response: httpx.Response) -> None:
        self.response, self.status = response, response.status_code
        self.after = _seconds(response.headers.get("Retry-After"))
        hint = server.hints.get(self.status)
        said = server.shown(response.text)
        super().__init__(f"{server}: answered {self.status}: {said}" + (f"; {hint}" if hint else ""))


class Unusable(InfrastructureError):
    """No answer, or one of status 200 that is none, and may be one when it is asked for again."""


class Server:
    """A server as its clients see it; `what` it is begins the errors, "search server". Usable from any number of event
    loops.
    """

    def __init__(
        self,
        what: str,
        url: str,
        token: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        hints: Mapping[int, str] | None = None,
    ) -> None:
        """`hints`: what to do about a status (without them, those of a server of vrag); `transport` replaces the
        network in tests. Raises `UsageError` for what can't be a URL or a token.
        """
        try:
            parsed = httpx.URL(url)
        except (httpx.InvalidURL, TypeError):
            parsed = httpx.URL("")
        if parsed.scheme not in ("http", "https") or not parsed.host or parsed.userinfo or parsed.query:
            raise UsageError(f"the URL of {_an(what)} is like http://127.0.0.1:8002, without user, password and query")
        if token is not None and not is_token(token):
            raise UsageError(f"the token for {what} {url} is none: one line of printable ASCII without spaces")
        self.what, self.url, self._token = what, url.rstrip("/"), token
        self._secret = re.compile("".join(map(_forms, token))) if token else None
        self.hints = hints or {
            401: "give the server's token",
            404: f"is this the URL of {_an(what)} of vrag?",
        }
        self._transport, self._tls = transport, httpx.create_ssl_context()  # 20 ms, which no request should pay

    def __str__(self) -> str:
        return f"{self.what} {self.url}"

    def masked(self, text: str) -> str:
        """What the server said, without the token, however JSON or a URL writes it."""
        return self._secret.sub("***", text) if self._secret else text

    def shown(self, text: str) -> str:
        """The beginning of what the server said, for a message; without the token."""
        return self.masked(text)[:_SHOWN]

    def connect(self, keep_alive: bool = True) -> httpx.AsyncClient:
        """Connections for `ask`, to be used in one event loop, and as a context manager unless none is kept alive."""
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None if keep_alive else 0)
        return httpx.AsyncClient(auth=self._signed, verify=self._tls, transport=self._transport, limits=limits)

    def _signed(self, request: httpx.Request) -> httpx.Request:
        """With the token of this server, and without what a library adds of its own or takes from the environment,
        which may be another server's key.
        """
        kept = [(name, value) for name, value in request.headers.raw if name.decode().lower() in _HEADERS]
        request.headers = httpx.Headers(kept)
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    async def ask(
        self, client: httpx.AsyncClient, method: str, path: str, patience: Patience, **content: Any
    ) -> httpx.Response:
        """The answer, of status 200; `content` is as httpx takes it. Raises `Refused` for another status that won't
        pass or didn't, and `InfrastructureError` when there is no answer; both name the server.
        """
        return await self.patiently(patience, lambda: self.once(client, method, path, patience, **content))

    async def once(
        self, client: httpx.AsyncClient, method: str, path: str, patience: Patience, **content: Any
    ) -> httpx.Response:
        """One attempt of `ask`, for `patiently`."""
        response = await client.request(method, f"{self.url}{path}", timeout=patience.timeouts(), **content)
        if response.status_code != 200:
            raise Refused(self, response)
        return response

    async def patiently(self, patience: Patience, attempt: Callable[[], Awaitable[T]]) -> T:
        """What `attempt` returns; called again after what may pass, as `Unusable` may. Raises as `ask` does."""
        try:
            # no `wait_for`: the shield behind which httpx closes connections holds off scopes alone
            with anyio.fail_after(patience.total):
                return await self._again(patience, attempt)
        except TimeoutError:
            raise InfrastructureError(f"{self}: no answer within {patience.total:g} s") from None
        except httpx.HTTPError as error:
            raise InfrastructureError(f"{self}: {type(error).__name__}: {error}") from error

    async def _again(self, patience: Patience, attempt: Callable[[], Awaitable[T]]) -> T:
        ends = asyncio.get_running_loop().time() + patience.total

        def retry(error: Exception) -> bool | float:
            if not isinstance(error, Refused):
                return isinstance(error, (httpx.TransportError, Unusable))
            if error.status not in patience.passing or error.after is None:
                return error.status in patience.passing
            pause = error.after + random.uniform(0, _JITTER)
            return pause if asyncio.get_running_loop().time() + pause < ends else False

        async for trial in stamina.retry_context(
            retry,
            attempts=patience.attempts,
            timeout=patience.total,
            wait_max=patience.pause,
            wait_jitter=_JITTER,
        ):
            with trial:
                return await attempt()
        raise AssertionError("stamina raises what the last attempt raised")


def is_token(text: str) -> bool:
    """Whether a header can carry `text` as a token."""
    return re.fullmatch(r"[\x21-\x7e]+", text) is not None


def _forms(char: str) -> str:
    """A pattern of the forms that a character of a token can have in what a server says."""
    code = f"{ord(char):02x}"
    return rf"(?:\\?{re.escape(char)}|(?i:\\u00{code}|%{code}))"


def _an(what: str) -> str:
    return f"{'an' if what[0] in 'aeiou' else 'a'} {what}"


def _seconds(retry_after: str | None) -> float | None:
    """The header's seconds; its other form, a date, is left to the usual pauses."""
    return float(retry_after) if retry_after is not None and retry_after.isascii() and retry_after.isdigit() else None
