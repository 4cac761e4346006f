"""A snapshot of an embedded index is an index of its own, made while others search and write."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.vectors import DIM, a_page, a_query, alike
from vrag import database, staging
from vrag.errors import CorpusError, UsageError
from vrag.index import segments, writing
from vrag.index.embedded import EmbeddedIndex
from vrag.index.vectors import EncoderName, Filter

PAGES = [a_page(number) for number in range(30)]
QUERIES = [a_query(seed, PAGES[seed]) for seed in range(4)]


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EmbeddedIndex:
    monkeypatch.setattr(writing, "SEGMENT", 300)
    EmbeddedIndex.create(tmp_path / "vectors", DIM, "an encoder", EncoderName(name="an/encoder"), pool=8).close()
    index = EmbeddedIndex.open(tmp_path / "vectors", kernel="numpy", candidates=10)
    for first in range(0, 30, 5):
        index.upsert(PAGES[first : first + 5])
    index.delete(Filter(pages=["page-7"]))
    return index


def found(index: EmbeddedIndex) -> object:
    searches = [index.search(query, 30, exact=exact) for query in QUERIES for exact in (False, True)]
    return searches, index.search(QUERIES[0], 5, where=Filter(meta={"year": 2024})), index.matches("page-3", QUERIES[0])


def opened(folder: Path) -> EmbeddedIndex:
    return EmbeddedIndex.open(folder, "an encoder", kernel="numpy", candidates=10)


def without_links(*_: object) -> None:
    raise OSError(errno.EXDEV, "Invalid cross-device link")


@pytest.mark.parametrize("links", [True, False], ids=["links", "copies"])
def test_a_snapshot_opens_and_gives_what_the_index_gives(
    index: EmbeddedIndex, tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
):
    if not links:
        monkeypatch.setattr(staging.os, "link", without_links)
    index.snapshot(tmp_path / "backups/monday")
    copy = opened(tmp_path / "backups/monday")
    assert found(copy) == found(index)
    assert (copy.ids(), copy.encoder, copy.stats().dead) == (index.ids(), index.encoder, index.stats().dead)
    shared = [file.samefile(index.folder / file.name) for file in copy.folder.glob("*-0*")]
    assert len(shared) > 8 and set(shared) == {links}
    assert [entry.name for entry in (tmp_path / "backups").iterdir()] == ["monday"]


@pytest.mark.parametrize("change", ["upsert", "delete", "compact", "remove"])
def test_what_is_done_to_the_one_the_other_does_not_see(index: EmbeddedIndex, tmp_path: Path, change: str):
    index.snapshot(tmp_path / "copy")
    copy, before = opened(tmp_path / "copy"), found(index)
    changes: dict[str, Callable[[EmbeddedIndex], object]] = {
        "upsert": lambda one: one.upsert([a_page(number) for number in (3, 100, 101)]),
        "delete": lambda one: one.delete(Filter()),
        "compact": lambda one: one.compact(),
        "remove": lambda one: [file.unlink() for file in one.folder.iterdir()],
    }
    changes[change](copy)
    copy.close()
    assert found(opened(index.folder)) == before
    index.snapshot(tmp_path / "another")
    changes[change](index)
    assert found(opened(tmp_path / "another")) == before


def test_a_snapshot_grows_beside_the_index_that_it_came_from(index: EmbeddedIndex, tmp_path: Path):
    index.snapshot(tmp_path / "copy")
    copy, added, other = opened(tmp_path / "copy"), a_page(100), a_page(200)
    index.upsert([added])
    copy.upsert([other])
    copy.snapshot(tmp_path / "copy of the copy")
    for one, page in ((index, added), (copy, other), (opened(tmp_path / "copy of the copy"), other)):
        vectors = page.vectors.vectors
        assert [match.vector for match in one.matches(page.id, vectors)] == list(range(len(vectors)))
        assert one.search(a_query(0, page), 1, exact=True)[0].page_id == page.id
        assert len(one.ids()) == 30


def test_an_empty_index_has_a_snapshot_too(tmp_path: Path):
    EmbeddedIndex.create(tmp_path / "vectors", DIM, "an encoder").snapshot(tmp_path / "copy")
    copy = opened(tmp_path / "copy")
    assert copy.ids() == set()
    copy.upsert(PAGES[:2])
    assert copy.ids() == {"page-0", "page-1"}


def test_a_folder_that_holds_something_is_refused_and_an_empty_one_is_not(index: EmbeddedIndex, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    index.snapshot(tmp_path / "empty")
    for taken in (tmp_path / "empty", index.folder, index.folder / "vectors.sqlite"):
        with pytest.raises(UsageError, match="isn't an empty folder"):
            index.snapshot(taken)
    assert found(opened(tmp_path / "empty")) == found(index)


def test_two_runs_cannot_make_one_folder(index: EmbeddedIndex, tmp_path: Path):
    with (
        database.exclusive(tmp_path / ".copy.lock", ""),
        pytest.raises(CorpusError, match=r"another process is making .*copy"),
    ):
        index.snapshot(tmp_path / "copy")
    index.snapshot(tmp_path / "copy")


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(
    index: EmbeddedIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(staging.os, "link", without_links)
    monkeypatch.setattr(staging.os, "fsync", full)
    with pytest.raises(CorpusError, match=r"full-000001.i8 can't be copied .*No space left"):
        index.snapshot(tmp_path / "copy")
    assert [entry.name for entry in tmp_path.iterdir()] == ["vectors"]


def test_files_that_a_compaction_takes_away_meanwhile_are_no_error(
    index: EmbeddedIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    other, share, compacted = opened(index.folder), segments.share, list[int]()

    def after_a_compaction(folder: Path, segment: int, *rest: object) -> None:
        if not compacted:
            other.compact()
            compacted.append(segment)
        share(folder, segment, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(segments, "share", after_a_compaction)
    before = found(index)
    index.snapshot(tmp_path / "copy")
    copy = opened(tmp_path / "copy")
    assert compacted and alike(found(copy), before) and copy.stats().dead == 0


def test_snapshots_taken_while_pages_come_hold_whole_batches_and_the_right_vectors(
    index: EmbeddedIndex, tmp_path: Path
):
    begun, done = threading.Event(), threading.Event()

    def write() -> None:
        writer = opened(index.folder)
        for batch in range(100, 160, 4):
            writer.upsert([a_page(number) for number in range(batch, batch + 4)])
            begun.set()
            if batch % 20 == 0:
                writer.compact()
        writer.close()
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    begun.wait()
    taken = 0
    while not done.is_set() or taken == 0:
        index.snapshot(tmp_path / f"copy-{taken}")
        taken += 1
    thread.join()
    for number in range(taken):
        copy = opened(tmp_path / f"copy-{number}")
        new = [int(page.removeprefix("page-")) for page in copy.ids() if int(page.removeprefix("page-")) >= 100]
        assert len(new) % 4 == 0 and len(copy.ids()) == 29 + len(new)
        for page in (*PAGES[:7], *(a_page(one) for one in new)):
            vectors = page.vectors.vectors
            assert [match.vector for match in copy.matches(page.id, vectors)] == list(range(len(vectors)))
        copy.close()
