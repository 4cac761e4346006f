"""FAULTS row 1 for tantivy's index of page text: a run that is killed anywhere, run again, has every page once; what
the kill leaves behind is searched as rightly as ever, for the catalogue has it.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.catalogues import Texts
from tests.faults.test_corpus_kill import killed
from vrag.corpus import following
from vrag.corpus.store import Corpus
from vrag.index.tantivy_text import TantivyText

RUN = """
import sys
from pathlib import Path
from vrag.corpus import following
folder = Path(sys.argv[1])
following.choose(folder, sys.argv[2])
following.follow(folder)
"""
QUERIES = ["amber", "basalt 7", "renamed", "read by ocr", "京", "gone"]
FIRST = ["turned-on:1", "before-rebuild:1", "half-written:30", "before-commit:1", "after-commit:1", "forgotten:1"]
LATER = ["half-written:1", "half-written:40", "before-commit:1", "after-commit:1", "forgotten:1"]

Found = dict[str, list[tuple[str, int]]]
Scene = tuple[Path, Path, Found]


def start(folder: Path, text: str = "tantivy", kill_at: str = "") -> subprocess.Popen[bytes]:
    env = {**os.environ, "VRAG_KILL_AT": f"fulltext.{kill_at}" if kill_at else ""}
    return subprocess.Popen([sys.executable, "-c", RUN, str(folder), text], env=env)


def found(folder: Path) -> Found:
    """Which pages a search finds, in no order: FTS5 and tantivy may order them otherwise."""
    with Corpus.open(folder) as corpus:
        hits = {query: corpus.search(query, 100) for query in QUERIES}
    return {query: sorted((hit.ref.document, hit.ref.page) for hit in those) for query, those in hits.items()}


def check_whole(folder: Path, expected: Found) -> None:
    index = TantivyText.open(folder / "tantivy")
    assert index.pages == 63 - 4
    for query, pages in expected.items():
        assert len(index.search(query, 100)) == len({one.rowid for one in index.search(query, 100)}) == len(pages)
    assert found(folder) == expected


def change(texts: Texts) -> None:
    """Pages come, leave, are read by OCR and renamed; tantivy's index knows of none of it yet."""
    texts.remove("gone.pdf", follow=False)
    texts.rename("first.pdf", "renamed.pdf", follow=False)
    texts.recognise("second.pdf", 3, "read by OCR 北京", follow=False)
    texts.put("third.pdf", [f"amber {number}" for number in range(20)], follow=False)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """A corpus that tantivy never saw, one that it saw before a change, and what there is to find in both."""
    root = tmp_path_factory.mktemp("scene")
    for name in ("fts5", "tantivy"):
        texts = Texts(root / name, name)  # type: ignore[arg-type]
        texts.put("first.pdf", [f"basalt {number}" for number in range(19)], follow=False)
        texts.put("second.pdf", [f"garnet {number}" for number in range(20)], follow=False)
        texts.put("gone.pdf", ["gone"] * 4)
        change(texts)
        texts.corpus.close()
    return root / "fts5", root / "tantivy", found(root / "fts5")


@pytest.mark.parametrize("point", FIRST)
def test_killed_while_the_index_is_made(scene: Scene, tmp_path: Path, point: str):
    before, _, expected = scene
    folder = shutil.copytree(before, tmp_path / "corpus")
    assert start(folder, kill_at=point).wait() == -signal.SIGKILL
    assert found(folder) == expected
    following.follow(folder)
    check_whole(folder, expected)


@pytest.mark.parametrize("point", LATER)
def test_killed_while_the_index_follows(scene: Scene, tmp_path: Path, point: str):
    _, before, expected = scene
    folder = shutil.copytree(before, tmp_path / "corpus")
    assert start(folder, kill_at=point).wait() == -signal.SIGKILL
    assert found(folder) == expected
    following.follow(folder)
    check_whole(folder, expected)


def test_killed_while_going_back_to_fts5(scene: Scene, tmp_path: Path):
    _, before, expected = scene
    folder = shutil.copytree(before, tmp_path / "corpus")
    assert start(folder, "fts5", "turned-off").wait() == -signal.SIGKILL
    assert (folder / "tantivy").exists() and found(folder) == expected
    following.choose(folder, "tantivy")
    following.follow(folder)
    check_whole(folder, expected)


def test_killed_at_random_moments_again_and_again(scene: Scene, tmp_path: Path, full: bool):
    rng = random.Random(0)
    for number in range(40 if full else 4):
        folder = shutil.copytree(scene[number % 2], tmp_path / f"corpus{number}")
        while killed(start(folder), after=rng.uniform(0.2, 1.2)):
            assert found(folder) == scene[2]
        check_whole(folder, scene[2])
