"""FAULTS row 1: an indexing run that is killed anywhere, run again, gives what an undisturbed run gives."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.papers import write_pdf, write_report
from vrag.corpus.ingest import IngestOptions, ingest
from vrag.corpus.store import Corpus

BATCH = 5
RUN = f"""
import sys
from vrag.corpus.ingest import IngestOptions, ingest
from vrag.corpus.store import Corpus
with Corpus.open(sys.argv[1] + "/") as corpus:
    ingest([sys.argv[2]], corpus, IngestOptions(workers=2, ocr="off", batch_pages={BATCH}))
"""
# name:pass; the corpus already holds another state of the folder, so that things change, leave and move
QUICK = ["file-noted:3", "page:17", "before-commit:4", "after-commit:3", "before-trash", "image-deleted:4"]
LONG = ["file-noted:1", "page:1", "before-commit:1", "before-commit:2", "after-commit:1", "image-deleted:1"]
KILL_POINTS = [*QUICK, *(pytest.param(point, marks=pytest.mark.full) for point in LONG)]


def first_state(folder: Path) -> Path:
    write_report(folder / "old.pdf", 9, 6)
    write_report(folder / "changes.pdf", 8, 3)
    write_report(folder / "moves.pdf", 7, 3)
    return folder


def second_state(folder: Path) -> Path:
    (folder / "old.pdf").unlink()
    write_report(folder / "changes.pdf", 18, 4)
    (folder / "moves.pdf").rename(folder / "moved.pdf")
    write_report(folder / "a/long.pdf", 1, 33)
    write_report(folder / "b/short.pdf", 2, 2)
    write_pdf(folder / "copy.pdf", ["same"])
    write_pdf(folder / "b/copy.pdf", ["same"])
    (folder / "bad.pdf").write_bytes(b"%PDF-1.7 nonsense")
    return folder


def start(corpus: Path, docs: Path, kill_at: str = "") -> subprocess.Popen[bytes]:
    env = {**os.environ, "VRAG_KILL_AT": kill_at}
    return subprocess.Popen([sys.executable, "-c", RUN, str(corpus), str(docs)], env=env)


def stored(corpus: Path) -> dict[str, str]:
    with Corpus.open(corpus) as opened:
        return {page.id: page.text for page in opened.pages()}


def state(corpus: Path) -> dict[str, Any]:
    """Everything that a person could see of a corpus."""
    with Corpus.open(corpus) as opened:
        pages = list(opened.pages())
        queries = ("Report page", "amber fjord", "long", "same", "Report 18")
        return {
            "documents": sorted((d.id, d.name, d.names, d.pages, d.stored) for d in opened.documents()),
            "pages": sorted((page.id, page.ref, page.width, page.height, page.text) for page in pages),
            "words": {page.id: opened.words(page.id) for page in pages},
            "failures": opened.failures(),
            "search": [[(hit.ref, round(hit.score, 9)) for hit in opened.search(q, 50)] for q in queries],
            "images": {f.name: f.read_bytes() for f in (corpus / "pages").rglob("*") if f.is_file()},
        }


class Scene:
    """A corpus of the first state, the folder in its second, and what an undisturbed run makes of it."""

    def __init__(self, root: Path) -> None:
        self.docs = first_state(root / "docs")
        self.before = root / "before"
        with Corpus.create(self.before) as corpus:
            ingest([self.docs], corpus, IngestOptions(workers=1, ocr="off"))
        second_state(self.docs)
        undisturbed = self.corpus(root / "undisturbed")
        assert start(undisturbed, self.docs).wait() == 0
        self.expected = state(undisturbed)

    def corpus(self, path: Path) -> Path:
        shutil.copytree(self.before, path)
        return path


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("scene"))


def test_the_undisturbed_run_is_what_the_folder_says(scene: Scene):
    names = [name for document in scene.expected["documents"] for name in document[2]]
    assert sorted(names) == [
        "a/long.pdf", "b/copy.pdf", "b/short.pdf", "bad.pdf", "changes.pdf", "copy.pdf", "moved.pdf",
    ]  # fmt: skip
    assert len(scene.expected["pages"]) == 33 + 2 + 1 + 4 + 3
    assert len(scene.expected["images"]) == len(scene.expected["pages"])


@pytest.mark.parametrize("point", KILL_POINTS)
def test_killed_at_a_named_point_and_run_again(scene: Scene, tmp_path: Path, point: str):
    corpus = scene.corpus(tmp_path / "corpus")
    assert start(corpus, scene.docs, f"ingest.{point}").wait() == -signal.SIGKILL
    assert start(corpus, scene.docs).wait() == 0
    assert state(corpus) == scene.expected


def test_killed_at_random_times_again_and_again(scene: Scene, tmp_path: Path, full: bool):
    rng = random.Random(0)
    final = {page[0] for page in scene.expected["pages"]}
    for number in range(20 if full else 2):
        corpus = scene.corpus(tmp_path / f"corpus{number}")
        held: dict[str, str] = {}
        for _ in range(10):
            if not killed(start(corpus, scene.docs), after=rng.uniform(0.1, 0.8)):
                break
            now = stored(corpus)
            assert {id: now.get(id) for id in held} == held, "a committed page that still has its file is never lost"
            held = {id: text for id, text in now.items() if id in final}
        assert start(corpus, scene.docs).wait() == 0
        assert state(corpus) == scene.expected


def killed(process: subprocess.Popen[bytes], after: float) -> bool:
    """Kill a run after so many seconds, unless it has ended before."""
    try:
        assert process.wait(timeout=after) == 0
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True
    return False


def test_rework_after_a_kill_is_at_most_one_batch_and_what_was_in_flight(scene: Scene, tmp_path: Path):
    corpus = scene.corpus(tmp_path / "corpus")
    assert start(corpus, scene.docs, "ingest.page:23").wait() == -signal.SIGKILL
    assert len(stored(corpus)) - 3 >= 23 - BATCH  # three pages of the moved file were there before
    with Corpus.open(corpus) as opened:
        missing = len(scene.expected["pages"]) - opened.count()
        report = ingest([scene.docs], opened, IngestOptions(workers=2, ocr="off"))
    assert report.pages_added == missing


def test_workers_end_with_the_run_that_was_killed(scene: Scene, tmp_path: Path):
    import psutil

    corpus = scene.corpus(tmp_path / "corpus")
    process = start(corpus, scene.docs, "ingest.page:20")
    children: set[psutil.Process] = set()
    with contextlib.suppress(psutil.NoSuchProcess):
        while process.poll() is None:
            children |= set(psutil.Process(process.pid).children())
    process.wait()
    assert children
    assert psutil.wait_procs(children, timeout=10)[1] == []


def test_images_of_a_document_that_leaves_after_a_kill_before_its_first_batch_leave_too(tmp_path: Path):
    docs, corpus = tmp_path / "docs", tmp_path / "corpus"
    write_report(docs / "stays.pdf", 1, 1)
    write_report(docs / "leaves.pdf", 2, BATCH - 1)
    Corpus.create(corpus).close()
    assert start(corpus, docs, f"ingest.page:{BATCH - 1}").wait() == -signal.SIGKILL
    left = {file.name for file in (corpus / "pages").rglob("*.jpg")}
    (docs / "leaves.pdf").unlink()
    assert start(corpus, docs).wait() == 0
    images = {file.stem for file in (corpus / "pages").rglob("*.jpg")}
    assert len(left) >= BATCH - 1 and images == set(stored(corpus)) and len(images) == 1
