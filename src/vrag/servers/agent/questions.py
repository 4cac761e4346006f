"""Questions over HTTP, answered by a stream of typed events."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field, StringConstraints

from vrag.servers.agent.asking import Asked
from vrag.servers.agent.corpora import Name, Shared
from vrag.servers.agent.events import Event
from vrag.servers.agent.limits import MAX_TURNS
from vrag.servers.agent.playing import Question
from vrag.servers.agent.stream import EventStream, frame
from vrag.servers.limits import MAX_CHARS
from vrag.types import Frozen, Sampling

router = APIRouter(prefix="/v1/corpora/{name}", tags=["questions"])

QuestionText = Annotated[str, StringConstraints(min_length=1, max_length=MAX_CHARS, strip_whitespace=True)]
Temperature = Annotated[float, Field(ge=0, le=2)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class AskRequest(Frozen):
    """`policy`: one of those of `/health`; None is the first. `max_turns` None: as many as it was trained with."""

    question: QuestionText
    policy: str | None = None
    max_turns: Annotated[int, Field(ge=1, le=MAX_TURNS)] | None = None
    temperature: Temperature = 0.0
    seed: Seed = 0


@router.post("/ask", status_code=200, response_class=EventStream, responses={200: {"model": Event}})
async def ask(name: Name, asked: AskRequest, shared: Shared) -> EventStream:
    """Ask the corpus. Closing the connection ends the episode."""
    sampling = Sampling(temperature=asked.temperature, seed=asked.seed)
    running = await shared.ask(name, asked.policy, Question(asked.question, asked.max_turns, sampling))
    return EventStream(_frames(running), running.cancel)


async def _frames(running: Asked) -> AsyncGenerator[bytes]:
    async for event in running.events():
        yield frame(event.model_dump_json(), event.type)
