"""Pages over HTTP. A page id is checked before it becomes part of a path, and no link is followed."""

from __future__ import annotations

import os
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, HTTPException
from starlette.requests import Request
from starlette.responses import Response

from vrag.corpus.paths import is_page_id, page_file
from vrag.corpus.store import Corpus
from vrag.errors import CorpusError
from vrag.servers.service import Service
from vrag.types import Frozen, Page

router = APIRouter(prefix="/v1/pages", tags=["pages"])


class PageInfo(Frozen):
    """A page of the corpus: its image has `width` x `height` pixels and is at `image`."""

    page_id: str
    document: str
    page: int
    width: int
    height: int
    text: str
    text_source: Literal["layer", "ocr", "given", "none"]
    image: str


def checked(page_id: str) -> str:
    if not is_page_id(page_id):
        raise _missing()
    return page_id


def service(request: Request) -> Service:
    return request.app.state.service


PageId = Annotated[str, Depends(checked)]
Shared = Annotated[Service, Depends(service)]
_MISSING: dict[int | str, dict[str, object]] = {404: {"description": "No page of the corpus has this id."}}


@router.get("/{page_id}", responses=_MISSING)
async def page(request: Request, page_id: PageId, shared: Shared) -> PageInfo:
    """A page's document, number, size and text."""
    found = await shared.lookup(request, lambda corpus: stored_page(corpus, page_id))
    return PageInfo(
        page_id=found.id,
        document=found.ref.document,
        page=found.ref.page,
        width=found.width,
        height=found.height,
        text=found.text,
        text_source=found.text_source,
        image=image_url(request, found.id),
    )


@router.get("/{page_id}/image", response_class=Response, responses={**_MISSING, 200: {"content": {"image/jpeg": {}}}})
async def image(request: Request, page_id: PageId, shared: Shared) -> Response:
    """The stored page image, JPEG."""
    pixels = await shared.lookup(request, lambda corpus: stored_image(corpus, page_id))
    return Response(pixels, media_type="image/jpeg")


def image_url(request: Request, page_id: str) -> str:
    return str(request.url_for("image", page_id=page_id))


def stored_page(corpus: Corpus, page_id: str) -> Page:
    """Raises 404 for an id that no page has."""
    if not corpus.refs([page_id]):
        raise _missing()
    return corpus.page(page_id)


def stored_image(corpus: Corpus, page_id: str) -> bytes:
    """The file. Raises 404 for an id that no page has, and `CorpusError`."""
    stored_page(corpus, page_id)
    file = page_file(corpus.folder, page_id)
    try:
        found = os.open(file, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0))
        with os.fdopen(found, "rb") as opened:
            return opened.read()
    except FileNotFoundError:  # the page has just left the corpus
        raise _missing() from None
    except OSError as error:
        raise CorpusError(f"page image {file} can't be read: {error.strerror}") from error


def _missing() -> HTTPException:
    return HTTPException(404, "no page of the corpus has this id")
