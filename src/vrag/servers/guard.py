"""Who may ask, and how much: checked before anything of a request is read."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import anyio
from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vrag.errors import UsageError
from vrag.http import is_token

_ANOTHER = "without a token this server answers no page of another site"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server bound to `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_token(host: str, file: Path | None, environment: str | None, variable: str = "VRAG_TOKEN") -> str | None:
    """The token of a server bound to `host`: of the file if there is one, else of the environment, where `variable`
    held it. Raises `UsageError` when it is needed and missing, or can't be a token; the message never holds it.
    """
    try:
        found = file.read_text("utf-8").strip() if file is not None else environment
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"token file {file} can't be read: {type(error).__name__}") from None
    where = f"token file {file}" if file is not None else variable
    if found is None and not is_loopback(host):
        raise UsageError(f"others can reach {host}: give a token (--token-file or {variable}), or bind to 127.0.0.1")
    if found is not None and not is_token(found):
        raise UsageError(f"{where} holds no token: one line of printable ASCII without spaces")
    return found


class Guard:
    """ASGI middleware. With a token each request must bear it, but those to an `is_public` path. Without one the Host
    must be this machine: the name of a web page whose address was changed to 127.0.0.1 isn't (DNS rebinding). Nor may a
    page of another site send forms here, or show in itself what is here. A body holds at most as many bytes as
    `max_bytes` says for its path.
    """

    def __init__(
        self,
        app: ASGIApp,
        token: str | None,
        body_seconds: float,
        max_bytes: Callable[[str], int],
        is_public: Callable[[str], bool],
    ) -> None:
        self._app, self._body_seconds, self._max_bytes, self._is_public = app, body_seconds, max_bytes, is_public
        self._expected = None if token is None else f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def own(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Cross-Origin-Resource-Policy"] = "same-origin"
            await send(message)

        max_bytes = self._max_bytes(scope["path"])
        refusal = self._refusal(scope["path"], Headers(scope=scope), max_bytes)
        if refusal is not None:
            await refusal(scope, receive, own)
        else:
            await self._app(scope, _Bounded(receive, self._body_seconds, max_bytes), own)

    def _refusal(self, path: str, headers: Headers, max_bytes: int) -> Response | None:
        if self._expected is not None:
            given = headers.get("authorization", "").encode("latin-1", "replace")
            if not self._is_public(path) and not hmac.compare_digest(given, self._expected):
                return _refuse(
                    401, "this server wants its token: Authorization: Bearer …", {"WWW-Authenticate": "Bearer"}
                )
        elif not is_loopback(_name(headers.get("host", ""))):
            return _refuse(421, "without a token this server answers only to 127.0.0.1 and localhost")
        elif not is_loopback(_name(headers.get("origin", "//localhost").partition("//")[2])):
            return _refuse(403, _ANOTHER)
        elif "origin" not in headers and headers.get("sec-fetch-site") == "cross-site" and not self._is_public(path):
            return _refuse(403, _ANOTHER)  # an image, a script or a link
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()) or int(length) > max_bytes:
            return _refuse(422, f"a request holds at most {max_bytes} bytes")
        return None


class _Bounded:
    """The body of a request, as long as it is neither too long nor too slow."""

    def __init__(self, receive: Receive, seconds: float, max_bytes: int) -> None:
        self._receive, self._seconds, self._max_bytes = receive, seconds, max_bytes
        self._bytes, self._complete = 0, False

    async def __call__(self) -> Message:
        if self._complete:  # all that can come is that the client goes away
            return await self._receive()
        try:
            with anyio.fail_after(self._seconds):  # `wait_for` loses a cancellation that comes with the message
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(408, "the request took too long to arrive") from None
        self._bytes += len(message.get("body", b""))
        self._complete = not message.get("more_body", False)
        if self._bytes > self._max_bytes:
            raise HTTPException(422, f"a request holds at most {self._max_bytes} bytes")
        return message


def _name(host: str) -> str:
    """The name in a Host header, without the port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _refuse(status: int, why: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"detail": why}, status, headers)
