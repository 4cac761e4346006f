"""Runs over HTTP: which there are, their episodes, and one of them as the events of a question that is asked."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query
from starlette.requests import Request

from vrag.corpus.paths import corpus_folder
from vrag.corpus.store import Corpus
from vrag.episode import EpisodeRecord, Judgement
from vrag.errors import CorpusError, UsageError
from vrag.locate import says_none
from vrag.servers.agent.corpora import Shared
from vrag.servers.agent.events import Answered, Event, Spent, StepStarted, Stopped
from vrag.servers.agent.places import PagePlace, place
from vrag.servers.agent.runs import EpisodeRow, RunInfo, Runs, SeenPages
from vrag.servers.agent.service import AgentService
from vrag.servers.agent.telling import Teller
from vrag.training.token_trace import TokenTrace
from vrag.types import Evidence, Frozen, PageRef

router = APIRouter(prefix="/v1/runs", tags=["runs"])

RunName = Annotated[str, Query(alias="run", max_length=1000)]


class RunList(Frozen):
    """None where the server was started without a folder of runs."""

    runs: list[RunInfo] | None


class Episodes(Frozen):
    run: RunInfo
    episodes: list[EpisodeRow]


class Gold(Evidence):
    """Where the answer stands, as the dataset says. `place` is None where no corpus here has the page for certain."""

    place: PagePlace | None


class Trajectory(Frozen):
    """`events` are those of `/ask`, from the first step on. `corpus` is the one that the paths in it are of, and None
    where this server has none to show. `tokens` are of episodes that training kept.
    """

    row: EpisodeRow
    corpus: str | None
    gold: list[Gold]
    judgement: Judgement | None
    error: str | None
    events: list[Event]
    tokens: TokenTrace | None


@router.get("")
def runs(shared: Shared) -> RunList:
    """The runs below the folder that the server was started with."""
    return RunList(runs=None if shared.runs is None else shared.runs.list())


@router.get("/episodes")
def episodes(shared: Shared, run: RunName) -> Episodes:
    """All episodes of a run, without their turns."""
    shown = _shown(shared)
    return Episodes(run=shown.info(run), episodes=[kept.row for kept in shown.episodes(run)])


@router.get("/episode")
async def episode(
    request: Request,
    shared: Shared,
    run: RunName,
    number: Annotated[int, Query(ge=0)],
    corpus: Annotated[str | None, Query(max_length=200)] = None,
) -> Trajectory:
    """One episode. `corpus`: where to look for its pages when the run's own isn't served here. A page goes by the hash
    of its document, so none but the right one can be found.
    """
    shown = _shown(shared)
    kept = await asyncio.to_thread(shown.episode, run, number)
    own = _served(shared, (await asyncio.to_thread(shown.info, run)).corpus)
    name = own or (corpus if corpus in shared.shelf.names() else None)
    record = kept.record
    events = [*_turns(record, name or ""), *await _answer(request, shared, record, name), *_end(record)]
    return Trajectory(
        row=kept.row,
        corpus=name,
        gold=await _gold(request, shared, record, name, is_own=own is not None),
        judgement=record.judgement,
        error=record.error,
        events=events,
        tokens=None if kept.tokens is None else TokenTrace.model_validate_json(kept.tokens),
    )


def _shown(shared: AgentService) -> Runs:
    if shared.runs is None:
        raise HTTPException(404, "this server shows no runs: start it with --runs FOLDER")
    return shared.runs


def _served(shared: AgentService, of_run: str | None) -> str | None:
    """What this server calls the corpus of a run, if it has it."""
    with suppress(UsageError):
        folder = corpus_folder(of_run).resolve() if of_run else None
        for name in shared.shelf.names():
            if shared.shelf.folder(name).resolve() == folder:
                return name
    return None


async def _gold(
    request: Request, shared: AgentService, record: EpisodeRecord, corpus: str | None, *, is_own: bool
) -> list[Gold]:
    """With their places. In a corpus that isn't the run's own a name may mean another document: there a page counts
    only if the episode itself says by which hash its document goes.
    """
    if corpus is None:
        return [Gold(**one.model_dump(), place=None) for one in record.task.gold]
    seen = [turn.observation for turn in record.turns if turn.observation]
    looks = [look for one in seen for look in (*one.hits, *one.views)]
    hashes = {look.ref.document: look.page_id.rpartition("-")[0] for look in looks}

    def found(store: Corpus) -> list[Gold]:
        return [Gold(**one.model_dump(), place=where(store, one.ref)) for one in record.task.gold]

    def where(store: Corpus, ref: PageRef) -> PagePlace | None:
        with suppress(CorpusError):
            id = store.resolve(ref)
            if is_own or id.rpartition("-")[0] == hashes.get(ref.document):
                return place(corpus, id, ref)
        return None

    engine = await shared.shelf.engine(corpus)
    return await shared.searching.lookup(engine, request, found)


def _turns(record: EpisodeRecord, corpus: str) -> list[Event]:
    teller, told = Teller(corpus, SeenPages(record)), list[Event]()
    for step, turn in enumerate(record.turns, start=1):
        told += [StepStarted(step=step), *teller.turn(step, turn)]
    return told


async def _answer(request: Request, shared: AgentService, record: EpisodeRecord, corpus: str | None) -> list[Event]:
    """Where it stands is said where the corpus still has the pages."""
    text = record.answer
    if text is None:
        return []
    if corpus is not None:
        engine = await shared.shelf.engine(corpus)
        found = await shared.searching.lookup(
            engine, request, lambda store: Teller(corpus, store).answer(record.turns, text)
        )
        return [found]
    return [Answered(text=text, evidence=None, found=not says_none(text))]


def _end(record: EpisodeRecord) -> list[Event]:
    written = record.sampled_tokens
    spent = Spent(prompt_tokens=record.total_tokens - written, completion_tokens=written)
    if record.usage is not None:
        spent = Spent(**record.usage.model_dump())
    return [spent, Stopped(reason=record.stop, steps=len(record.turns), seconds=round(record.seconds, 3))]
