"""Corpora over HTTP: which there are, what is in one, its pages, and searching it."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, HTTPException, Path, Query
from pydantic import Field, StringConstraints
from starlette.requests import Request
from starlette.responses import Response

from vrag.corpus.paths import is_page_id
from vrag.corpus.store import Corpus, Document, Failure
from vrag.remote import FoundPage
from vrag.retriever import Way, way_of
from vrag.servers.agent.indexing import IndexingState
from vrag.servers.agent.limits import LISTED, MAX_WIDTH
from vrag.servers.agent.pictures import parsed_box, picture
from vrag.servers.agent.places import HitPlace, PagePlace, hit_place, place
from vrag.servers.agent.service import AgentService, service
from vrag.servers.agent.uploads import uploaded_documents
from vrag.servers.limits import MAX_CHARS, MAX_HITS, MAX_K, MAX_QUERIES
from vrag.servers.pages import stored_page
from vrag.types import Frozen, Hit, PageRef

router = APIRouter(prefix="/v1/corpora", tags=["corpora"])

_KEPT = {"Cache-Control": "private, max-age=3600", "X-Content-Type-Options": "nosniff"}

Shared = Annotated[AgentService, Depends(service)]
Name = Annotated[str, Path(max_length=200)]
Text = Annotated[str, StringConstraints(max_length=MAX_CHARS)]
K = Annotated[int, Field(ge=1, le=MAX_K)]


class CorpusNames(Frozen):
    corpora: list[str]


class NewCorpus(Frozen):
    name: str


class DocumentInfo(Document):
    """`uploaded`: it came over HTTP, and can be removed that way."""

    uploaded: bool


class CorpusInfo(Frozen):
    """`documents` are those from `offset` on, `document_count` of all; `failures` what couldn't be read, or waits, by
    document and page, at most a thousand of `failure_count`. `search` is how it is searched.
    """

    name: str
    pages: int
    search: Way
    document_count: int
    documents: list[DocumentInfo]
    failure_count: int
    failures: list[Failure]
    indexing: IndexingState


class SearchQueries(Frozen):
    """`by` as of `vrag search`; None is what the server was started with."""

    queries: Annotated[list[Text], Field(min_length=1, max_length=MAX_QUERIES)]
    k: K = 10
    by: Way | None = None


class Results(Frozen):
    """The hits of each query, best first, all of one `index_version`."""

    results: list[list[HitPlace]]
    index_version: str


class PageText(PagePlace):
    """A page whose image has `width` x `height` pixels."""

    width: int
    height: int
    text: str
    text_source: Literal["layer", "ocr", "given", "none"]


@router.get("")
async def corpora(shared: Shared) -> CorpusNames:
    """The names of the corpora."""
    return CorpusNames(corpora=shared.shelf.names())


@router.post("", status_code=201)
async def create(asked: NewCorpus, shared: Shared) -> NewCorpus:
    """Make an empty corpus, to upload documents to."""
    shared.writable()
    if asked.name in shared.shelf.names():
        raise HTTPException(409, "there is a corpus of this name")
    shared.shelf.create(asked.name)
    return asked


@router.get("/{name}")
async def corpus(
    request: Request,
    name: Name,
    shared: Shared,
    offset: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=0, le=LISTED)] = LISTED,
) -> CorpusInfo:
    """What is in a corpus, what couldn't be read, and how far its indexing is."""
    engine = await shared.shelf.engine(name)
    state = shared.indexer.state(name)
    return await shared.searching.lookup(engine, request, lambda held: _info(name, held, offset, limit, state))


@router.post("/{name}/search")
async def search_many(request: Request, name: Name, asked: SearchQueries, shared: Shared) -> Results:
    """The best pages for each of several queries."""
    return await _search(request, shared, name, asked)


@router.get("/{name}/search")
async def search(request: Request, name: Name, shared: Shared, q: Text, k: K = 10, by: Way | None = None) -> Results:
    """The best pages for one query; `results` holds one list."""
    return await _search(request, shared, name, SearchQueries(queries=[q], k=k, by=by))


@router.get(
    "/{name}/pages/{document_id}/{number}", response_class=Response, responses={200: {"content": {"image/jpeg": {}}}}
)
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


@router.get("/{name}/pages/{document_id}/{number}/text")
async def page_text(request: Request, name: Name, document_id: str, number: str, shared: Shared) -> PageText:
    """A page's size and text."""
    id = _page_id(document_id, number)
    engine = await shared.shelf.engine(name)
    found = await shared.searching.lookup(engine, request, lambda held: stored_page(held, id))
    where = place(name, id, found.ref).model_dump()
    return PageText(**where, width=found.width, height=found.height, text=found.text, text_source=found.text_source)


async def _search(request: Request, shared: AgentService, name: str, asked: SearchQueries) -> Results:
    if len(asked.queries) > shared.limits.queries:
        raise HTTPException(422, f"at most {shared.limits.queries} queries in one request")
    if len(asked.queries) * asked.k > MAX_HITS:
        raise HTTPException(422, f"at most {MAX_HITS} pages in one request: fewer queries, or a smaller k")
    engine = await shared.shelf.engine(name)
    found = await shared.searching.search(engine, request, asked.queries, asked.k, asked.by)
    results = [[hit_place(name, _hit(page)) for page in pages] for pages in found.results]
    return Results(results=results, index_version=found.index_version)


def _hit(page: FoundPage) -> Hit:
    ref = PageRef(document=page.document, page=page.page)
    return Hit(page_id=page.page_id, ref=ref, score=page.score, ranks=page.ranks)


def _page_id(document_id: str, number: str) -> str:
    """Checked before it becomes part of a path. Raises 404."""
    id = f"{document_id}-{number}"
    if not is_page_id(id):
        raise HTTPException(404, "no page of the corpus has this document and number")
    return id


def _info(name: str, corpus: Corpus, offset: int, limit: int, state: IndexingState) -> CorpusInfo:
    documents, uploaded = corpus.documents(), uploaded_documents(corpus)
    failures = [*state.left, *corpus.failures()]
    return CorpusInfo(
        name=name,
        pages=corpus.count(),
        search=way_of(corpus, "auto"),
        document_count=len(documents),
        documents=[
            DocumentInfo(**one.model_dump(), uploaded=one.id in uploaded) for one in documents[offset : offset + limit]
        ],
        failure_count=len(failures),
        failures=failures[:LISTED],
        indexing=state,
    )
