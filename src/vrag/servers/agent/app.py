"""The agent server: questions to corpora, and the corpora themselves. Its schema is at /openapi.json."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Sequence

from fastapi import APIRouter, FastAPI, HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from vrag.corpus.reader import readable_suffixes
from vrag.database import ReadOnly
from vrag.errors import CheckpointError, CorpusError, DataError, InfrastructureError
from vrag.servers.agent import completions, corpora, documents, pages, questions, searching
from vrag.servers.agent.corpora import Shared
from vrag.servers.agent.openai_errors import OpenAIErrors
from vrag.servers.agent.runs import UnknownRun
from vrag.servers.agent.service import AgentService
from vrag.servers.agent.shelf import UnknownCorpus
from vrag.servers.app import Handler, assemble
from vrag.servers.limits import MAX_BYTES
from vrag.types import Frozen

_UPLOAD = re.compile(r"/v1/corpora/[^/]+/documents")
_log = logging.getLogger(__name__)
router = APIRouter(tags=["operation"])


class Health(Frozen):
    """`reads`: the suffixes of the documents that it can make pages of; office documents need LibreOffice. `creates`:
    whether corpora can be made here.
    """

    status: str
    corpora: int
    policies: list[str]
    episodes: int  # that run or wait
    read_only: bool
    creates: bool
    reads: list[str]


@router.get("/health", responses={503: {"description": "Episodes can't run any more."}})
async def health(shared: Shared) -> Health:
    """200 as long as questions can be asked."""
    if not shared.asking.alive:
        raise HTTPException(503, "episodes can't run any more; the server's log says why")
    return Health(
        status="ok",
        corpora=len(shared.shelf.names()),
        policies=shared.policies,
        episodes=shared.asking.slots.taken,
        read_only=shared.read_only,
        creates=shared.shelf.creates and not shared.read_only,
        reads=list(await asyncio.to_thread(readable_suffixes)),
    )


def create_app(
    service: AgentService,
    token: str | None = None,
    more: Sequence[APIRouter] = (),
    is_public: Callable[[str], bool] = lambda _: False,
) -> FastAPI:
    """The server of `service`, which it starts and ends. `more`: routes beside its own, of which those of `is_public`
    paths need no token.
    """
    failures: dict[type[Exception], Handler] = {
        UnknownCorpus: _unknown,
        UnknownRun: _unknown,
        DataError: _damaged,
        InfrastructureError: _failed,
        CorpusError: _failed,
        ReadOnly: _read_only,
        CheckpointError: _failed,
    }
    routers = [
        *(corpora.router, documents.router, searching.router, pages.router),
        *(questions.router, completions.router, router),
        *more,
    ]

    def max_bytes(path: str) -> int:
        return service.limits.upload_bytes if _UPLOAD.fullmatch(path) else MAX_BYTES

    app = assemble("vrag agent", service, routers, failures, token=token, max_bytes=max_bytes, is_public=is_public)
    app.add_middleware(OpenAIErrors)
    return app


def _unknown(_: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, 404)


def _logged(status: int, detail: str) -> Handler:
    """Names no path: the server's log does."""

    def handle(_: Request, error: Exception) -> Response:
        _log.warning("request failed: %s", error)
        return JSONResponse({"detail": detail}, status)

    return handle


_damaged = _logged(422, "the run can't be read: damaged, or of another version; the log says where")
_read_only = _logged(403, "the server may not write there; its log says where")
_failed = _logged(503, "the corpus can't be read, written or searched; the server's log says why")
