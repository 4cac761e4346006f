"""Pages of a corpus over HTTP: their images and their text."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, HTTPException, Query
from starlette.requests import Request
from starlette.responses import Response

from vrag.corpus.paths import is_page_id
from vrag.corpus.store import Corpus
from vrag.servers.agent.corpora import Name, Shared, Text
from vrag.servers.agent.limits import MAX_WIDTH
from vrag.servers.agent.marks import FoundWord, found_words
from vrag.servers.agent.pictures import parsed_box, picture
from vrag.servers.agent.places import PagePlace, place
from vrag.servers.pages import stored_page

router = APIRouter(prefix="/v1/corpora/{name}/pages/{document_id}/{number}", tags=["pages"])

_KEPT = {"Cache-Control": "private, max-age=3600", "X-Content-Type-Options": "nosniff"}


class PageText(PagePlace):
    """A page whose image has `width` x `height` pixels, of a document of `pages`. `found` are the words that a query
    asks for.
    """

    pages: int | None
    width: int
    height: int
    text: str
    text_source: Literal["layer", "ocr", "given", "none"]
    found: list[FoundWord]


@router.get("", response_class=Response, responses={200: {"content": {"image/jpeg": {}}}})
async def page_image(
    request: Request,
    name: Name,
    document_id: str,
    number: str,
    shared: Shared,
    box: Annotated[str | None, Query(max_length=100)] = None,
    width: Annotated[int | None, Query(ge=1, le=MAX_WIDTH)] = None,
) -> Response:
    """A page's image, JPEG. `box` (x1,y1,x2,y2 in fractions of the page) cuts a part out of it; `width` makes it
    smaller.
    """
    id, part = _page_id(document_id, number), None if box is None else parsed_box(box)
    engine = await shared.shelf.engine(name)
    pixels = await shared.searching.lookup(engine, request, lambda held: picture(held, id, part, width))
    return Response(pixels, media_type="image/jpeg", headers=_KEPT)


@router.get("/text")
async def page_text(
    request: Request, name: Name, document_id: str, number: str, shared: Shared, q: Text = ""
) -> PageText:
    """A page's size and text, and where the words of the query `q` stand on it."""
    id = _page_id(document_id, number)
    engine = await shared.shelf.engine(name)
    return await shared.searching.lookup(engine, request, lambda held: _page_text(name, held, id, q))


def _page_text(name: str, corpus: Corpus, id: str, query: str) -> PageText:
    """Raises 404 for an id that no page has."""
    page = stored_page(corpus, id)
    return PageText(
        **place(name, id, page.ref).model_dump(),
        pages=corpus.page_count(page.document_id),
        width=page.width,
        height=page.height,
        text=page.text,
        text_source=page.text_source,
        found=found_words(page, corpus.words(id), query) if query else [],
    )


def _page_id(document_id: str, number: str) -> str:
    """Checked before it becomes part of a path. Raises 404."""
    id = f"{document_id}-{number}"
    if not is_page_id(id):
        raise HTTPException(404, "no page of the corpus has this document and number")
    return id
