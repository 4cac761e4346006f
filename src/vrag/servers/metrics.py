"""What a server tells Prometheus. Labels are routes and statuses, nothing of what a request holds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

if TYPE_CHECKING:
    from vrag.servers.batching import Batcher

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Those of one server, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "vrag_requests", "Requests by route and status.", ["route", "status"], registry=self._registry
        )
        self.seconds = Histogram(
            "vrag_request_seconds", "Time to answer.", ["route"], buckets=_SECONDS, registry=self._registry
        )

    def batches(self, items: str) -> Callable[[int], None]:
        """What is to be told the size of each batch of `items`."""
        name, what = f"vrag_batch_{items}", f"{items.capitalize()} answered together."
        return Histogram(name, what, buckets=_SIZES, registry=self._registry).observe

    def queue(self, items: str, queue: Batcher[Any, Any, Any]) -> None:
        """How full it is, asked when someone looks."""
        self.gauge(f"vrag_queue_{items}", f"{items.capitalize()} that wait for a batch.", lambda: queue.waiting)
        self.gauge(
            f"vrag_admitted_{items}", f"{items.capitalize()} that wait or are in a batch.", lambda: queue.slots.taken
        )

    def counter(self, name: str, what: str, label: str) -> Callable[[str], None]:
        """What is to be told the label of each."""
        counter = Counter(name, what, [label], registry=self._registry)
        return lambda value: counter.labels(value).inc()

    def gauge(self, name: str, what: str, value: Callable[[], int]) -> None:
        """`value` is asked when someone looks."""
        Gauge(name, what, registry=self._registry).set_function(value)

    def text(self) -> bytes:
        return generate_latest(self._registry)


class Measured:
    """ASGI middleware: counts and times every request, also those that others refuse."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, began = 500, time.perf_counter()

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - began)
