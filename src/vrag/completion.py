"""What is read of a chat completion: whole, or as it is streamed (server-sent events, one JSON object each)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, ValidationError

if TYPE_CHECKING:
    import httpx

Ends = Callable[[str], int | None]

_MOST = 1 << 20  # characters of a message
_GRACE = 2.0  # s that a server may take, after the message is whole, to say what it cost


@dataclass(frozen=True)
class Completion:
    """A message, why the server ended it (None: it doesn't say, or didn't), and its tokens as that counts them.
    `thought` is what a server that knows thinking models takes out of the text.
    """

    text: str
    thought: str
    finish: str | None
    prompt_tokens: int
    completion_tokens: int


class NoCompletion(Exception):
    """An answer that is none, or was cut; says what it is."""


class _Said(BaseModel):
    """Servers call thought by either name."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: Any = None

    @property
    def thought(self) -> str:
        return self.reasoning_content or (self.reasoning if isinstance(self.reasoning, str) else "")


class _Choice(BaseModel):
    """`message` of a whole completion, `delta` of a part."""

    message: _Said = _Said()
    delta: _Said = _Said()
    finish_reason: str | None = None


class _Tokens(BaseModel):
    prompt_tokens: int | None = Field(default=None, ge=0)
    completion_tokens: int | None = Field(default=None, ge=0)


class _Answer(BaseModel):
    choices: list[_Choice] = []
    usage: _Tokens | None = None
    error: Any = None


def whole(content: bytes, ends: Ends | None = None) -> Completion:
    """That of a body. Raises `NoCompletion`."""
    answer = _read(content)
    if not answer.choices:
        raise NoCompletion("answered what is no chat completion")
    told = _Told(ends)
    told.hear(answer)
    return told.completion()


async def streamed(response: httpx.Response, ends: Ends | None = None) -> Completion:
    """That of a stream, read until it ends, or until more follows the end that `ends` finds in the text so far: then
    the caller is to close the response, which is how a server learns that nobody listens.

    Raises `NoCompletion`, also for a stream that breaks off, and what httpx does.
    """
    told, events = _Told(ends), _events(response)
    while not told.exceeds:
        if told.end is None:
            data = await anext(events, None)
        else:
            data = None
            with suppress(asyncio.TimeoutError):
                data = await asyncio.wait_for(anext(events, None), _GRACE)
        if data is None or data == "[DONE]":
            break
        told.hear(_read(data.encode()))
    if told.end is None and told.finish is None:
        raise NoCompletion("broke off amid its answer")
    return told.completion()


class _Told:
    """A message while it is told."""

    def __init__(self, ends: Ends | None) -> None:
        self._ends = ends or _never
        self._tokens = _Tokens()
        self.text = self.thought = ""
        self.finish: str | None = None
        self.end: int | None = None  # of the message in the text

    @property
    def exceeds(self) -> bool:
        """Whether the server goes on after the message."""
        return self.end is not None and bool(self.text[self.end :].strip())

    def hear(self, part: _Answer) -> None:
        if part.usage is not None:  # the newest counts everything so far
            self._tokens = part.usage
        if part.choices:
            choice = part.choices[0]
            self.finish = choice.finish_reason or self.finish
            self._add(choice.message)
            self._add(choice.delta)

    def _add(self, said: _Said) -> None:
        self.thought += said.thought
        self.text += said.content or ""
        if len(self.text) + len(self.thought) > _MOST:
            raise NoCompletion(f"said more than {_MOST} characters")
        if said.content and self.end is None:
            self.end = self._ends(self.text)

    def completion(self) -> Completion:
        spent = self._tokens
        return Completion(
            self.text[: self.end], self.thought, self.finish, spent.prompt_tokens or 0, spent.completion_tokens or 0
        )


async def _events(response: httpx.Response) -> AsyncIterator[str]:
    """The data of each event; names, comments and blank lines mean nothing here."""
    async for line in response.aiter_lines():
        if line.startswith("data:"):
            yield line[5:].strip()


def _read(data: bytes) -> _Answer:
    try:
        answer = _Answer.model_validate_json(data)
    except ValidationError:
        raise NoCompletion("answered what is no chat completion") from None  # it would quote the whole answer
    if answer.error is not None and not answer.choices:
        raise NoCompletion(f"failed amid its answer: {json.dumps(answer.error, ensure_ascii=False)[:200]}")
    return answer


def _never(text: str) -> int | None:
    return None
