"""Documents over HTTP: uploaded to a corpus, and removed from it. Pages follow in the background."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path as Folder
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse

from vrag.database import ReadOnly
from vrag.errors import CorpusError, UsageError
from vrag.servers.agent.corpora import Name, Shared
from vrag.servers.agent.limits import MAX_FILES
from vrag.servers.agent.uploads import Received, receive, refused, remove
from vrag.types import Frozen

_log = logging.getLogger(__name__)
router = APIRouter(prefix="/v1/corpora/{name}/documents", tags=["documents"])

_FILES = {"type": "array", "items": {"type": "string", "format": "binary"}}
_FORM = {"schema": {"type": "object", "properties": {"files": _FILES}, "required": ["files"]}}
_BODY = {"requestBody": {"content": {"multipart/form-data": _FORM}, "required": True}}
_REFUSED: dict[int | str, dict[str, Any]] = {422: {"description": "None of the files can be taken."}}


class Uploaded(Frozen):
    """What became of each file. Those accepted are being indexed: `GET /v1/corpora/{name}` says how far that is."""

    files: list[Received]


class Removed(Frozen):
    """The names of the files that were deleted; their pages leave the corpus in the background."""

    removed: list[str]


@router.post("", status_code=202, response_model=Uploaded, responses=_REFUSED, openapi_extra=_BODY)
async def upload(request: Request, name: Name, shared: Shared, replace: bool = False) -> JSONResponse:
    """Take PDFs and images, each a part `files` of a form. With `replace` a document of the same name makes room."""
    shared.writable()
    folder = shared.shelf.folder(name)
    with shared.uploads.take():
        try:
            async with request.form(max_files=MAX_FILES, max_fields=0) as form:
                files = [part for _, part in form.multi_items() if isinstance(part, UploadFile)]
                outcomes = await _received(folder, files, replace)
        except ClientDisconnect:
            raise HTTPException(499, "the client is gone") from None
    if not outcomes:
        raise HTTPException(422, "no file came: send each as a part `files` of a multipart/form-data form")
    accepted = any(one.accepted for one in outcomes)
    if accepted:
        shared.indexer.ask(name)
    return JSONResponse(Uploaded(files=outcomes).model_dump(), 202 if accepted else 422)


async def _received(folder: Folder, files: Sequence[UploadFile], replace: bool) -> list[Received]:
    """What became of each. Raises `CorpusError` where one can't be written and none was taken."""
    outcomes, failures = list[Received](), list[CorpusError]()
    for one in files:
        name = one.filename or ""
        try:
            outcomes.append(await asyncio.to_thread(receive, folder, name, one.file, replace=replace))
        except CorpusError as error:
            failures.append(error)
            outcomes.append(refused(name, error, "it can't be written; the server's log says why"))
    if failures and not any(one.accepted for one in outcomes):
        raise failures[0]
    for error in failures:
        _log.warning("upload failed: %s", error)
    return outcomes


@router.delete("/{document_id}", status_code=202)
async def delete(
    request: Request, name: Name, document_id: Annotated[str, Path(pattern="^[0-9a-f]{24}$")], shared: Shared
) -> Removed:
    """Remove an uploaded document."""
    shared.writable()
    engine = await shared.shelf.engine(name)
    try:
        removed = await shared.searching.lookup(engine, request, lambda corpus: remove(corpus, document_id))
    except ReadOnly:
        raise
    except CorpusError:
        raise HTTPException(404, "no document of the corpus has this id") from None
    except UsageError as error:
        raise HTTPException(409, str(error)) from None
    shared.indexer.ask(name)
    return Removed(removed=removed)
