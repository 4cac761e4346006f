"""Searching a corpus over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, HTTPException
from pydantic import Field
from starlette.requests import Request

from vrag.corpus.store import Corpus
from vrag.errors import CorpusError
from vrag.index.lexical import snippet
from vrag.remote import FoundPage
from vrag.retriever import Way
from vrag.servers.agent.corpora import Name, Shared, Text
from vrag.servers.agent.limits import MAX_SNIPPETS
from vrag.servers.agent.marks import found_in
from vrag.servers.agent.places import HitPlace, hit_place
from vrag.servers.agent.service import AgentService
from vrag.servers.limits import MAX_HITS, MAX_K, MAX_QUERIES
from vrag.types import Frozen, Hit, PageRef

router = APIRouter(prefix="/v1/corpora/{name}/search", tags=["search"])

K = Annotated[int, Field(ge=1, le=MAX_K)]


class SearchQueries(Frozen):
    """`by` as of `vrag search`; None is what the server was started with. `snippets`: with a stretch of each page's
    text.
    """

    queries: Annotated[list[Text], Field(min_length=1, max_length=MAX_QUERIES)]
    k: K = 10
    by: Way | None = None
    snippets: bool = False


class Snippet(Frozen):
    """The stretch of a page's text that holds most of a query; `found` are its words, as they stand between spaces,
    that the query asks for.
    """

    text: str
    found: list[str]


class SearchHit(HitPlace):
    """A page that a search found; `snippet` is None where none was asked for."""

    snippet: Snippet | None = None


class Results(Frozen):
    """The hits of each query, best first, all of one `index_version`."""

    results: list[list[SearchHit]]
    index_version: str


@router.post("")
async def search_many(request: Request, name: Name, asked: SearchQueries, shared: Shared) -> Results:
    """The best pages for each of several queries."""
    return await _search(request, shared, name, asked)


@router.get("")
async def search(
    request: Request,
    name: Name,
    shared: Shared,
    q: Text,
    k: K = 10,
    by: Way | None = None,
    snippets: bool = False,
) -> Results:
    """The best pages for one query; `results` holds one list."""
    return await _search(request, shared, name, SearchQueries(queries=[q], k=k, by=by, snippets=snippets))


async def _search(request: Request, shared: AgentService, name: str, asked: SearchQueries) -> Results:
    if len(asked.queries) > shared.limits.queries:
        raise HTTPException(422, f"at most {shared.limits.queries} queries in one request")
    if len(asked.queries) * asked.k > MAX_HITS:
        raise HTTPException(422, f"at most {MAX_HITS} pages in one request: fewer queries, or a smaller k")
    if asked.snippets and len(asked.queries) * asked.k > MAX_SNIPPETS:
        raise HTTPException(422, f"at most {MAX_SNIPPETS} pages in one request with snippets: a smaller k, or none")
    engine = await shared.shelf.engine(name)
    found = await shared.searching.search(engine, request, asked.queries, asked.k, asked.by)
    results = [[_hit(name, page) for page in pages] for pages in found.results]
    if asked.snippets:
        results = await shared.searching.lookup(
            engine, request, lambda corpus: [_told(corpus, *one) for one in zip(asked.queries, results, strict=True)]
        )
    return Results(results=results, index_version=found.index_version)


def _hit(name: str, page: FoundPage) -> SearchHit:
    ref = PageRef(document=page.document, page=page.page)
    hit = Hit(page_id=page.page_id, ref=ref, score=page.score, ranks=page.ranks)
    return SearchHit(**hit_place(name, hit).model_dump())


def _told(corpus: Corpus, query: str, hits: Sequence[SearchHit]) -> list[SearchHit]:
    """With their snippets. A page that has left the corpus meanwhile has none."""
    return [hit.model_copy(update={"snippet": _snippet(corpus, query, hit.page_id)}) for hit in hits]


def _snippet(corpus: Corpus, query: str, page_id: str) -> Snippet | None:
    try:
        text = snippet(corpus.page(page_id).text, query)
    except CorpusError:  # it isn't there any more
        return None
    return Snippet(text=text, found=found_in(text, query))
