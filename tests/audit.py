"""What the process opens and connects to, as an audit hook sees it; and requests that no client would send."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.serving import Running

_FILES = ("open", "sqlite3.connect", "os.listdir", "os.scandir")
_NETWORK = ("socket.connect", "socket.getaddrinfo", "urllib.Request")
_opened: list[str] | None = None
_reached: list[str] | None = None


def _audit(event: str, args: tuple[object, ...]) -> None:
    if _opened is not None and event in _FILES:
        _opened.append(os.fsdecode(args[0]) if isinstance(args[0], (str, bytes, os.PathLike)) else str(args[0]))
    if _reached is not None and event in _NETWORK:
        _reached.append(str(args[1:] if event == "socket.connect" else args))


sys.addaudithook(_audit)


@contextmanager
def files_opened() -> Generator[list[str]]:
    """The names of the files that are opened meanwhile."""
    global _opened
    _opened = found = []
    try:
        yield found
    finally:
        _opened = None


@contextmanager
def places_reached() -> Generator[list[str]]:
    """The addresses that are connected to, or looked up, meanwhile."""
    global _reached
    _reached = found = []
    try:
        yield found
    finally:
        _reached = None


def outside(folder: Path, opened: list[str]) -> list[str]:
    """Those that aren't in `folder`."""
    return [path for path in opened if not path.startswith((f"{folder}/", f"file://{folder}/"))]


def send(server: Running, method: bytes, target: bytes, body: bytes = b"", *headers: bytes) -> tuple[int, bytes]:
    """The status and the rest of the answer to a request whose target is sent as it is."""
    url = server.client.base_url
    head = [method + b" " + target + b" HTTP/1.1", b"Host: localhost", b"Connection: close", *headers]
    if body:
        head.append(b"Content-Length: %d" % len(body))
    with socket.create_connection((url.host, url.port or 0), timeout=10) as connection:
        connection.sendall(b"\r\n".join(head) + b"\r\n\r\n" + body)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return int(answer.split(b" ", 2)[1]), answer
