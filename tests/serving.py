"""A server on a free port, in a thread of the test."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from fastapi import FastAPI

from vrag.retriever import Way
from vrag.servers.engine import Engine
from vrag.servers.limits import Limits
from vrag.servers.run import Server, bind
from vrag.servers.search import create_app

T = TypeVar("T")
NEVER = 3600.0  # s: a test says itself when to look at the files


@dataclass
class Running:
    """A server that answers. `client` takes paths; `call` runs something on the server's event loop."""

    url: str
    loop: asyncio.AbstractEventLoop
    service: Any
    client: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = httpx.Client(base_url=self.url, trust_env=False, timeout=30)

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def refresh(self) -> None:
        self.call(self.service.engine.refresh())

    def search(self, *queries: str, k: int = 10, **more: object) -> list[list[str]]:
        """The ids of the pages found."""
        answer = self.client.post("/v1/search", json={"queries": queries, "k": k, **more})
        assert answer.status_code == 200, answer.text
        return [[page["page_id"] for page in hits] for hits in answer.json()["results"]]

    def until(self, condition: Callable[[], bool]) -> None:
        """Looks again after each turn of the server's loop, for some seconds at most."""
        for _ in range(20_000):
            if condition():
                return
            self.call(asyncio.sleep(0))
        raise AssertionError("never came true")

    def metric(self, name: str) -> float:
        lines = self.client.get("/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.split("{")[0].split(" ")[0] == name)


@contextmanager
def serving(
    folder: Path,
    by: Way = "auto",
    limits: Limits | None = None,
    token: str | None = None,
    host: str = "127.0.0.1",
    poll: float = NEVER,
) -> Generator[Running]:
    """The search server of a corpus."""
    with started(create_app(Engine(folder, by), limits, token, poll=poll), host) as running:
        yield running


@contextmanager
def started(app: FastAPI, host: str = "127.0.0.1") -> Generator[Running]:
    ready: list[Running] = []
    begun = threading.Event()

    def answer(url: str) -> None:
        ready.append(Running(url, asyncio.get_running_loop(), app.state.service))
        begun.set()

    server = Server(app, bind(host, 0), answer, grace=10)
    thread = threading.Thread(target=server.until_ended)
    thread.start()
    try:
        assert begun.wait(30), "the server didn't start"
        with ready[0].client:
            yield ready[0]
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive(), "the server didn't end"


class Gate:
    """Holds up calls of a function until `open`; `begun` is set by the first, and `calls` records their arguments."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> None:
        self.begun, self._go = threading.Event(), threading.Event()
        self.calls: list[tuple[Any, ...]] = []
        real = getattr(owner, name)

        def gated(this: object, *args: Any) -> Any:
            self.calls.append(args)
            self.begun.set()
            assert self._go.wait(30), "the gate stayed shut"
            return real(this, *args)

        monkeypatch.setattr(owner, name, gated)

    def open(self) -> None:
        self._go.set()


def in_threads(count: int, work: Callable[[int], T]) -> list[Future[T]]:
    """`work(0)` … `work(count - 1)`, all at once."""
    pool = ThreadPoolExecutor(count)
    futures = [pool.submit(work, number) for number in range(count)]
    pool.shutdown(wait=False)
    return futures
