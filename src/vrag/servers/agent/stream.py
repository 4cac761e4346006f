"""Server-sent events that end the work behind them as soon as nobody listens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable

import anyio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

KEEP_ALIVE = 15.0  # s without an event, after which a comment keeps proxies from closing the connection
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff"}
SLOW = 60.0  # s that a client may take none of what it is sent


class EventStream(Response):
    """Sends `frames`, and calls `ended` at the end, however that comes: the last frame, a client that goes away or one
    that doesn't read.
    """

    media_type = "text/event-stream"

    def __init__(self, frames: AsyncGenerator[bytes], ended: Callable[[], None]) -> None:
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]
        self._frames, self._ended = frames, ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sending = asyncio.create_task(self._send_all(send))
        gone = asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._ended()
            for task in (sending, gone):
                task.cancel()
            await asyncio.gather(sending, gone, return_exceptions=True)
            await self._frames.aclose()

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        frames = aiter(self._frames)
        following = asyncio.ensure_future(anext(frames, None))
        try:
            while True:
                await asyncio.wait({following}, timeout=KEEP_ALIVE)
                if not following.done():
                    await _write(send, b": waiting\n\n")
                elif (frame := following.result()) is None:
                    await _write(send, b"", more=False)
                    return
                else:
                    following = asyncio.ensure_future(anext(frames, None))
                    await _write(send, frame)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


def frame(data: str, event: str | None = None) -> bytes:
    """One event; `data` is on one line, as JSON is."""
    name = f"event: {event}\n" if event else ""
    return f"{name}data: {data}\n\n".encode()


async def _write(send: Send, body: bytes, *, more: bool = True) -> None:
    with anyio.fail_after(SLOW):  # `wait_for` may lose the cancellation of a client that goes away
        await send({"type": "http.response.body", "body": body, "more_body": more})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
