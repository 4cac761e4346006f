"""Errors in OpenAI's shape on the paths that are OpenAI's, whoever refuses the request."""

from __future__ import annotations

import json
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_PATHS = ("/v1/chat/", "/v1/models")
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class OpenAIErrors:
    """ASGI middleware around all others: {"detail": …} becomes {"error": {"message", "type", "param", "code"}}, and 422
    becomes 400, which is theirs for all that is wrong with a request.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(_PATHS):
            await self._app(scope, receive, _Rewriting(send))
        else:
            await self._app(scope, receive, send)


class _Rewriting:
    """Holds an answer that is an error back until its body is there."""

    def __init__(self, send: Send) -> None:
        self._send, self._body = send, b""
        self._start: Message | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] >= 400:
            self._start = message
        elif self._start is None:
            await self._send(message)
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._rewritten(self._start)

    async def _rewritten(self, start: Message) -> None:
        status = 400 if start["status"] == 422 else start["status"]
        body = json.dumps({"error": _error(status, self._body)}).encode()
        headers = MutableHeaders(raw=list(start["headers"]))
        headers["content-type"], headers["content-length"] = "application/json", str(len(body))
        await self._send({**start, "status": status, "headers": headers.raw})
        await self._send({"type": "http.response.body", "body": body})


def _error(status: int, body: bytes) -> dict[str, Any]:
    kind = "server_error" if status >= 500 else _TYPES.get(status, "invalid_request_error")
    return {"message": "", "type": kind, "param": None, "code": None} | _details(body)


def _details(body: bytes) -> dict[str, Any]:
    try:
        detail: Any = json.loads(body)["detail"]
    except (ValueError, KeyError, TypeError):  # not one of the server's own
        return {"message": body.decode(errors="replace")}
    if isinstance(detail, dict):
        return detail
    if isinstance(detail, list):  # what FastAPI found wrong with the body
        place = detail[0]["loc"][1:]
        if not any(isinstance(part, str) for part in place):  # no field: the character at which it is no JSON
            return {"message": f"{detail[0]['msg']} at character {place[0]}" if place else detail[0]["msg"]}
        where = ".".join(map(str, place))
        return {"message": f"{where}: {detail[0]['msg']}", "param": where}
    return {"message": str(detail)}
