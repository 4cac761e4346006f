"""Corpora over HTTP: which there are, and what is in one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Path, Query
from pydantic import StringConstraints
from starlette.requests import Request

from vrag.corpus.store import Corpus, Document, Failure
from vrag.retriever import Way, way_of
from vrag.servers.agent.indexing import IndexingState
from vrag.servers.agent.limits import LISTED
from vrag.servers.agent.service import AgentService, service
from vrag.servers.agent.uploads import uploaded_documents
from vrag.servers.limits import MAX_CHARS
from vrag.types import Frozen

router = APIRouter(prefix="/v1/corpora", tags=["corpora"])

Shared = Annotated[AgentService, Depends(service)]
Name = Annotated[str, Path(max_length=200)]
Text = Annotated[str, StringConstraints(max_length=MAX_CHARS)]


class CorpusNames(Frozen):
    corpora: list[str]


class NewCorpus(Frozen):
    name: str


class DocumentInfo(Document):
    """`uploaded`: all its files came over HTTP, and can be removed that way. `reason`: why none of its pages could be
    read, or what it waits for.
    """

    uploaded: bool
    reason: str | None


class CorpusInfo(Frozen):
    """`documents` are those from `offset` on, `document_count` of all, `read_count` of those that have pages;
    `failures` what couldn't be read, or waits, by document and page, at most a thousand of `failure_count`. `search` is
    how it is searched.
    """

    name: str
    pages: int
    search: Way
    document_count: int
    read_count: int
    documents: list[DocumentInfo]
    failure_count: int
    failures: list[Failure]
    indexing: IndexingState


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


def _info(name: str, corpus: Corpus, offset: int, limit: int, state: IndexingState) -> CorpusInfo:
    documents, uploaded = corpus.documents(), uploaded_documents(corpus)
    failures = [*state.left, *corpus.failures()]
    reasons = _reasons(failures)

    def told(one: Document) -> DocumentInfo:
        reason = None if one.stored else reasons.get(one.name)
        return DocumentInfo(**one.model_dump(), uploaded=one.id in uploaded, reason=reason)

    return CorpusInfo(
        name=name,
        pages=corpus.count(),
        search=way_of(corpus, "auto"),
        document_count=len(documents),
        read_count=sum(one.stored > 0 for one in documents),
        documents=[told(one) for one in documents[offset : offset + limit]],
        failure_count=len(failures),
        failures=failures[:LISTED],
        indexing=state,
    )


def _reasons(failures: Sequence[Failure]) -> dict[str, str]:
    """Why a document has no pages, by name: what failed as a whole, or else on its first page."""
    ordered = sorted(failures, key=lambda one: one.page or 0, reverse=True)
    return {one.document: one.reason for one in ordered}
