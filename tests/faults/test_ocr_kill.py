"""FAULTS row 1 for OCR: a run that is killed anywhere, run again, gives what an undisturbed run gives; what it had
committed is kept, can be searched meanwhile, and isn't recognised again.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.engines import BLANK, RAISES, write_scans, write_stamped
from tests.faults.test_corpus_kill import killed
from vrag.corpus import catalog
from vrag.corpus.ingest import ingest
from vrag.corpus.options import IngestOptions
from vrag.corpus.store import Corpus
from vrag.index.tantivy_text import TantivyText

BATCH = 3
SCANS = [1, 2, 3, 4, BLANK, 6, RAISES, 8, 9, 10]
SILENT = {BLANK, RAISES}
RUN = f"""
import sys
from vrag.corpus import recognition
from vrag.corpus.options import IngestOptions
from vrag.corpus.store import Corpus
recognition.BATCH_SECONDS = 1e9
with Corpus.open(sys.argv[1] + "/") as corpus:
    recognition.recognise(corpus, IngestOptions(workers=1, batch_pages={BATCH}, ocr_engine=sys.argv[2]))
"""
# where it is killed, and how many of the eleven pages are committed by then
POINTS = [("page:2", 0), ("page:5", 3), ("before-commit:1", 0), ("before-commit:3", 6), ("after-commit:1", 3)]


def start(folder: Path, engine: str = "Grey", kill_at: str = "") -> subprocess.Popen[bytes]:
    env = {**os.environ, "VRAG_KILL_AT": kill_at, "OCR_LOG": str(log(folder))}
    command = [sys.executable, "-c", RUN, str(folder), f"tests.engines:{engine}"]
    return subprocess.Popen(command, env=env)


def log(folder: Path) -> Path:
    return folder.with_suffix(".log")


def reads(folder: Path) -> Counter[int]:
    """How often each scan was given to the engine."""
    return Counter(map(int, log(folder).read_text().split())) if log(folder).exists() else Counter()


def state(folder: Path) -> dict[str, Any]:
    with Corpus.open(folder) as corpus:
        pages = list(corpus.pages())
        queries = ["scan", "n3", "page 7", "number n9"]
        return {
            "pages": pages,
            "words": [corpus.words(page.id) for page in pages],
            "failures": corpus.failures(),
            "search": [[(hit.page_id, round(hit.score, 5)) for hit in corpus.search(query, 50)] for query in queries],
        }


def done(folder: Path) -> set[int]:
    """Scans whose outcome is committed. None is half done: what has a text is found, and what is found has one."""
    with closing(catalog.connect(folder)) as db:
        rows = db.execute(
            "SELECT kind, pages.rowid FROM pages JOIN documents ON seq = pages.rowid >> 20 WHERE ocr_done"
        )
        numbers = {12 if kind == "pdf" else SCANS[catalog.split_row(row)[1] - 1] for kind, row in rows}
    with Corpus.open(folder) as corpus:
        assert len(corpus.search("scan", 50)) == len(list(corpus.pages(text_source="ocr"))) == len(numbers - SILENT)
        assert len(corpus.failures()) == len(numbers & {RAISES})
    return numbers


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of eleven pages that wait, which tantivy searches."""
    root = tmp_path_factory.mktemp("before")
    write_scans(root / "docs/scans.tif", SCANS)
    write_stamped(root / "docs/stamped.pdf", 12, "Page 7")
    with Corpus.create(root / "corpus") as corpus:
        ingest([root / "docs"], corpus, IngestOptions(workers=1, ocr="off", text="tantivy"))
    return root / "corpus"


@pytest.fixture(scope="module")
def expected(before: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = shutil.copytree(before, tmp_path_factory.mktemp("undisturbed") / "corpus")
    assert start(folder).wait() == 0
    assert reads(folder) == Counter([*SCANS, 12])
    made = state(folder)
    assert len(made["failures"]) == 1 and len(made["search"][0]) == 9
    return made


def finish(folder: Path, expected: dict[str, Any], held: set[int]) -> None:
    """Run again: the same as undisturbed, and nothing that was held is read again."""
    log(folder).unlink(missing_ok=True)
    assert start(folder).wait() == 0
    assert reads(folder) == Counter(number for number in [*SCANS, 12] if number not in held)
    assert state(folder) == expected
    assert len(TantivyText.open(folder / "tantivy").search("scan", 50)) == len(expected["search"][0])


@pytest.mark.parametrize(("point", "committed"), POINTS)
def test_killed_at_a_named_point_and_run_again(
    before: Path, expected: dict[str, Any], tmp_path: Path, point: str, committed: int
):
    folder = shutil.copytree(before, tmp_path / "corpus")
    assert start(folder, kill_at=f"ocr.{point}").wait() == -signal.SIGKILL
    held = done(folder)
    assert len(held) == committed
    finish(folder, expected, held)


def test_killed_while_a_page_is_in_a_worker(before: Path, expected: dict[str, Any], tmp_path: Path):
    import psutil

    folder = shutil.copytree(before, tmp_path / "corpus")
    process = start(folder, engine="KillsParent")
    assert process.wait() == -signal.SIGKILL
    held = done(folder)
    assert held == {1, 2, 3}, "the batch before it"
    mine = [one for one in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(one.info["cmdline"] or [])]
    assert psutil.wait_procs(mine, timeout=10)[1] == [], "the worker ends with it"
    finish(folder, expected, held)


@pytest.mark.parametrize("point", ["before-commit:1", "after-commit:1", "forgotten:1"])
def test_killed_while_the_text_index_follows(before: Path, expected: dict[str, Any], tmp_path: Path, point: str):
    folder = shutil.copytree(before, tmp_path / "corpus")
    assert start(folder, kill_at=f"fulltext.{point}").wait() == -signal.SIGKILL
    finish(folder, expected, done(folder))


@pytest.mark.full
def test_killed_at_random_moments_again_and_again(before: Path, expected: dict[str, Any], tmp_path: Path):
    import random

    rng = random.Random(0)
    for number in range(20):
        folder = shutil.copytree(before, tmp_path / f"corpus{number}")
        held: set[int] = set()
        while killed(start(folder), after=rng.uniform(0.2, 1.5)):
            assert done(folder) >= held, "what was committed stays"
            held = done(folder)
        assert state(folder) == expected
