"""How soon the app shows what it is asked for, in headless Chromium, over many pages and over few.

    PYTHONPATH=. python benchmarks/app/run.py [--pages 10000] [--baseline 300] [--rounds 10] [--screenshots FOLDER]

Makes a corpus of each size, starts `vrag app` over each, and visits both in turns. What is measured: README.md. Prints
JSON: seconds by what was done (median and maximum), kB over the network, MB of the server, and for each time the one
over many pages divided by the one over few.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import psutil
from corpus import Made, make_corpus
from visit import Times, Visit

from tests.browser import Page, chromium

CORPUS = "manuals"


@contextmanager
def serving(folder: Path) -> Generator[tuple[str, psutil.Process]]:
    """`vrag app` over the corpus, and its address, which it says when it answers."""
    command = [sys.executable, "-m", "vrag", "app", "--corpus", str(folder), "--no-open", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        url = next((line.split()[-1] for line in server.stderr if line.startswith("app at ")), None)
        if url is None:
            sys.exit(f"the server ended with exit code {server.wait()}")
        Thread(target=server.stderr.read, daemon=True).start()  # its log, so that it never waits for a reader
        try:
            yield url, psutil.Process(server.pid)
        finally:
            server.terminate()


def memory(server: psutil.Process) -> int:
    return server.memory_info().rss + sum(child.memory_info().rss for child in server.children(recursive=True))


def measure(options: argparse.Namespace, root: Path) -> dict[str, Any]:
    with ExitStack() as stack:
        page = stack.enter_context(chromium(root / "profile"))
        page.look(1280, 900)
        visits: dict[int, Visit] = {}
        held: dict[int, list[int]] = {}
        servers: dict[int, psutil.Process] = {}
        for pages in sorted({options.baseline, options.pages}):
            made = made_in(root / str(pages) / CORPUS, pages)
            url, servers[pages] = stack.enter_context(serving(root / str(pages) / CORPUS))
            visits[pages] = Visit(page, url, CORPUS, made, random.Random(1))
            held[pages] = [memory(servers[pages])]
        for number in range(-1, options.rounds):  # the first isn't counted: it loads what comes after
            for pages, visit in visits.items():
                if number == 0:
                    visit.times = Times()
                visit.round()
                held[pages].append(memory(servers[pages]))
        found = {str(pages): told(visit.times, held[pages]) for pages, visit in visits.items()}
        if options.screenshots:
            screenshots(page, visits[options.pages], options.screenshots)
    return found


def made_in(folder: Path, pages: int) -> Made:
    began = time.perf_counter()
    made = make_corpus(folder, pages)
    print(f"{pages} pages made in {time.perf_counter() - began:.0f} s", file=sys.stderr)
    return made


def told(times: Times, held: list[int]) -> dict[str, Any]:
    seconds = {
        what: {"median": round(statistics.median(taken), 3), "max": round(max(taken), 3)}
        for what, taken in times.seconds.items()
    }
    return {
        "seconds": seconds,
        "kB": {what: round(statistics.median(sizes) / 1000, 1) for what, sizes in times.received.items()},
        "longest frame ms": {"median": round(statistics.median(times.frames)), "max": round(max(times.frames))},
        "server MB": {"started": held[0] >> 20, "at most": max(held) >> 20},
        "right answers": f"{times.right} of {times.asked}",
    }


def ratios(many: dict[str, Any], few: dict[str, Any]) -> dict[str, float]:
    pairs = ((what, taken["median"], few["seconds"][what]["median"]) for what, taken in many["seconds"].items())
    return {what: round(one / other, 2) for what, one, other in pairs}


def screenshots(page: Page, visit: Visit, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in visit.views():
        page.screenshot(folder / f"{name}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=10_000)
    parser.add_argument("--baseline", type=int, default=300, help="pages of the small corpus")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--screenshots", type=Path, help="folder for pictures of what was visited")
    options = parser.parse_args()
    began = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as root:
        found = measure(options, Path(root))
    many, few = found[str(options.pages)], found[str(options.baseline)]
    cores = len(os.sched_getaffinity(0))
    machine = {"cpu": platform.machine(), "cores": cores, "load": [round(began, 1), round(os.getloadavg()[0], 1)]}
    print(json.dumps({"machine": machine, "rounds": options.rounds, "pages": found, "ratio": ratios(many, few)}))


if __name__ == "__main__":
    main()
