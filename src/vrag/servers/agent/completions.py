"""Questions in the form of OpenAI's chat completions, so that any client of theirs can ask a corpus.

`model` is a corpus, or corpus:policy. The question is the last message of the user; the answer is the content. What the
agent did, and where the answer stands, is in the field `vrag`, which is none of OpenAI's.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from vrag.servers.agent import events
from vrag.servers.agent.asking import Asked
from vrag.servers.agent.corpora import Shared
from vrag.servers.agent.events import Event
from vrag.servers.agent.playing import Question
from vrag.servers.agent.questions import Seed, Temperature
from vrag.servers.agent.service import AgentService
from vrag.servers.agent.shelf import UnknownCorpus
from vrag.servers.agent.stream import EventStream, frame
from vrag.servers.app import within
from vrag.servers.limits import MAX_CHARS
from vrag.types import Frozen, Sampling, StopReason

router = APIRouter(prefix="/v1", tags=["openai"])

Json = dict[str, Any]
# What clients send that changes nothing here, as long as it has this value (None: whatever it is).
_NEUTRAL: Json = {
    "n": 1,
    "top_p": 1,
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "logprobs": False,
    "user": None,
    "metadata": None,
    "store": None,
}


class Part(BaseModel):
    model_config = ConfigDict(extra="ignore")

    type: str
    text: str = ""


class ChatMessage(BaseModel):
    model_config = ConfigDict(extra="ignore")

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="ignore")

    include_usage: bool = False


class ChatRequest(BaseModel):
    """`max_tokens`, and its newer name, are those of one turn of the agent."""

    model_config = ConfigDict(extra="allow")

    model: str
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: Temperature | None = None
    seed: Seed | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None


class Model(Frozen):
    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "vrag"


class Models(Frozen):
    object: Literal["list"] = "list"
    data: list[Model]


@router.get("/models")
async def models(shared: Shared) -> Models:
    """Each corpus with each policy; the name of the corpus alone is its first."""
    names = shared.shelf.names()
    data = [Model(id=name) for name in names]
    return Models(data=data + [Model(id=f"{name}:{policy}") for name in names for policy in shared.policies])


@router.post("/chat/completions", response_class=JSONResponse)
async def chat_completions(request: Request, asked: ChatRequest, shared: Shared) -> Response:
    """Answers from the corpus that `model` names. Closing the connection ends the episode."""
    _check(asked)
    running = await _begin(shared, asked)
    made = _Completion(running, asked.model)
    if asked.stream:
        usage = asked.stream_options is not None and asked.stream_options.include_usage
        return EventStream(made.chunks(usage), running.cancel)
    try:
        # the episode has a limit of its own, which tells what happened
        return JSONResponse(await within(shared.limits.episode_seconds + 60, request, made.whole()))
    finally:
        running.cancel()


async def _begin(shared: AgentService, asked: ChatRequest) -> Asked:
    corpus, _, policy = asked.model.partition(":")
    question = Question(_question(asked), sampling=_sampling(asked))
    if policy and policy not in shared.policies:
        raise _refusal(
            404, f"no policy {policy!r} here; GET /v1/models lists what there is", "model", "model_not_found"
        )
    try:
        return await shared.ask(corpus, policy or None, question)
    except UnknownCorpus:
        raise _refusal(404, "no such model; GET /v1/models lists what there is", "model", "model_not_found") from None


def _check(asked: ChatRequest) -> None:
    """Raises 400 for what would have to be ignored."""
    for name, value in (asked.model_extra or {}).items():
        neutral = value is None or (name in _NEUTRAL and _NEUTRAL[name] in (None, value))
        if not neutral:
            raise _refusal(
                400, f"{name!r} with this value has no meaning here: leave it out", name, "unsupported_value"
            )


def _question(asked: ChatRequest) -> str:
    said = [message.content for message in asked.messages if message.role == "user"]
    parts = said[-1] if said else None
    if isinstance(parts, list):
        if any(part.type != "text" for part in parts):
            why = "a question is text: pages are images that the server has, and it fetches none"
            raise _refusal(400, why, "messages", "unsupported_value")
        parts = "\n".join(part.text for part in parts)
    if not parts or not parts.strip():
        raise _refusal(400, "the last message of the user holds no question", "messages", "invalid_value")
    if len(parts) > MAX_CHARS:
        raise _refusal(400, f"a question has at most {MAX_CHARS} characters", "messages", "string_above_max_length")
    return parts.strip()


def _sampling(asked: ChatRequest) -> Sampling:
    most = asked.max_completion_tokens or asked.max_tokens or Sampling().max_tokens
    return Sampling(temperature=asked.temperature or 0.0, max_tokens=most, seed=asked.seed or 0)


def _refusal(status: int, message: str, param: str, code: str) -> HTTPException:
    return HTTPException(status, {"message": message, "param": param, "code": code})


class _Completion:
    """An episode as one completion, or as its chunks."""

    def __init__(self, running: Asked, model: str) -> None:
        self._running = running
        self._head: Json = {"id": running.id, "created": int(time.time()), "model": model}
        self._answer: events.Answered | None = None
        self._usage = events.Spent()

    async def whole(self) -> Json:
        """Raises 503 or 504 for an episode that failed."""
        seen: list[Event] = []
        async for event in self._running.events():
            seen.append(event)
            self._note(event)
            if isinstance(event, events.Failed):
                raise HTTPException(504 if event.code == "timeout" else 503, event.message)
        stopped = seen[-1]
        if not isinstance(stopped, events.Stopped):
            raise HTTPException(503, "the server is ending")
        message = {"role": "assistant", "content": self._answer.text if self._answer else ""}
        choice = {"index": 0, "message": message, "finish_reason": _finish(stopped), "logprobs": None}
        told = self._told(stopped) | {"events": [event.model_dump(mode="json") for event in seen]}
        fields = {"object": "chat.completion", "choices": [choice], "usage": _tokens(self._usage), "vrag": told}
        return self._head | fields

    async def chunks(self, include_usage: bool) -> AsyncGenerator[bytes]:
        """One for each event, then the end; an error is one of them."""
        delta: Json = {"role": "assistant", "content": ""}
        async for event in self._running.events():
            self._note(event)
            if isinstance(event, events.Failed):
                failed = {"message": event.message, "type": "server_error", "param": None, "code": event.code}
                yield frame(_json({"error": failed}))
                break
            if isinstance(event, events.Stopped):
                yield self._chunk({}, self._told(event), _finish(event))
                break
            if isinstance(event, events.Answered):
                delta = delta | {"content": event.text}
            elif isinstance(event, events.Thought):
                delta = delta | {"reasoning_content": event.text}
            yield self._chunk(delta, {"event": event.model_dump(mode="json")})
            delta = {}
        if include_usage:
            usage = {"object": "chat.completion.chunk", "choices": [], "usage": _tokens(self._usage)}
            yield frame(_json(self._head | usage))
        yield frame("[DONE]")

    def _note(self, event: Event) -> None:
        if isinstance(event, events.Answered):
            self._answer = event
        elif isinstance(event, events.Spent):
            self._usage = event

    def _told(self, stopped: events.Stopped) -> Json:
        evidence = self._answer.evidence.model_dump(mode="json") if self._answer and self._answer.evidence else None
        return {"stop": stopped.reason.value, "steps": stopped.steps, "seconds": stopped.seconds, "evidence": evidence}

    def _chunk(self, delta: Json, told: Json, finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return frame(_json(self._head | {"object": "chat.completion.chunk", "choices": [choice], "vrag": told}))


def _finish(stopped: events.Stopped) -> str:
    """An episode without an answer has spent one of its budgets."""
    return "stop" if stopped.reason is StopReason.ANSWER else "length"


def _tokens(spent: events.Spent) -> Json:
    total = spent.prompt_tokens + spent.completion_tokens
    return {"prompt_tokens": spent.prompt_tokens, "completion_tokens": spent.completion_tokens, "total_tokens": total}


def _json(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
