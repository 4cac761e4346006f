"""What all servers have in common: who may ask and how much, metrics, a limit of time, and what failures look like."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol, TypeVar

from fastapi import APIRouter, FastAPI, HTTPException
from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from vrag import __version__
from vrag.errors import UsageError
from vrag.servers.batching import QueueFull
from vrag.servers.guard import Guard
from vrag.servers.limits import MAX_BYTES, Limits
from vrag.servers.metrics import Measured, Metrics

T = TypeVar("T")
Handler = Callable[[Request, Any], Response]


class Service(Protocol):
    """What the routes of one server share; they find it as `app.state.service`. It works inside `running`."""

    @property
    def limits(self) -> Limits: ...
    @property
    def metrics(self) -> Metrics: ...
    def running(self) -> AbstractAsyncContextManager[None]: ...


def assemble(
    title: str,
    service: Service,
    routers: list[APIRouter],
    failures: Mapping[type[Exception], Handler],
    *,
    token: str | None,
    max_bytes: Callable[[str], int] = lambda _: MAX_BYTES,
    is_public: Callable[[str], bool] = lambda _: False,
) -> FastAPI:
    """A server. `failures`: what else its routes may raise, and the answer to it; `max_bytes`: how many the body of a
    request to a path may have; `is_public`: which paths need no token.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        async with service.running():
            yield

    # no pages of documentation: they would load scripts of others beside the user's documents
    app = FastAPI(title=title, version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.service = service
    for router in (*routers, _operation):
        app.include_router(router)
    handlers: dict[Any, Any] = {**_HANDLERS, **failures}
    for error, handler in handlers.items():
        app.add_exception_handler(error, handler)
    app.add_middleware(
        Guard, token=token, body_seconds=service.limits.timeout, max_bytes=max_bytes, is_public=is_public
    )
    app.add_middleware(Measured, metrics=service.metrics)
    return app


async def within(seconds: float, request: Request, work: Coroutine[Any, Any, T]) -> T:
    """504 when it takes too long, 499 (which nobody sees) when the client goes away; both cancel the work."""
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        if gone.done():
            raise HTTPException(499, "the client is gone")
        raise HTTPException(504, f"no answer within {seconds:g} s")
    finally:
        for one in (task, gone):
            one.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


_operation = APIRouter(tags=["operation"])


@_operation.get("/metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Metrics in the text format of Prometheus."""
    service: Service = request.app.state.service
    return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _busy(_: Request, error: Any) -> Response:
    return JSONResponse({"detail": str(error)}, 429, {"Retry-After": str(error.retry_after)})


def _wrong(_: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, 422)


def _invalid(request: Request, error: Any) -> Response:
    """Doesn't send back what came: it may be long, or no text."""
    if any(one["type"] == "model_attributes_type" for one in error.errors()) and "json" not in _kind(request):
        return JSONResponse({"detail": "a request is JSON, and has to say so: Content-Type: application/json"}, 422)
    return JSONResponse({"detail": [{"loc": one["loc"], "msg": one["msg"]} for one in error.errors()]}, 422)


def _kind(request: Request) -> str:
    return request.headers.get("Content-Type", "")


_HANDLERS: dict[type[Exception], Handler] = {QueueFull: _busy, UsageError: _wrong, RequestValidationError: _invalid}
