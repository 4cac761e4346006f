"""Many clients at once, while pages are added: FAULTS 14; and clients that leave: FAULTS 15."""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter
from concurrent.futures import as_completed
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import httpx
import psutil
import pytest

from tests.papers import write_pdf
from tests.serving import Gate, Running, in_threads, serving
from vrag.corpus.ingest import IngestOptions, ingest
from vrag.corpus.store import Corpus
from vrag.servers.limits import Limits

OLD = ["amber", "basalt", "cobalt", "dune", "ember"]  # words of the pages that are there from the beginning
QUEUE = 6


@dataclass
class Seen:
    """What the clients saw: `admitted` queries at each look at the metrics."""

    statuses: Counter[int] = field(default_factory=Counter)
    versions: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    admitted: list[float] = field(default_factory=list)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five pages of one length; each word stands on all of them, on each another number of times, so that their order
    for a word doesn't depend on what else there is.
    """
    pages = [[" ".join([word] * (1 + (page + place) % 5)) for place, word in enumerate(OLD)] for page in range(5)]
    with Corpus.create(tmp_path / "corpus") as corpus:
        ingest([write_pdf(tmp_path / "old.pdf", pages)], corpus, IngestOptions(workers=1, ocr="off"))
    return tmp_path / "corpus"


def add_until(ends: float, folder: Path, tmp_path: Path) -> int:
    """Adds documents of other words, one after the other; returns how many."""
    number = 0
    with Corpus.open(folder) as corpus:
        while time.monotonic() < ends:
            number += 1
            late = write_pdf(tmp_path / f"late/{number}.pdf", [f"late kelp {number}", "late larch"])
            ingest([late], corpus, IngestOptions(workers=1, ocr="off"))
    return number


async def ask_until(ends: float, url: str, queries: list[str], alone: list[list[str]], seen: Seen) -> None:
    """One client: the same question again and again, whose pages have to stay the same. Goes on, however busy the
    machine is, until it was answered twice.
    """
    answered = 0
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as client:
        while time.monotonic() < ends or answered < 2:
            answer = await client.post("/v1/search", json={"queries": queries, "k": 5})
            seen.statuses[answer.status_code] += 1
            if answer.status_code == 200:
                answered += 1
                seen.versions.add(answer.json()["index_version"])
                found = [[page["page_id"] for page in hits] for hits in answer.json()["results"]]
                if found != alone:
                    seen.wrong.append(f"{queries}: {found}, alone {alone}")
            elif not answer.headers.get("Retry-After", "").isdigit():
                seen.wrong.append(f"{answer.status_code} {answer.text}")


async def watch_until(ends: float, url: str, seen: Seen) -> None:
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as client:
        while time.monotonic() < ends:
            lines = (await client.get("/metrics")).text.splitlines()
            seen.admitted += [float(line.split()[1]) for line in lines if line.startswith("vrag_admitted_queries ")]


def test_answers_under_load_while_pages_are_added_are_those_of_a_quiet_server(folder: Path, tmp_path: Path, full: bool):
    clients, seconds = (64, 300.0) if full else (8, 2.0)
    questions = [[OLD[n % 5], OLD[(n + 2) % 5]] for n in range(clients)]
    with serving(folder, limits=Limits(queue=QUEUE, batch=4), poll=0.05) as server:
        alone = [server.search(*queries, k=5) for queries in questions]
        assert all(len(hits) == 5 for found in alone for hits in found)
        seen, ends = Seen(), time.monotonic() + seconds

        async def load() -> int:
            asking = (
                ask_until(ends, server.url, queries, found, seen)
                for queries, found in zip(questions, alone, strict=True)
            )
            adding = asyncio.to_thread(add_until, ends, folder, tmp_path)
            return (await asyncio.gather(adding, watch_until(ends, server.url, seen), *asking))[0]

        added = asyncio.run(load())
        assert seen.wrong == []
        assert set(seen.statuses) <= {200, 429} and seen.statuses[200] > clients
        assert seen.versions == {server.client.get("/health").json()["index_version"]}
        assert added > 0 and len(server.search("late", k=1000)[0]) == min(1000, 2 * added)
        assert seen.admitted and max(seen.admitted) <= QUEUE
        assert server.metric("vrag_admitted_queries") == server.metric("vrag_queue_queries") == 0


def test_an_overload_is_refused_at_once_and_what_was_admitted_is_answered(
    folder: Path, full: bool, monkeypatch: pytest.MonkeyPatch
):
    clients = 64 if full else 16
    with serving(folder, limits=Limits(queue=QUEUE, batch=2)) as server:
        alone = server.search("amber", k=5)
        gate = Gate(monkeypatch, Corpus, "search")
        asked = in_threads(clients, lambda _: server.client.post("/v1/search", json={"queries": ["amber"], "k": 5}))
        refused = [one.result() for one in islice(as_completed(asked, timeout=10), clients - QUEUE)]
        assert {answer.status_code for answer in refused} == {429}
        assert all(answer.headers["Retry-After"] == "1" for answer in refused)
        assert len(gate.calls) <= 2  # the rest waits
        gate.open()
        answers = [one.result(10) for one in asked]
        answered = [answer.json()["results"] for answer in answers if answer.status_code == 200]
        assert len(answered) == QUEUE
        assert {page["page_id"] for hits in answered for page in hits[0]} == set(alone[0])


def test_clients_that_leave_leak_no_slot_no_task_and_no_file(folder: Path, full: bool, monkeypatch: pytest.MonkeyPatch):
    wave, waves = 10, 100 if full else 5
    with serving(folder, limits=Limits(queue=wave, batch=2)) as server:
        server.search("amber")
        gate = Gate(monkeypatch, Corpus, "search")
        tasks = server.call(count_tasks())
        files = psutil.Process().num_fds()
        for _ in range(waves):
            leave(server, wave)
        server.until(lambda: server.call(count_tasks()) == tasks)
        server.until(lambda: psutil.Process().num_fds() <= files + 2)  # of threads that are held at the gate
        gate.open()
        assert server.search("amber")[0]


def leave(server: Running, count: int) -> None:
    address = server.client.base_url.host, server.client.base_url.port or 0
    with ExitStack() as held:
        for _ in range(count):
            connection = held.enter_context(socket.create_connection(address))
            connection.sendall(b"GET /v1/search?q=amber HTTP/1.1\r\nHost: localhost\r\n\r\n")
        server.until(lambda: server.metric("vrag_admitted_queries") == count)
    server.until(lambda: server.metric("vrag_admitted_queries") == 0)


async def count_tasks() -> int:
    return len(asyncio.all_tasks())
