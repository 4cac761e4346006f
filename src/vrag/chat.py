"""A model behind an OpenAI-compatible chat endpoint: vLLM, SGLang, Ollama, a provider's.

Messages are vrag's own, with images as data URLs; OpenAI's client asks (`vrag.completion`). Failures that may pass are
waited out as `vrag.http` says, and so is an answer that the caller objects to: the model is told what was wrong with
it. The key is in no message, setting or log.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any

from pydantic import Field

from vrag.errors import InfrastructureError, UsageError
from vrag.types import Frozen, ImagePart, Message, Sampling, Usage

if TYPE_CHECKING:
    import httpx

    from vrag.completion import Completion, Endpoint, Ends

Json = dict[str, Any]
Objection = Callable[[str], str | None]

_PASSING = frozenset({408, 409, 429, *range(500, 600)})  # 500 too: a model server's worker may have died
_BROKEN_OFF = frozenset({"abort", "error", "content_filter"})  # by the server; what the model would say isn't known
_SHOWN = 120  # characters of an answer in a message


class ChatSettings(Frozen):
    """Which model, and how to ask it. What changes no answer (where it is, how patiently it is asked) is no part of a
    run's configuration, so that a run goes on when its server has moved.
    """

    url: str = Field(exclude=True)  # up to what comes before /chat/completions: http://127.0.0.1:8000/v1
    model: str = Field(min_length=1)
    key_variable: str = Field(default="VRAG_CHAT_KEY", exclude=True)  # the environment variable that holds the key
    timeout: float = Field(default=60.0, gt=0, exclude=True)  # seconds without a sign of an answer, of one attempt
    total: float = Field(default=180.0, gt=0, exclude=True)  # seconds for all attempts and the pauses between them
    attempts: int = Field(default=3, ge=1, le=20, exclude=True)
    parallel: int = Field(default=16, ge=1, le=1024, exclude=True)  # requests under way at once
    extra: dict[str, Any] = Field(default_factory=lambda: {})  # more fields of the request, or other values
    # fields that the server doesn't take: temperature, max_tokens, seed, stop, stream, stream_options
    omit: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reply:
    """What the model said, why it ended ("stop", "length", or the server's word), and the usage of all attempts.
    `thought`: what it thought before, where the server tells the two apart.
    """

    text: str
    finish: str
    usage: Usage
    thought: str = ""


class NoReply(InfrastructureError):
    """There is no answer, or none that can be used. `usage`: what was spent nevertheless. `objected`: the last attempt
    had an answer, to which the caller objected: the model's fault, not that of what lies between.
    """

    def __init__(self, message: str, usage: Usage, objected: bool = False) -> None:
        super().__init__(message)
        self.usage, self.objected = usage, objected


class Chat:
    """A chat endpoint. Usable from any number of event loops, at most `parallel` requests at once in each; holds no
    connection between calls.
    """

    def __init__(
        self,
        settings: ChatSettings,
        *,
        what: str = "chat server",
        key: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`what` begins the errors. The `key` is by default that of the environment variable `key_variable`.
        `transport` replaces the network in tests. Raises `UsageError` for a bad URL, and for a key that is none.
        """
        try:
            from vrag.completion import Endpoint
            from vrag.http import Patience, Server
        except ModuleNotFoundError as failure:
            if failure.name not in ("httpx", "openai", "stamina"):
                raise
            raise UsageError(f"a {what} needs {failure.name}: pip install 'vrag[remote]'") from failure
        self.settings = settings
        self._server = Server(what, settings.url, key or _key(settings), transport, _hints(settings))
        # who asks also draws pages: while 64 episodes do, connecting may seem to take longer than it does
        self._patience = Patience(
            settings.timeout, settings.total, settings.attempts, 10.0, _PASSING, connect=settings.timeout
        )
        self._new = partial(Endpoint, self._server, settings.model, self._patience, settings.parallel)
        self._endpoints: dict[asyncio.AbstractEventLoop, Endpoint] = {}

    def __str__(self) -> str:
        return f"{self._server} ({self.settings.model})"

    async def ask(
        self,
        messages: Sequence[Message],
        sampling: Sampling | None = None,
        objection: Objection | None = None,
        stop: Sequence[str] = (),
        ends: Ends | None = None,
    ) -> Reply:
        """The model's next message. `objection` says what is wrong with one, or None: the model is then told and asked
        again, within the same attempts. The message ends before any of `stop` (OpenAI takes four at most). With `ends`
        it is read as it is said, up to where that finds its end; a server that goes on is told by closing the
        connection, as it is when the caller is cancelled. Raises `NoReply` naming the server, when all attempts failed.
        """
        sampling = sampling or Sampling(temperature=0.0)
        talk = _Talk(self.settings, await _wire(messages), sampling, objection, stop, streams=ends is not None)
        endpoint = self._endpoint()

        async def attempt() -> Reply:
            answer = await endpoint.ask(talk.messages(), talk.begun(), ends)
            return talk.heard(answer, str(self), self._server.masked)

        async with endpoint.places:
            try:
                reply = await self._server.patiently(self._patience, attempt)
            except InfrastructureError as failure:
                raise NoReply(str(failure), talk.usage(), talk.objected) from failure
        return replace(reply, usage=talk.usage())

    def _endpoint(self) -> Endpoint:
        """That of the running event loop; those of loops that are over go."""
        loop = asyncio.get_running_loop()
        if loop not in self._endpoints:
            for over in [one for one in list(self._endpoints) if one.is_closed()]:
                self._endpoints.pop(over, None)
            self._endpoints[loop] = self._new()
        return self._endpoints[loop]


class _Talk:
    """One question to the model while it is asked: the messages as they are now, and what was spent."""

    def __init__(
        self,
        settings: ChatSettings,
        messages: list[Json],
        sampling: Sampling,
        objection: Objection | None,
        stop: Sequence[str],
        streams: bool,
    ) -> None:
        self._streams = streams and "stream" not in settings.omit
        self._settings, self._messages, self._sampling = settings, messages, sampling
        self._objection, self._stop = objection or _none, list(stop)
        self._correction: list[Json] = []
        self._calls = self._prompt_tokens = self._completion_tokens = 0
        self.objected = False

    def usage(self) -> Usage:
        return Usage(calls=self._calls, prompt_tokens=self._prompt_tokens, completion_tokens=self._completion_tokens)

    def messages(self) -> list[Json]:
        return self._messages + self._correction

    def begun(self) -> Json:
        """The other fields of one more request."""
        self._calls, self.objected = self._calls + 1, False
        fields: Json = {
            "temperature": self._sampling.temperature,
            "max_tokens": self._sampling.max_tokens,
            "seed": self._sampling.seed,
        }
        if self._stop:
            fields["stop"] = self._stop
        if self._streams:
            fields |= {"stream": True, "stream_options": {"include_usage": True}}
        return {k: v for k, v in fields.items() if k not in self._settings.omit} | self._settings.extra

    def heard(self, answer: Completion, who: str, masked: Callable[[str], str]) -> Reply:
        """The reply, `masked` where it repeats the key. Raises `Unusable` when the server broke it off, or for an
        objection to it.
        """
        from vrag.http import Unusable

        self._prompt_tokens += answer.prompt_tokens
        self._completion_tokens += answer.completion_tokens
        if answer.finish in _BROKEN_OFF:
            raise Unusable(f"{who}: broke its answer off (finish_reason {answer.finish!r})")
        text = masked(answer.text)
        wrong = self._objection(text)
        if wrong is not None:
            self.objected = True
            # only the last one: what the model said before it would only be there to be copied
            self._correction = [{"role": "assistant", "content": text}, {"role": "user", "content": wrong}]
            raise Unusable(f"{who}: said {text[:_SHOWN]!r}, which can't be used: {wrong}")
        return Reply(text, masked(answer.finish or "stop"), Usage(), masked(answer.thought))


def _none(text: str) -> None:
    """No objection."""


async def _wire(messages: Sequence[Message]) -> list[Json]:
    if any(isinstance(part, ImagePart) for message in messages for part in message.parts):
        return await asyncio.to_thread(lambda: [wire(message) for message in messages])  # compressing takes a while
    return [wire(message) for message in messages]


def wire(message: Message) -> Json:
    """A message as the endpoint takes it; one without images is a plain string, which every server knows."""
    texts = [part for part in message.parts if isinstance(part, str)]
    if len(texts) == len(message.parts):
        return {"role": message.role, "content": "".join(texts)}
    return {"role": message.role, "content": [_part(part) for part in message.parts]}


def _part(part: str | ImagePart) -> Json:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    file = BytesIO()
    part.image.save(file, "PNG", compress_level=1)
    url = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def _key(settings: ChatSettings) -> str | None:
    """The key from the environment. The messages don't repeat `key_variable`: it may be a key, put there by mistake."""
    name = settings.key_variable
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise UsageError("key_variable is the name of an environment variable that holds the key, not the key")
    key = os.environ.get(name, "").strip()
    if not key and "key_variable" in settings.model_fields_set:
        raise UsageError("the environment variable that key_variable names is not set")
    return key or None


def _hints(settings: ChatSettings) -> dict[int, str]:
    default = str(type(settings).model_fields["key_variable"].default)
    name = settings.key_variable if settings.key_variable in os.environ else default
    key = f"put a key that it takes into the environment variable {name}"
    return {
        400: "a field that it doesn't take is left out by omit, or given another value by extra",
        401: key,
        403: key,
        404: f"is this its base URL (mostly it ends in /v1), and does it have the model {settings.model}?",
    }
