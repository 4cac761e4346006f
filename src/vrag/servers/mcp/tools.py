"""What the tools do, over the corpora and policies of an agent server that only reads."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from vrag.corpus.store import Corpus
from vrag.errors import CorpusError, DocumentError, UsageError, VragError
from vrag.servers.agent import events
from vrag.servers.agent.events import Event
from vrag.servers.agent.pictures import checked_box, picture
from vrag.servers.agent.places import EvidencePlace
from vrag.servers.agent.playing import FAILED, Question
from vrag.servers.agent.service import AgentService
from vrag.servers.batching import QueueFull
from vrag.servers.engine import Engine
from vrag.servers.limits import MAX_CHARS
from vrag.types import Box, Frozen, Page, PageRef

T = TypeVar("T")
OnStep = Callable[[int, str], Awaitable[None]]
_log = logging.getLogger(__name__)


class FoundPage(Frozen):
    """A page that matches; larger scores are better."""

    document: str
    page: int
    score: float


class FoundPages(Frozen):
    corpus: str
    pages: list[FoundPage]


class Shown(Frozen):
    """A page or a part of it (`box`, in fractions of the page), as the JPEG `image`."""

    page: Page
    box: Box | None
    image: bytes


class Standing(Frozen):
    """Where an answer stands: `box` as `crop_page` takes it (None: the whole page)."""

    document: str
    page: int
    box: list[float] | None


class Reply(Frozen):
    """`answer` is None where the agent ended for another reason, which `stop` is. Tokens are of the whole episode."""

    answer: str | None
    stop: str
    evidence: Standing | None
    seconds: float
    prompt_tokens: int
    completion_tokens: int


class Tools:
    """Every failure is a `UsageError` whose message says what to do; the log has the rest."""

    def __init__(self, service: AgentService) -> None:
        self._service = service

    def corpora(self) -> list[str]:
        return self._service.shelf.names()

    async def search(self, query: str, corpus: str | None, k: int) -> FoundPages:
        if len(query) > MAX_CHARS:
            raise UsageError(f"a query has at most {MAX_CHARS} characters")
        name, engine = await self._engine(corpus)
        found = await self._told(self._service.searching.find(engine, [query], k))
        pages = [FoundPage(document=hit.document, page=hit.page, score=hit.score) for hit in found.results[0]]
        return FoundPages(corpus=name, pages=pages)

    async def view(self, document: str, page: int, box: Box | None, width: int, corpus: str | None) -> Shown:
        """`width`: the most pixels that the picture has across."""
        part = None if box is None else checked_box(box)
        name, engine = await self._engine(corpus)

        def look(held: Corpus) -> Shown:
            found = _page(held, PageRef(document=document, page=page), name)
            return Shown(page=found, box=part, image=picture(held, found.id, part, width))

        return await self._told(self._service.searching.look(engine, look))

    async def ask(self, question: str, corpus: str | None, max_turns: int | None, on_step: OnStep) -> Reply:
        """`on_step` hears what happens. When this is cancelled, so is the episode."""
        if not question.strip() or len(question) > MAX_CHARS:
            raise UsageError(f"a question has 1 to {MAX_CHARS} characters")
        name, _ = await self._engine(corpus)
        running = await self._told(self._service.ask(name, None, Question(question.strip(), max_turns)))
        seen: dict[str, Any] = {}
        try:
            async for event in running.events():
                seen[event.type] = event
                if (what := _step(event)) is not None:
                    await on_step(*what)
        finally:
            running.cancel()
        return _reply(seen.get("answer"), seen.get("usage"), seen.get("error"), seen.get("stop"))

    async def _engine(self, corpus: str | None) -> tuple[str, Engine]:
        """The corpus of that name; of None, the only one."""
        names = self.corpora()
        if corpus is None and len(names) != 1:
            raise UsageError(f"say which corpus: {', '.join(names) or 'there is none yet; `vrag index` makes one'}")
        name = names[0] if corpus is None else corpus
        if name not in names:
            raise UsageError(f"no corpus {name!r}; there are: {', '.join(names) or 'none'}")
        return name, await self._told(self._service.shelf.engine(name))

    async def _told(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` returns; its failures in words for whoever called the tool."""
        try:
            return await asyncio.wait_for(work, self._service.limits.timeout)
        except asyncio.TimeoutError:
            raise UsageError(f"no answer within {self._service.limits.timeout:g} s; try again") from None
        except QueueFull as full:
            raise UsageError(f"too much is under way; try again in {full.retry_after} s") from full
        except (UsageError, DocumentError):
            raise
        except VragError as error:
            _log.warning("tool failed: %s", error)
            raise UsageError(FAILED) from error


def _page(corpus: Corpus, ref: PageRef, name: str) -> Page:
    try:
        return corpus.page(corpus.resolve(ref))
    except CorpusError as error:
        raise UsageError(
            f"no page {ref.page} of {ref.document!r} in corpus {name}: search_pages gives names and pages"
        ) from error


def _step(event: Event) -> tuple[int, str] | None:
    """The step of an event, and what happened in words; None for one that says nothing new."""
    match event:
        case events.Thought():
            return event.step, f"think: {event.text}"
        case events.Query():
            return event.step, f"search: {event.query}"
        case events.PageShown():
            return event.step, f"look at {event.page.document}, page {event.page.page}"
        case events.CropShown():
            return event.step, f"look closer at {event.page.document}, page {event.page.page}"
        case events.InvalidAction():
            return event.step, f"invalid action: {event.reason}"
        case _:
            return None


def _reply(
    answer: events.Answered | None,
    usage: events.Spent | None,
    failed: events.Failed | None,
    stopped: events.Stopped | None,
) -> Reply:
    if failed is not None:
        raise UsageError(failed.message)
    if stopped is None:
        raise UsageError("the server is ending")
    spent = usage or events.Spent()
    return Reply(
        answer=answer.text if answer else None,
        stop=stopped.reason.value,
        evidence=_standing(answer.evidence) if answer and answer.evidence else None,
        seconds=stopped.seconds,
        prompt_tokens=spent.prompt_tokens,
        completion_tokens=spent.completion_tokens,
    )


def _standing(found: EvidencePlace) -> Standing:
    edges = [round(edge, 4) for edge in found.box.as_tuple()] if found.box else None
    return Standing(document=found.document, page=found.page, box=edges)
