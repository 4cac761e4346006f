"""FAULTS rows 1 and 4 for page vectors: a writer that is killed anywhere loses nothing that was acknowledged, leaves
nothing half there, and, run again, gives what an undisturbed run gives. So does one whose disk is full.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.colours import ColourEncoder
from vrag.embed import embed
from vrag.errors import CorpusError
from vrag.index import segments
from vrag.index.embedded import EmbeddedIndex
from vrag.index.vectors import Filter, PageRecord
from vrag.types import PageVectors

DIM, BATCH, PAGES = 16, 5, 60
# Adds what is missing in batches, replaces and deletes some, compacts; prints what is acknowledged.
RUN = """
import sys
from pathlib import Path
from tests.faults.test_vector_index_kill import write
write(Path(sys.argv[1]))
"""
POINTS = ["half-appended:3", "before-commit:2", "after-commit:4", "before-compacted:1", "compacted:1"]
LONG = ["half-appended:1", "before-commit:1", "before-commit:12", "after-commit:1", "before-compacted:2", "compacted:2"]
EVERY_POINT = [*POINTS, *(pytest.param(point, marks=pytest.mark.full) for point in LONG)]


def a_page(number: int) -> PageRecord:
    rng = np.random.default_rng(number)
    rows = rng.standard_normal((int(rng.integers(3, 30)), DIM))
    vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return PageRecord(f"page-{number}", f"doc-{number % 4}", PageVectors(vectors))


def write(folder: Path) -> None:
    """Bring the index to its final state, as an indexing run does: only what is owed."""
    with_pages = EmbeddedIndex.open(folder, kernel="numpy")
    for round_ in range(2):
        owed = [n for n in range(PAGES) if f"page-{n}" not in with_pages.ids() and not (round_ and n % 4 == 3)]
        for first in range(0, len(owed), BATCH):
            batch = owed[first : first + BATCH]
            with_pages.upsert([a_page(number) for number in batch])
            print(*batch, flush=True)
        with_pages.delete(Filter(documents=["doc-3"]))
        with_pages.compact()
    with_pages.close()


def start(folder: Path, kill_at: str = "") -> subprocess.Popen[str]:
    point = f"index.{kill_at}" if kill_at else ""
    env = {**os.environ, "VRAG_KILL_AT": point}
    return subprocess.Popen([sys.executable, "-c", RUN, str(folder)], env=env, stdout=subprocess.PIPE, text=True)


def state(folder: Path) -> object:
    """What a search could see."""
    with_pages = EmbeddedIndex.open(folder, kernel="numpy")
    query = a_page(1000).vectors.vectors[:3]
    found = with_pages.search(query, PAGES, exact=True)
    pooled = with_pages.search(query, 3)
    with_pages.close()
    return sorted((hit.page_id, round(hit.score, 5)) for hit in found), {hit.page_id for hit in pooled}


def check_acknowledged(folder: Path, printed: str) -> None:
    """Pages that were acknowledged are there once and hold their own vectors; doc-3 leaves later."""
    with_pages = EmbeddedIndex.open(folder, kernel="numpy")
    ids = with_pages.ids()
    for number in {int(word) for word in printed.split()}:
        page = a_page(number)
        if page.document == "doc-3":
            continue
        assert page.id in ids
        vectors = page.vectors.vectors
        assert [match.vector for match in with_pages.matches(page.id, vectors)] == list(range(len(vectors)))
    with_pages.close()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> object:
    folder = tmp_path_factory.mktemp("undisturbed") / "vectors"
    EmbeddedIndex.create(folder, DIM, "encoder", pool=4).close()
    write(folder)
    return state(folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    EmbeddedIndex.create(tmp_path / "vectors", DIM, "encoder", pool=4).close()
    return tmp_path / "vectors"


@pytest.mark.parametrize("point", EVERY_POINT)
def test_a_writer_killed_at_a_named_point_loses_nothing_acknowledged(folder: Path, point: str, undisturbed: object):
    process = start(folder, point)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == -9, "the point was never passed"
    check_acknowledged(folder, printed)
    write(folder)
    assert state(folder) == undisturbed


def test_a_writer_killed_at_random_moments_gets_there_in_the_end(folder: Path, undisturbed: object, full: bool):
    began = time.monotonic()
    whole = start(shutil.copytree(folder, folder.with_name("timed")))
    whole.communicate(timeout=60)
    lasts = time.monotonic() - began
    rng = random.Random(0)
    for _ in range(200 if full else 8):
        again = shutil.copytree(folder, folder.with_name("again"))
        process = start(again)
        time.sleep(rng.uniform(0.5, 1) * lasts)
        process.kill()
        printed, _ = process.communicate(timeout=60)
        check_acknowledged(again, printed.rpartition("\n")[0])  # a torn last line was never whole
        write(again)
        assert state(again) == undisturbed
        shutil.rmtree(again)


@pytest.mark.parametrize("point", ["before-compacted:1", "compacted:1"])
def test_files_of_a_killed_compaction_go_with_the_next_run_also_of_one_that_has_nothing_to_do(
    folder: Path, point: str, undisturbed: object, monkeypatch: pytest.MonkeyPatch
):
    start(folder, point).communicate(timeout=60)
    assert len(list(folder.glob("full-*.i8"))) == 2
    monkeypatch.setattr("vrag.embed._WASTE", 1.0)  # it doesn't compact again
    with closing(EmbeddedIndex.open(folder, kernel="numpy")) as index:
        all_there = SimpleNamespace(page_ids=index.ids)
        embed(all_there, ColourEncoder(), index)  # type: ignore[arg-type]
    assert len(list(folder.glob("full-*.i8"))) == len(list(folder.glob("pool-*.u4"))) == 1
    write(folder)
    assert state(folder) == undisturbed


@pytest.mark.parametrize("fails", range(1, 5))
def test_a_full_disk_is_one_clear_error_and_the_earlier_state_opens(
    folder: Path, fails: int, monkeypatch: pytest.MonkeyPatch
):
    with_pages = EmbeddedIndex.open(folder, kernel="numpy")
    with_pages.upsert([a_page(1), a_page(2)])
    before, calls = state(folder), 0
    whole = os.fsync

    def full_at(handle: int) -> None:
        nonlocal calls
        calls += 1
        if calls == fails:
            raise OSError(28, "No space left on device")
        whole(handle)

    monkeypatch.setattr(segments.os, "fsync", full_at)
    with pytest.raises(CorpusError, match=r"No space left on device.*free some space"):
        with_pages.upsert([a_page(3)])
    monkeypatch.undo()
    assert state(folder) == before
    with_pages.upsert([a_page(3)])
    assert with_pages.ids() == {"page-1", "page-2", "page-3"}
    with_pages.close()
