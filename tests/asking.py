"""The agent server on a free port, in a thread of the test, over the corpora of the test's home."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.papers import write_pdf
from tests.serving import NEVER, Running, started
from vrag.app.web import is_public, web_router
from vrag.corpus.ingest import ingest
from vrag.corpus.options import IngestOptions
from vrag.corpus.store import Corpus
from vrag.environment import EnvironmentConfig
from vrag.kernels import KernelChoice
from vrag.policies.scripted import ScriptedPolicy
from vrag.policies.served import ServedPolicy, ServedSettings, served_environment
from vrag.policies.speaker import Speaker, SpeakerOf, load_speaker
from vrag.servers.agent.app import create_app
from vrag.servers.agent.limits import AgentLimits
from vrag.servers.agent.service import AgentService
from vrag.servers.agent.shelf import Shelf
from vrag.servers.agent.trajectories import router as runs_router
from vrag.servers.engine import Engine

MANUAL = [["An introduction to the daemon"], ["The daemon listens on port 873", "unless told otherwise"]]
OPTIONS = IngestOptions(workers=1, ocr="off")


def make_corpus(folder: Path, documents: Mapping[str, Sequence[Sequence[str]]] | None = None) -> Path:
    """A corpus of PDFs, by default of one manual, which lie beside it."""
    for document, pages in (documents or {"manual.pdf": MANUAL}).items():
        write_pdf(folder.parent / "documents" / document, pages)
    with Corpus.create(folder) as corpus:
        ingest([folder.parent / "documents"], corpus, OPTIONS)
    return folder


def scripted(*texts: str) -> SpeakerOf:
    """A policy that says this in every episode."""
    return lambda _: Speaker("scripted", ScriptedPolicy(texts), None, EnvironmentConfig())


def served(url: str, **settings: Any) -> SpeakerOf:
    """The model of a chat server."""
    chosen = ServedSettings.model_validate({"url": url, "model": "qwen2.5-vl", "attempts": 1} | settings)
    return lambda _: Speaker("qwen2.5-vl", ServedPolicy(chosen), None, served_environment(chosen))


def agent_service(
    policies: dict[str, SpeakerOf] | None = None,
    limits: AgentLimits | None = None,
    chosen: dict[str, Path] | None = None,
    *,
    options: IngestOptions = OPTIONS,
    **more: Any,
) -> AgentService:
    shelf = Shelf(lambda folder: Engine(folder, kernel=KernelChoice("numpy")), chosen)
    named = policies or {"extractive": load_speaker("extractive")}
    return AgentService(shelf, named, limits or AgentLimits(), options, poll=NEVER, **more)


@contextmanager
def agent_serving(*, token: str | None = None, host: str = "127.0.0.1", **more: Any) -> Generator[Running]:
    with started(create_app(agent_service(**more), token), host) as running:
        yield running


@contextmanager
def app_serving(*, token: str | None = None, **more: Any) -> Generator[Running]:
    """The same with the app in front of it."""
    with started(create_app(agent_service(**more), token, [web_router(), runs_router], is_public)) as running:
        yield running


def events_of(answer: httpx.Response) -> list[dict[str, Any]]:
    """The events of a stream that has ended; each is named by its type."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    found: list[dict[str, Any]] = []
    for block in answer.text.split("\n\n"):
        lines = [line for line in block.split("\n") if not line.startswith(":")]
        if lines and lines[0]:
            name, data = (line.partition(": ")[2] for line in lines)
            found.append(json.loads(data))
            assert found[-1]["type"] == name
    return found


def ask(server: Running, question: str, corpus: str = "notes", **more: Any) -> list[dict[str, Any]]:
    return events_of(server.client.post(f"/v1/corpora/{corpus}/ask", json={"question": question, **more}))


def until_indexed(server: Running, corpus: str = "notes", runs: int = 1) -> dict[str, Any]:
    """What the corpus holds after so many runs of indexing."""
    seen: dict[str, Any] = {}

    def done() -> bool:
        seen.update(server.client.get(f"/v1/corpora/{corpus}").json())
        return seen["indexing"]["state"] in ("idle", "failed") and seen["indexing"]["runs"] >= runs

    server.until(done)
    return seen
