"""How soon the agent server answers alone, and what it does when many ask at once.

    python benchmarks/agent_server/run.py CORPUS [--tasks FILE] [--clients 64] [--seconds 300] [--policy extractive]

Starts `vrag serve agent` over CORPUS (a name or a path). First each question of the tasks is asked `--rounds` times,
one after the other; then `--clients` clients ask them for `--seconds`, each waiting as long as a 429 tells it to.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import psutil

TASKS = Path(__file__).parents[1] / "real_pdfs" / "tasks.jsonl"
STEPS = {"thought": "first thought", "found": "pages found", "answer": "answer"}


@dataclass
class Tally:
    """`seconds` by event, from the request to its first event of that kind."""

    statuses: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in STEPS})

    def said(self) -> str:
        rows = [f"{STEPS[name]} {_spread(times)}" for name, times in self.seconds.items() if times]
        return "; ".join(rows) or "no answer"


async def ask(client: httpx.AsyncClient, path: str, question: str, tally: Tally) -> float:
    """One question to its end; returns for how many seconds to wait before the next."""
    began, seen = time.perf_counter(), set[str]()
    try:
        async with client.stream("POST", path, json={"question": question}) as answer:
            if answer.status_code != 200:
                tally.statuses[str(answer.status_code)] += 1
                return float(answer.headers.get("Retry-After", 0))
            async for line in answer.aiter_lines():
                name = line.removeprefix("event: ") if line.startswith("event: ") else ""
                if name in STEPS and name not in seen:
                    seen.add(name)
                    tally.seconds[name].append(time.perf_counter() - began)
        tally.statuses["answered" if "answer" in seen else "ended without an answer"] += 1
    except httpx.HTTPError as error:
        tally.statuses[type(error).__name__] += 1
    return 0.0


async def alone(url: str, path: str, questions: list[str], rounds: int) -> Tally:
    tally = Tally()
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=120) as client:
        for question in questions * rounds:
            await ask(client, path, question, tally)
    return tally


async def crowd(url: str, path: str, questions: list[str], clients: int, seconds: float) -> Tally:
    tally, ends = Tally(), time.monotonic() + seconds

    async def one(number: int) -> None:
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=120) as client:
            while time.monotonic() < ends:
                wait = await ask(client, path, questions[number % len(questions)], tally)
                await asyncio.sleep(min(wait, max(0.0, ends - time.monotonic())))

    await asyncio.gather(*(one(number) for number in range(clients)))
    return tally


async def measure(options: argparse.Namespace, url: str, server: psutil.Process) -> None:
    questions = [json.loads(line)["question"] for line in options.tasks.read_text("utf-8").splitlines()]
    name = httpx.get(f"{url}/v1/corpora", trust_env=False).json()["corpora"][0]
    path = f"/v1/corpora/{name}/ask"
    await alone(url, path, questions[:3], 1)  # what is loaded at the first question
    single = await alone(url, path, questions, options.rounds)
    print(f"alone ({len(questions)} questions, {options.rounds} times): {single.said()}; {dict(single.statuses)}")
    held, peak, done = _memory(server), 0, asyncio.Event()

    async def watch() -> None:
        nonlocal peak
        while not done.is_set():
            peak = max(peak, _memory(server))
            await asyncio.sleep(0.5)

    watching = asyncio.create_task(watch())
    many = await crowd(url, path, questions, options.clients, options.seconds)
    done.set()
    await watching
    print(f"{options.clients} clients for {options.seconds:g} s: {many.said()}; {dict(many.statuses)}")
    print(f"memory of the server: {held >> 20} MB before, at most {peak >> 20} MB meanwhile")


def _memory(server: psutil.Process) -> int:
    return server.memory_info().rss + sum(child.memory_info().rss for child in server.children(recursive=True))


def _spread(times: list[float]) -> str:
    middle, late, last = np.percentile(times, [50, 95, 100])
    return f"{middle:.2f} s (95 % within {late:.2f}, all within {last:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("--tasks", type=Path, default=TASKS)
    parser.add_argument("--policy", default="extractive")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=300.0)
    options = parser.parse_args()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "vrag", "serve", "agent", "--corpus", options.corpus, "--policy", options.policy]
    server = subprocess.Popen([*command, "--port", str(port), "--read-only"])
    url = f"http://127.0.0.1:{port}"
    try:
        _until_healthy(url, server)
        asyncio.run(measure(options, url, psutil.Process(server.pid)))
    finally:
        server.terminate()
        server.wait()


def _until_healthy(url: str, server: subprocess.Popen[bytes]) -> None:
    while not _healthy(url):
        if server.poll() is not None:
            sys.exit(f"the server ended with exit code {server.returncode}")
        time.sleep(0.2)


def _healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


if __name__ == "__main__":
    main()
