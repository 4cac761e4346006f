"""Many questions at once while documents come in: FAULTS 14; and clients that leave: FAULTS 15."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.asking import agent_serving, ask, make_corpus, served, until_indexed
from tests.chats import Asked, ChatServer, chat_server
from tests.papers import WORDS, write_pdf
from tests.serving import Running
from vrag.servers.agent.limits import AgentLimits

EPISODES, WAITING = 2, 4
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pages = [[f"The {word} has number {100 + place}"] for place, word in enumerate(WORDS)]
    return make_corpus(tmp_path / "notes", {"words.pdf": pages})


@dataclass
class Seen:
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    admitted: list[float] = field(default_factory=list)


def told(events: list[dict[str, Any]]) -> list[Any]:
    """What has to be the same whenever a question is asked: the pages shown, and the answer."""
    pages = [event["page"]["page_id"] for event in events if event["type"] == "page"]
    answers = [(event["text"], event["evidence"]) for event in events if event["type"] == "answer"]
    return [pages, answers, events[-1]["reason"]]


async def ask_until(ends: float, url: str, question: str, alone: list[Any], seen: Seen) -> None:
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as client:
        while time.monotonic() < ends:
            answer = await client.post("/v1/corpora/notes/ask", json={"question": question})
            seen.statuses[answer.status_code] += 1
            if answer.status_code == 200:
                data = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
                if told([json.loads(one) for one in data]) != alone:
                    seen.wrong.append(answer.text)
            elif not answer.headers.get("Retry-After", "").isdigit():
                seen.wrong.append(f"{answer.status_code} {answer.text}")
            else:
                await asyncio.sleep(0)  # comes back at once: worse than a client that waits


async def watch_until(ends: float, url: str, seen: Seen) -> None:
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as client:
        while time.monotonic() < ends:
            lines = (await client.get("/metrics")).text.splitlines()
            seen.admitted += [float(line.split()[1]) for line in lines if line.startswith("vrag_episodes_admitted ")]


async def upload_until(ends: float, url: str, tmp_path: Path, seen: Seen) -> int:
    """Other documents, one after the other; how many."""
    number = 0
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as client:
        while number == 0 or time.monotonic() < ends:
            number += 1
            late = write_pdf(tmp_path / f"late{number}.pdf", [f"opal {number}"])
            parts = [("files", (late.name, late.read_bytes()))]
            answer = await client.post("/v1/corpora/notes/documents", files=parts)
            seen.statuses[answer.status_code] += 1
            while (await client.get("/v1/corpora/notes")).json()["indexing"]["state"] != "idle":
                pass
    return number


def test_answers_under_load_while_documents_come_in_are_those_of_a_quiet_server(
    folder: Path, tmp_path: Path, full: bool
):
    clients, seconds = (64, 300.0) if full else (8, 2.0)
    limits = AgentLimits(episodes=EPISODES, waiting=WAITING)
    questions = [f"Which number has the {WORDS[n % len(WORDS)]}?" for n in range(clients)]
    with agent_serving(limits=limits, chosen={"notes": folder}) as server:
        alone = {question: told(ask(server, question)) for question in questions}
        assert all(answers for _, answers, _ in alone.values())
        seen, ends = Seen(), time.monotonic() + seconds

        async def load() -> int:
            asking = (ask_until(ends, server.url, question, alone[question], seen) for question in questions)
            adding = upload_until(ends, server.url, tmp_path, seen)
            return (await asyncio.gather(adding, watch_until(ends, server.url, seen), *asking))[0]

        added = asyncio.run(load())
        assert seen.wrong == []
        assert set(seen.statuses) <= {200, 202, 429} and seen.statuses[200] >= EPISODES
        assert added == seen.statuses[202] and until_indexed(server)["pages"] == len(WORDS) + added
        assert seen.admitted and max(seen.admitted) <= EPISODES + WAITING
        server.until(lambda: server.metric("vrag_episodes_admitted") == 0)


# ------------------------------------------------------------------------------------ a slow model


@dataclass
class Upstream:
    """A model server that never answers, and notices when it is left."""

    server: ChatServer
    left: list[float] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, asked: Asked) -> None:
        asked.connection.settimeout(60)
        assert asked.connection.recv(1) == b""
        with self.lock:
            self.left.append(time.monotonic())


@pytest.fixture
def upstream() -> Generator[Upstream]:
    with chat_server(lambda asked: found.answer(asked)) as server:
        found = Upstream(server)
        yield found


def test_what_no_place_is_left_for_is_refused_at_once_and_health_answers(folder: Path, upstream: Upstream):
    limits = AgentLimits(episodes=1, waiting=1)
    policies = {"vlm": served(upstream.server.url)}
    with agent_serving(limits=limits, chosen={"notes": folder}, policies=policies) as server, ExitStack() as held:
        for _ in range(2):
            held.enter_context(begun(server, b"/v1/corpora/notes/ask", {"question": "amber?"}))
        server.until(lambda: len(upstream.server.asked) == 1)
        asked: list[tuple[str, Any]] = [
            ("/v1/corpora/notes/ask", {"question": "amber?"}),
            ("/v1/chat/completions", {"model": "notes", "messages": [{"role": "user", "content": "amber?"}]}),
        ]
        refused = [server.client.post(path, json=body) for path, body in asked]
        assert {(one.status_code, one.headers["Retry-After"]) for one in refused} == {(429, "5")}
        assert refused[1].json()["error"]["type"] == "rate_limit_error"
        assert server.client.get("/health").json()["episodes"] == 2
        assert len(upstream.server.asked) == 1, "the second waits"


@pytest.mark.parametrize("form", ["ask", "stream", "completion"])
def test_a_client_that_leaves_ends_its_episode_and_what_that_asked_and_nothing_leaks(
    form: str, folder: Path, upstream: Upstream, full: bool
):
    wave, waves = 10, 34 if full else 2
    limits = AgentLimits(episodes=wave, waiting=0)
    message = {"model": "notes", "messages": [{"role": "user", "content": "amber?"}], "stream": form == "stream"}
    target, body = (
        (b"/v1/corpora/notes/ask", {"question": "amber?"}) if form == "ask" else (b"/v1/chat/completions", message)
    )
    with agent_serving(
        limits=limits, chosen={"notes": folder}, policies={"vlm": served(upstream.server.url)}
    ) as server:
        leave(server, upstream, 1, target, body)  # opens what is opened once and for all
        tasks, files = server.call(count_tasks()), psutil.Process().num_fds()
        for _ in range(waves):
            ended = leave(server, upstream, wave, target, body)
            assert max(upstream.left[-wave:]) - ended <= 2.0
        server.until(lambda: server.call(count_tasks()) <= tasks)
        server.until(lambda: psutil.Process().num_fds() <= files)
        assert server.metric("vrag_episodes_total") == 1 + wave * waves
        assert len(server.service.asking.under_way) == 0


def begun(server: Running, target: bytes, body: dict[str, Any]) -> socket.socket:
    address = server.client.base_url.host, server.client.base_url.port or 0
    connection = socket.create_connection(address)
    content = json.dumps(body).encode()
    head = b"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(content)
    connection.sendall(b"POST " + target + b" HTTP/1.1\r\n" + head + content)
    return connection


def leave(server: Running, upstream: Upstream, count: int, target: bytes, body: dict[str, Any]) -> float:
    """So many clients come, are being answered, and go; when that was."""
    before = len(upstream.server.asked), len(upstream.left)
    with ExitStack() as held:
        for _ in range(count):
            held.enter_context(begun(server, target, body))
        server.until(lambda: len(upstream.server.asked) == before[0] + count)
    ended = time.monotonic()
    server.until(lambda: len(upstream.left) == before[1] + count)
    server.until(lambda: server.metric("vrag_episodes_admitted") == 0)
    return ended


async def count_tasks() -> int:
    return len(asyncio.all_tasks())
