"""An app on a socket until someone ends it."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import uvicorn
from fastapi import FastAPI

from vrag.errors import UsageError


def bind(host: str, port: int) -> socket.socket:
    """A socket that nobody can connect to yet; port 0 is any free one. Raises `UsageError` when it can't be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)  # asyncio sends at once (TCP_NODELAY) only where TCP is named
        try:
            if not hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # on Windows two servers would share the port
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
        except BaseException:
            bound.close()
            raise
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"can't listen on {host} port {port} ({reason}): choose another --host or --port") from error
    return bound


def url_of(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


LINGER = 5.0  # s that threads have to end, behind what a server's requests had


class _Threads(ThreadPoolExecutor):
    """Of an event loop, which at its end would wait for ever for one that hangs, as in a model or a disk."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        super().shutdown(wait=False, cancel_futures=True)
        ends = time.monotonic() + LINGER
        for thread in self._threads:
            thread.join(max(0.0, ends - time.monotonic()))


class Server(uvicorn.Server):
    """Calls `ready` with its URL once requests are answered; `should_exit = True` ends it after what runs, which has
    `grace` seconds.
    """

    def __init__(self, app: FastAPI, bound: socket.socket, ready: Callable[[str], None], grace: float) -> None:
        self._socket, self._ready = bound, ready
        # h11, whatever else is installed: it bounds the head of a request
        super().__init__(
            uvicorn.Config(
                app,
                http="h11",
                ws="none",
                lifespan="on",
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=max(1, round(grace)),
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().set_default_executor(_Threads())
        await super().startup(sockets)
        self._ready(url_of(self._socket))

    def until_ended(self) -> None:
        """Serve until interrupted, which raises KeyboardInterrupt after the running requests were answered."""
        with self._socket:
            self.run([self._socket])


def log_to_stderr() -> None:
    """What the server has to say beside answers: swapped indexes, failures."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("vrag: %(message)s"))
    logger = logging.getLogger("vrag")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
