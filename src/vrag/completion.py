"""One chat completion by OpenAI's own client, whole or as it is streamed.

The client asks, reads the events and says what failed. It asks once: `vrag.chat` counts the attempts and waits between
them. It never has the key, which `vrag.http.Server` puts into the request. Its types are left out: they check nothing,
so that what is read here is checked anyway, and take 90 us for each token of a stream.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import anyio
from openai import APIConnectionError, APIError, APIStatusError, AsyncOpenAI, AsyncStream
from openai.resources.chat.completions import AsyncCompletions

from vrag.http import Patience, Refused, Server, Unusable

Ends = Callable[[str], int | None]
Json = dict[str, Any]
T = TypeVar("T")

_MOST = 1 << 20  # characters of a message
_GRACE = 2.0  # s that a server may take, after the message is whole, to say what it cost


@dataclass(frozen=True)
class Completion:
    """A message, why the server ended it (None: it doesn't say, or didn't), and its tokens as that counts them (0 where
    it doesn't). `thought` is what a server that knows thinking models takes out of the text.
    """

    text: str
    thought: str
    finish: str | None
    prompt_tokens: int
    completion_tokens: int


class Endpoint:
    """A model on a server, in one event loop. Holds no connection between requests. `places`: for one each."""

    def __init__(self, server: Server, model: str, patience: Patience, places: int) -> None:
        self._server, self._model, self.places = server, model, asyncio.Semaphore(places)
        self._client = AsyncOpenAI(
            api_key="none",  # else it looks into the environment, where another server's may be
            base_url=server.url,
            timeout=cast(Any, patience.timeouts()),
            max_retries=0,
            # openai 3 takes httpx's too, but its types know httpx2's alone
            http_client=cast(Any, server.connect(keep_alive=False)),
        )
        self._completions: AsyncCompletions = self._client.chat.completions

    async def ask(self, messages: list[Json], fields: Json, ends: Ends | None = None) -> Completion:
        """The next message; `fields` are the others of the request. What is streamed is read until more follows the end
        that `ends` finds in the text so far: then the connection is closed, which is how a server learns that nobody
        listens.

        Raises `Refused`; `Unusable` for no answer, for one that is none and for one that breaks off; and what httpx
        does.
        """
        try:
            return await self._heard(_Told(ends), messages, fields)
        except APIStatusError as failure:
            raise Refused(self._server, cast(Any, failure.response)) from None
        except APIConnectionError as failure:
            cause = failure.__cause__
            raise Unusable(f"{self._server}: {type(cause).__name__}: {cause}") from cause
        except (APIError, _NoCompletion) as failure:
            said = _failed(failure.body) if isinstance(failure, APIError) else str(failure)
            raise Unusable(f"{self._server} ({self._model}): {self._server.shown(said)}") from None

    async def _heard(self, told: _Told, messages: list[Json], fields: Json) -> Completion:
        create = self._completions.with_streaming_response.create
        # as `messages` they would be looked through for a millisecond or two, and changed in nothing
        body = {"messages": messages, **fields}
        async with create(model=self._model, messages=[], extra_body=body) as response:
            # some servers don't stream, whatever they are asked
            if response.headers.get("Content-Type", "").startswith("text/event-stream"):
                raw = cast(Any, response.http_response)
                await told.listen(AsyncStream(cast_to=object, response=raw, client=self._client))
            elif not told.hear(await _parsed(response.json())):
                raise _NoCompletion
        return told.completion()


class _NoCompletion(Exception):
    """An answer that is none, or was cut; says what it is."""

    def __init__(self, what: str = "answered what is no chat completion") -> None:
        super().__init__(what)


class _Told:
    """A message while it is told."""

    def __init__(self, ends: Ends | None) -> None:
        self._ends = ends
        self._prompt_tokens = self._completion_tokens = 0
        self.text = self.thought = ""
        self.finish: str | None = None
        self.end: int | None = None  # of the message in the text

    async def listen(self, parts: AsyncStream[object]) -> None:
        """To a stream, until it ends or goes on after the message."""
        while not (self.end is not None and self.text[self.end :].strip()):
            whole = self.end is not None or self.finish is not None
            part = None
            with anyio.move_on_after(_GRACE if whole else None):
                part = await _parsed(anext(parts, None))
            if part is None and not whole:
                raise _NoCompletion("broke off amid its answer")
            if part is None:
                break
            self.hear(part)

    def hear(self, part: object) -> bool:
        """A part, or a whole completion. Returns whether there is a choice in it, if an empty one."""
        choices, error = _of(part, "choices", list) or [], _of(part, "error", object)
        if error and not choices:
            raise _NoCompletion(_failed(error))
        spent = _of(part, "usage", dict)
        if spent is not None:  # the newest counts everything so far
            self._prompt_tokens, self._completion_tokens = _count(spent, "prompt"), _count(spent, "completion")
        if choices:
            self._add(choices[0])
        return bool(choices)

    def _add(self, choice: object) -> None:
        self.finish = _of(choice, "finish_reason", str) or self.finish
        said = _of(choice, "delta", dict) or _of(choice, "message", dict) or {}
        text = _of(said, "content", str) or ""
        thought = said.get("reasoning_content") or said.get("reasoning")  # servers call it by either name
        self.thought += thought if isinstance(thought, str) else ""
        self.text += text
        if len(self.text) + len(self.thought) > _MOST:
            raise _NoCompletion(f"said more than {_MOST} characters")
        if text and self.end is None and self._ends is not None:
            self.end = self._ends(self.text)

    def completion(self) -> Completion:
        text, thought, finish = self.text[: self.end], self.thought, self.finish
        try:
            f"{text}{thought}{finish}".encode()
        except UnicodeEncodeError:  # half a character, which JSON can name and no file can hold
            raise _NoCompletion from None
        return Completion(text, thought, finish, self._prompt_tokens, self._completion_tokens)


async def _parsed(answer: Awaitable[T]) -> T:
    try:
        return await answer
    except (ValueError, RecursionError):  # no JSON, or no text
        raise _NoCompletion from None


def _of(thing: object, field: str, kind: type[T]) -> T | None:
    """A field that may be absent or null. Raises `_NoCompletion` where it is of another kind, or nothing has fields."""
    if not isinstance(thing, dict):
        raise _NoCompletion
    value = cast(Json, thing).get(field)
    if value is None or isinstance(value, kind):
        return value
    raise _NoCompletion


def _count(spent: Json, of: str) -> int:
    count = spent.get(f"{of}_tokens")
    return count if isinstance(count, int) and count > 0 else 0


def _failed(error: object) -> str:
    said = json.dumps(error, ensure_ascii=False).encode(errors="replace").decode()
    return f"failed amid its answer: {said}"
