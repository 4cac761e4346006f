"""PDF → page images and words through vrag's own reader, beside pdf2image, on one core.

    python benchmarks/rendering/run.py FILE.pdf … [--pages 60] [--rounds 3]

vrag: what `vrag index` does with a page, in this process: a 200-dpi JPEG on disk (with fsync), the words of the text
layer with boxes, and the tokens for search. pdf2image, which reads no text: a Pillow image of each page that is then
saved as JPEG; the same and `pdftotext -bbox-layout`, which is about what vrag does; or JPEGs written by poppler itself
(at its quality of 75). It is called for ten pages at a time, since it keeps all that it is asked for in memory. The
contestants take turns, file by file and round by round; medians are given, by the clock and in
CPU time, which other work on the machine disturbs less.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pdf2image
import pypdfium2

from vrag.corpus.files import content_id
from vrag.corpus.worker import Worker

DPI, AT_ONCE = 200, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--pages", type=int, default=60, help="of each file, at most")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    contestants = {
        "vrag": vrag,
        "pdf2image, no text": by_pillow,
        "pdf2image + pdftotext": with_text,
        "JPEG by poppler, no text": by_poppler,
    }
    print(f"load {os.getloadavg()[0]:.1f}; pages/s of CPU time (by the clock)", file=sys.stderr)
    others = list(contestants)[1:]
    print(f"| PDF | pages | {' | '.join(contestants)} | vrag ÷ {' | ÷ '.join(others)} |")
    print("|---" * (2 + len(contestants) + len(others)) + "|")
    for file in options.files:
        pages = min(options.pages, count(file))
        speeds = measure(list(contestants.values()), file, pages, options.rounds)
        shown = [f"{cpu:.0f} ({clock:.0f})" for cpu, clock in speeds]
        ratios = [f"{speeds[0][0] / cpu:.1f}" for cpu, _ in speeds[1:]]
        print(f"| {file.name} | {pages} | {' | '.join(shown + ratios)} |", flush=True)


def measure(
    runs: list[Callable[[Path, int, Path], None]], file: Path, pages: int, rounds: int
) -> list[tuple[float, float]]:
    """Pages a second of CPU time and by the clock, medians of the rounds, for each contestant."""
    cpu: list[list[float]] = [[] for _ in runs]
    clock: list[list[float]] = [[] for _ in runs]
    for _ in range(rounds):
        for place, run in enumerate(runs):
            with tempfile.TemporaryDirectory() as folder:
                began, began_cpu = time.perf_counter(), cpu_time()
                run(file, pages, Path(folder))
                cpu[place].append(pages / (cpu_time() - began_cpu))
                clock[place].append(pages / (time.perf_counter() - began))
                images = sum(1 for _ in Path(folder).rglob("*.jpg"))
            if images != pages:
                sys.exit(f"{file}: {images} images of {pages} pages by {run.__name__}")
    return [(statistics.median(one), statistics.median(other)) for one, other in zip(cpu, clock, strict=True)]


def vrag(file: Path, pages: int, folder: Path) -> None:
    (folder / "pages/tmp").mkdir(parents=True)
    worker, stat = Worker({"folder": str(folder), "dpi": DPI, "threads": 1}), file.stat()
    job = {"op": "read", "path": str(file), "document": content_id(str(file)), "size": stat.st_size}
    for message in worker.answer({**job, "mtime_ns": stat.st_mtime_ns, "pages": list(range(1, pages + 1))}):
        if "failed" in message or "fatal" in message:
            sys.exit(f"{file}: {message}")


def by_pillow(file: Path, pages: int, folder: Path) -> None:
    for first in range(1, pages + 1, AT_ONCE):
        last = min(pages, first + AT_ONCE - 1)
        for number, image in enumerate(pdf2image.convert_from_path(file, DPI, first_page=first, last_page=last), first):
            image.save(folder / f"{number}.jpg", "JPEG")


def with_text(file: Path, pages: int, folder: Path) -> None:
    by_pillow(file, pages, folder)
    subprocess.run(["pdftotext", "-bbox-layout", "-l", str(pages), file, folder / "words.html"], check=True)


def by_poppler(file: Path, pages: int, folder: Path) -> None:
    for first in range(1, pages + 1, AT_ONCE):
        last = min(pages, first + AT_ONCE - 1)
        pdf2image.convert_from_path(
            file, DPI, output_folder=folder, first_page=first, last_page=last, fmt="jpeg", paths_only=True
        )


def cpu_time() -> float:
    """Seconds of this process and of the children that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def count(file: Path) -> int:
    document = pypdfium2.PdfDocument(file)
    try:
        return len(document)
    finally:
        document.close()


if __name__ == "__main__":
    main()
