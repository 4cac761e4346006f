"""tantivy's index follows the catalogue: by what changed, or anew; until then FTS5 answers, and says so."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.catalogues import Texts
from vrag.corpus import changes, following
from vrag.corpus.store import Corpus
from vrag.errors import UsageError
from vrag.index import tantivy_text
from vrag.index.tantivy_text import Changes, TantivyText
from vrag.retriever import open_retriever

WARNING = "FTS5 answers until `vrag index` has run"


@pytest.fixture
def texts(tmp_path: Path) -> Iterator[Texts]:
    made = Texts(tmp_path / "corpus", "tantivy")
    made.put("a.pdf", ["amber one", "amber two"], follow=False)
    made.put("b.pdf", ["basalt one"])
    yield made
    made.corpus.close()


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows of the pages that are put into an index."""
    rows: list[int] = []
    put = Changes.put

    def noting(self: Changes, row: int, name: str, body: str) -> None:
        rows.append(row)
        put(self, row, name, body)

    monkeypatch.setattr(Changes, "put", noting)
    return rows


def pages(texts: Texts) -> int:
    return TantivyText.open(texts.folder / "tantivy").pages


def answered_by_tantivy(texts: Texts, caplog: pytest.LogCaptureFixture) -> bool:
    caplog.clear()
    texts.search("amber")
    return WARNING not in caplog.text


def test_what_did_not_change_is_not_written_again(texts: Texts, written: list[int]):
    following.follow(texts.folder)
    assert written == []
    texts.put("c.pdf", ["cobalt"], follow=False)
    texts.rename("b.pdf", "basalt.pdf", follow=False)
    texts.remove("a.pdf")
    assert len(written) == 2
    assert pages(texts) == 2


def test_an_index_left_behind_answers_nothing_until_it_has_followed(texts: Texts, caplog: pytest.LogCaptureFixture):
    assert answered_by_tantivy(texts, caplog)
    texts.put("c.pdf", ["amber three"], follow=False)
    assert set(texts.search("amber")) == {("a.pdf", 1), ("a.pdf", 2), ("c.pdf", 1)}
    assert caplog.text.count(WARNING) == 1
    texts.search("amber")
    assert caplog.text.count(WARNING) == 1, "it is said once for each time"
    following.follow(texts.folder)
    assert answered_by_tantivy(texts, caplog)
    texts.put("d.pdf", ["dune"], follow=False)
    assert not answered_by_tantivy(texts, caplog)


@pytest.mark.parametrize("damage", ["missing", "no-meta", "torn-meta", "empty-segment", "torn-segment"])
def test_a_missing_or_damaged_index_is_made_anew(
    texts: Texts, damage: str, written: list[int], caplog: pytest.LogCaptureFixture
):
    folder = texts.folder / "tantivy"
    segment = max(folder.glob("*.idx"))
    if damage == "missing":
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    elif damage == "no-meta":
        (folder / "meta.json").unlink()
    elif damage == "torn-meta":
        (folder / "meta.json").write_bytes((folder / "meta.json").read_bytes()[:40])
    else:
        segment.write_bytes(segment.read_bytes()[:-9] if damage == "torn-segment" else b"")
    with Corpus.open(texts.folder) as opened:
        assert len(opened.search("amber", 10)) == 2
    assert WARNING in caplog.text
    following.follow(texts.folder)
    assert len(written) == 3 and pages(texts) == 3
    assert answered_by_tantivy(texts, caplog)


@pytest.mark.parametrize("version", ["tokens", "fields"])
def test_an_index_of_another_version_is_not_used_and_made_anew(
    texts: Texts, version: str, written: list[int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    state = changes.state

    def newer(db: sqlite3.Connection) -> tantivy_text.State | None:
        found = state(db)
        return replace(found, **{version: 99}) if found else None

    monkeypatch.setattr(changes, "state", newer)
    assert not answered_by_tantivy(texts, caplog)
    following.follow(texts.folder)
    assert len(written) == 3
    assert answered_by_tantivy(texts, caplog)


def test_the_index_of_another_catalogue_is_made_anew(texts: Texts, written: list[int]):
    following.choose(texts.folder, "fts5")
    following.choose(texts.folder, "tantivy")
    following.follow(texts.folder)
    written.clear()
    other = Texts(texts.folder.parent / "other", "tantivy")
    other.put("c.pdf", ["cobalt"])
    written.clear()
    (texts.folder / "tantivy").rename(texts.folder / "away")
    (other.folder / "tantivy").rename(texts.folder / "tantivy")
    following.follow(texts.folder)
    assert len(written) == 3 and texts.search("cobalt") == []
    other.corpus.close()


def test_an_index_older_than_what_is_known_of_changes_is_made_anew(texts: Texts, written: list[int], tmp_path: Path):
    (texts.folder / "tantivy").rename(tmp_path / "backup")
    texts.put("c.pdf", ["cobalt"])
    texts.put("d.pdf", ["dune"])
    written.clear()
    (texts.folder / "tantivy").rename(tmp_path / "newer")
    (tmp_path / "backup").rename(texts.folder / "tantivy")
    following.follow(texts.folder)
    assert len(written) == 5 == pages(texts)


def test_an_index_that_lost_a_page_is_made_anew(texts: Texts, written: list[int]):
    index = TantivyText.open(texts.folder / "tantivy")
    assert index.state is not None
    with index.writing() as writer:
        writer.remove(next(row for (row,) in _rows(texts)))
        writer.commit(index.state)
    assert pages(texts) == 2
    following.follow(texts.folder)
    assert pages(texts) == 3 == len(written)


def _rows(texts: Texts) -> list[tuple[int]]:
    db = sqlite3.connect(texts.folder / "catalog.sqlite")
    rows = db.execute("SELECT rowid FROM pages").fetchall()
    db.close()
    return rows


def test_changes_that_were_followed_are_forgotten(texts: Texts):
    for number in range(4):
        texts.put(f"{number}.pdf", ["words"] * 5)
    db = sqlite3.connect(texts.folder / "catalog.sqlite")
    assert db.execute("SELECT count(*) FROM text_changes").fetchone() == (1,)
    db.close()


def test_going_back_to_fts5_leaves_nothing_of_tantivy(texts: Texts, caplog: pytest.LogCaptureFixture):
    following.choose(texts.folder, "fts5")
    assert not (texts.folder / "tantivy").exists()
    assert texts.corpus.text_index == "fts5"
    assert len(texts.search("amber")) == 2 and not caplog.text
    db = sqlite3.connect(texts.folder / "catalog.sqlite")
    assert db.execute("SELECT name FROM sqlite_master WHERE name LIKE 'text_%'").fetchall() == []
    db.close()
    texts.put("c.pdf", ["cobalt"])
    following.choose(texts.folder, "tantivy")
    following.follow(texts.folder)
    assert pages(texts) == 4


def test_an_uncommitted_change_of_the_index_is_none(texts: Texts):
    index = TantivyText.open(texts.folder / "tantivy")
    with pytest.raises(RuntimeError), index.writing() as writer:
        writer.remove(1)
        raise RuntimeError
    assert pages(texts) == 3
    texts.put("c.pdf", ["cobalt"])
    assert pages(texts) == 4


def test_without_tantivy_the_extra_is_named_before_anything_is_searched_or_read(
    texts: Texts, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "tantivy", None)
    for use in (
        lambda: open_retriever(texts.corpus),
        lambda: Corpus.open(texts.folder).search("amber", 1),
        lambda: following.choose(texts.folder, None),
    ):
        with pytest.raises(UsageError, match=r"pip install 'vrag\[tantivy\]'.*--text fts5"):
            use()
    following.choose(texts.folder, "fts5")
    assert len(texts.search("amber")) == 2


def test_searches_go_on_in_threads_while_pages_come_and_go(texts: Texts):
    from concurrent.futures import ThreadPoolExecutor

    def ask(_: int) -> int:
        return len(texts.search("amber"))

    with ThreadPoolExecutor(4) as pool:
        for number in range(3):
            counts = pool.map(ask, range(40))
            texts.put(f"{number}.pdf", ["cobalt"])
            assert set(counts) == {2}
