"""The encoder server: vectors of pages and queries, as safetensors over HTTP. Its schema is at /openapi.json."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Annotated, Any

import anyio
from fastapi import APIRouter, Depends, FastAPI, HTTPException
from pydantic import Field, StringConstraints
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from vrag.encoders.wire import MEDIA, About, DType, EncoderInfo, PageFailure, kind_of, pack
from vrag.errors import DocumentError, InfrastructureError
from vrag.protocols import PageEncoder
from vrag.servers.app import Handler, assemble
from vrag.servers.encoding import EncodingService
from vrag.servers.limits import MAX_BYTES, MAX_CHARS, MAX_PAGE_BYTES, MAX_QUERIES, Limits
from vrag.types import Frozen

if TYPE_CHECKING:
    from vrag.index.vectors import EncoderName

_log = logging.getLogger(__name__)
router = APIRouter()

_PAGE = "/v1/encode/page"
_FILE = {"type": "string", "format": "binary"}
_BODY = {"content": {f"image/{kind}": {"schema": _FILE} for kind in ("jpeg", "png", "webp", "tiff")}, "required": True}
_VECTORS: dict[int | str, dict[str, Any]] = {200: {"content": {MEDIA: {"schema": _FILE}}}}
_FAILED: dict[int | str, dict[str, Any]] = {422: {"model": PageFailure, "description": "The page can't be encoded."}}


def _service(request: Request) -> EncodingService:
    return request.app.state.service


def _info(request: Request) -> EncoderInfo:
    return request.app.state.info


Shared = Annotated[EncodingService, Depends(_service)]
Text = Annotated[str, StringConstraints(max_length=MAX_CHARS)]


class QueryRequest(Frozen):
    queries: Annotated[list[Text], Field(min_length=1, max_length=MAX_QUERIES)]


class Health(Frozen):
    status: str
    fingerprint: str


@router.get("/v1/encoder", tags=["encode"])
async def encoder(info: Annotated[EncoderInfo, Depends(_info)]) -> EncoderInfo:
    """Which encoder this is, and what one request may ask for."""
    return info


@router.post(
    _PAGE,
    tags=["encode"],
    response_class=Response,
    responses={**_VECTORS, **_FAILED},
    openapi_extra={"requestBody": _BODY},
)
async def encode_page(request: Request, shared: Shared, dtype: DType = "float32") -> Response:
    """The vectors of one page, whose image file is the body: JPEG, PNG, WebP or TIFF."""
    with shared.held.take(_length(request)):  # before it is read: what waits is in memory
        made = await shared.page(request, await _body(request, shared.limits.timeout))
    about = About(fingerprint=shared.fingerprint, grid=made.grid)
    return Response(pack([made.vectors], about, dtype), media_type=MEDIA)


@router.post("/v1/encode/queries", tags=["encode"], response_class=Response, responses=_VECTORS)
async def encode_queries(request: Request, asked: QueryRequest, shared: Shared, dtype: DType = "float32") -> Response:
    """The vectors of each of several queries."""
    if len(asked.queries) > shared.limits.queries:
        raise HTTPException(422, f"at most {shared.limits.queries} queries in one request")
    made = await shared.queries(request, asked.queries)
    return Response(pack(made, About(fingerprint=shared.fingerprint), dtype), media_type=MEDIA)


@router.get("/health", tags=["operation"], responses={503: {"description": "The encoder has failed."}})
async def health(shared: Shared) -> Health:
    """200 unless the encoder failed at the last pages, as after an error of the GPU."""
    if shared.failed:
        raise HTTPException(503, "the encoder failed; the server's log says why")
    return Health(status="ok", fingerprint=shared.fingerprint)


def create_app(
    encoder: PageEncoder, name: EncoderName, limits: Limits | None = None, token: str | None = None
) -> FastAPI:
    """The server of one encoder, which was loaded by `name`."""
    service = EncodingService(encoder, limits or Limits())
    failures: dict[type[Exception], Handler] = {DocumentError: _bad_page, InfrastructureError: _failed}
    app = assemble("vrag encoder", service, [router], failures, token=token, max_bytes=_max_bytes)
    app.state.info = EncoderInfo(
        name=name.name,
        settings=name.settings,
        dim=encoder.dim,
        fingerprint=encoder.fingerprint,
        page_bytes=MAX_PAGE_BYTES,
        queries=service.limits.queries,
        timeout=service.limits.timeout,
    )
    return app


def _max_bytes(path: str) -> int:
    return MAX_PAGE_BYTES if path == _PAGE else MAX_BYTES


def _length(request: Request) -> int:
    """Bytes of the body; of one that doesn't say, as many as it may have."""
    return int(request.headers.get("content-length", MAX_PAGE_BYTES))


async def _body(request: Request, seconds: float) -> bytes:
    try:
        with anyio.fail_after(seconds):
            return await request.body()
    except TimeoutError:
        raise HTTPException(408, "the request took too long to arrive") from None
    except ClientDisconnect:
        raise HTTPException(499, "the client is gone") from None


def _bad_page(_: Request, error: Any) -> Response:
    failure = PageFailure(kind=kind_of(error), detail=str(error))
    return JSONResponse(failure.model_dump(), 422)


def _failed(_: Request, error: Exception) -> Response:
    """500: it would be no better when asked again, for a query that can't be encoded or a GPU that is lost."""
    _log.warning("request failed: %s", error)
    return JSONResponse({"detail": "the encoder failed; the server's log says why"}, 500)
