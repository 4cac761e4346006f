"""Which servers answer, and what they say of themselves. One short request each, all at once."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vrag.errors import InfrastructureError, UsageError
from vrag.types import Frozen

if TYPE_CHECKING:
    import httpx

SECONDS = 3.0  # that a server may take to say that it is there


class Endpoint(Frozen):
    """`said`: what it says of itself, or why it can't be used."""

    what: str
    url: str
    reached: bool
    said: str
    milliseconds: int


@dataclass(frozen=True)
class Ask:
    """A request that costs a server nothing, and what its answer means; the key is that of an environment variable."""

    what: str
    url: str
    path: str
    key: str
    meaning: Callable[[Any], str]


def chat(what: str, url: str, model: str | None, key: str) -> Ask:
    """A model server of OpenAI's protocol; without its `model`, just whether it is there."""
    return Ask(what, url, "/models", key, lambda answer: _models(answer, model))


def encoder(url: str) -> Ask:
    return Ask(
        "encoder server",
        url,
        "/v1/encoder",
        "VRAG_ENCODER_TOKEN",
        lambda said: f"{said['name']}, {said['dim']} dimensions",
    )


def search(url: str) -> Ask:
    return Ask("search server", url, "/health", "VRAG_TOKEN", lambda said: f"{said['status']}, {said['pages']} pages")


def qdrant(url: str) -> Ask:
    return Ask("Qdrant", url, "/collections", "VRAG_QDRANT_API_KEY", _collections)


def ask_all(asks: Sequence[Ask], transport: httpx.AsyncBaseTransport | None = None) -> list[Endpoint]:
    """In the order of `asks`; what fails is an `Endpoint` too. Raises `UsageError` for a bad URL, and without httpx."""
    if not asks:
        return []

    async def together() -> list[Endpoint]:
        return list(await asyncio.gather(*(_ask(one, transport) for one in asks)))

    return asyncio.run(together())


async def _ask(ask: Ask, transport: httpx.AsyncBaseTransport | None) -> Endpoint:
    try:
        from vrag.http import Patience, Server
    except ModuleNotFoundError as failure:
        raise UsageError(f"asking the {ask.what} needs {failure.name}: pip install 'vrag[remote]'") from failure
    key = os.environ.get(ask.key, "").strip() or None
    hint = f"put the key into the environment variable {ask.key}"
    server = Server(ask.what, ask.url, key, transport, {401: hint, 403: hint, 404: f"is this the URL of {ask.what}?"})
    began, reached = time.perf_counter(), True
    try:
        async with server.connect() as client:
            patience = Patience(timeout=SECONDS, total=SECONDS, attempts=1)
            response = await server.ask(client, "GET", ask.path, patience)
        said = server.shown(ask.meaning(json.loads(response.content)))
    except InfrastructureError as failure:
        reached, said = False, str(failure).removeprefix(f"{server}: ")
    except (ValueError, KeyError, TypeError, AttributeError):
        reached, said = False, f"answered what a {ask.what} doesn't: is this its URL?"
    milliseconds = round(1000 * (time.perf_counter() - began))
    return Endpoint(what=ask.what, url=ask.url, reached=reached, said=_plain(said), milliseconds=milliseconds)


def _models(answer: Any, model: str | None) -> str:
    names = [str(one["id"]) for one in answer["data"]]
    if model is None or model in names:
        return model or (", ".join(names) or "no models listed")
    return f"doesn't list {model}, but {', '.join(names) or 'nothing'}"  # some load what they don't list


def _collections(answer: Any) -> str:
    return f"{len(answer['result']['collections'])} collections"


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", "".join(char if char.isprintable() or char.isspace() else "\ufffd" for char in text))
