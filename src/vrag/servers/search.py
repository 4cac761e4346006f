"""The search server: pages of one corpus by query, as JSON over HTTP. Its schema is at /openapi.json."""

from __future__ import annotations

import asyncio
import logging
from typing import Annotated

from fastapi import APIRouter, FastAPI, HTTPException, Query, Request
from pydantic import Field, StringConstraints
from starlette.responses import JSONResponse, Response

from vrag.errors import CorpusError, InfrastructureError
from vrag.remote import Found
from vrag.retriever import Way
from vrag.servers import pages
from vrag.servers.app import Handler, assemble
from vrag.servers.engine import POLL, Engine
from vrag.servers.limits import MAX_CHARS, MAX_HITS, MAX_K, MAX_QUERIES, Limits
from vrag.servers.pages import Shared, image_url
from vrag.servers.service import Service
from vrag.types import Frozen

REFERENCE_K = 10  # pages that the search engine of VRAG-RL gives for a query
_log = logging.getLogger(__name__)
router = APIRouter()

Text = Annotated[str, StringConstraints(max_length=MAX_CHARS)]
K = Annotated[int, Field(ge=1, le=MAX_K)]


class SearchRequest(Frozen):
    """`by` is as of `vrag search`; None is what the server was started with."""

    queries: Annotated[list[Text], Field(min_length=1, max_length=MAX_QUERIES)]
    k: K = 10
    by: Way | None = None


class ReferencePage(Frozen):
    """A hit as the agents of VRAG-RL read it; but `image_file` is a URL, not a path."""

    idx: int
    image_file: str


class Health(Frozen):
    status: str
    pages: int
    index_version: str


@router.post("/v1/search", tags=["search"])
async def search(request: Request, asked: SearchRequest, shared: Shared) -> Found:
    """The best pages for each of several queries."""
    return await _search(request, shared, asked.queries, asked.k, asked.by)


@router.get("/v1/search", tags=["search"])
async def search_one(request: Request, shared: Shared, q: Text, k: K = 10, by: Way | None = None) -> Found:
    """The best pages for one query; `results` holds one list."""
    return await _search(request, shared, [q], k, by)


@router.get("/search", tags=["search"])
async def search_as_reference(
    request: Request, response: Response, shared: Shared, queries: Annotated[list[Text], Query(min_length=1)]
) -> list[list[ReferencePage]]:
    """The ten best pages for each query, in the form of the search engine of VRAG-RL."""
    found = await _search(request, shared, queries, REFERENCE_K)
    response.headers["X-Index-Version"] = found.index_version
    return [
        [ReferencePage(idx=place, image_file=image_url(request, page.page_id)) for place, page in enumerate(hits)]
        for hits in found.results
    ]


@router.get("/health", tags=["operation"], responses={503: {"description": "The corpus can't be read."}})
async def health(shared: Shared) -> Health:
    """200 as long as the corpus is there and can be read."""
    with shared.engine.current.used() as generation:
        if not shared.engine.present():
            raise HTTPException(503, "the corpus is gone")
        count = await asyncio.to_thread(generation.corpus.count)
        return Health(status="ok", pages=count, index_version=generation.version)


async def _search(request: Request, shared: Service, queries: list[str], k: int, by: Way | None = None) -> Found:
    if len(queries) > shared.limits.queries:
        raise HTTPException(422, f"at most {shared.limits.queries} queries in one request")
    if len(queries) * k > MAX_HITS:
        raise HTTPException(422, f"at most {MAX_HITS} pages in one request: fewer queries, or a smaller k")
    return await shared.search(request, queries, k, by)


def create_app(
    engine: Engine, limits: Limits | None = None, token: str | None = None, *, poll: float = POLL
) -> FastAPI:
    """The server of one corpus, which it closes at its end. `poll`: seconds between two looks for a swapped index."""
    service = Service(engine, limits or Limits(), poll)
    failures: dict[type[Exception], Handler] = {InfrastructureError: _failed, CorpusError: _failed}
    return assemble("vrag search", service, [router, pages.router], failures, token=token)


def _failed(_: Request, error: Exception) -> Response:
    """Names no path: the server's log does."""
    _log.warning("request failed: %s", error)
    return JSONResponse({"detail": "the corpus can't be read or searched; the server's log says why"}, 503)
