"""`vrag corpora`: what there is, and how one of them is removed."""

from __future__ import annotations

import io
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.colours import ColourEncoder
from tests.papers import write_report
from vrag.cli import main
from vrag.corpus.paths import corpus_folder
from vrag.corpus.recognition import sole_recogniser
from vrag.corpus.store import Corpus, names
from vrag.corpus.writer import sole_writer
from vrag.embed import embed, make_index
from vrag.errors import CorpusError
from vrag.index.vectors import EncoderName


@pytest.fixture
def folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """That of a corpus called "mine", of one file that can be read and one that can't."""
    write_report(tmp_path / "docs/report.pdf", 1, 2)
    (tmp_path / "docs/bad.pdf").write_bytes(b"junk")
    assert vrag("index", tmp_path / "docs", "-c", "mine", "--workers", 1) == 0
    capsys.readouterr()
    return corpus_folder("mine")


def vrag(*args: object) -> int:
    return main([str(arg) for arg in args])


def test_corpora_are_listed_with_what_they_hold(folder: Path, capsys: pytest.CaptureFixture[str]):
    encoder = ColourEncoder()
    with Corpus.open("mine") as corpus:
        index = make_index(corpus, encoder, EncoderName(name="tests.colours:ColourEncoder"))
        embed(corpus, encoder, index)
        index.close()  # else its files change when it is collected
    assert vrag("corpora", "--json") == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert one.pop("bytes") == sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    assert one == {
        "name": "mine", "folder": str(folder), "documents": 1, "pages": 2, "vectors": 2, "vectors_at": None,
        "problem": None,
    }  # fmt: skip
    assert vrag("corpora") == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[1].split()[:4] == ["mine", "1", "2", "2"]
    assert str(folder.parent) in err.replace("\n", "")


def test_a_corpus_that_cannot_be_opened_stops_no_other(folder: Path, capsys: pytest.CaptureFixture[str]):
    newer = Corpus.create("newer").folder
    with sqlite3.connect(newer / "catalog.sqlite") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    assert vrag("corpora", "--json") == 0
    mine, other = json.loads(capsys.readouterr().out)
    assert (mine["pages"], other["pages"]) == (2, None)
    assert "newer vrag" in other["problem"]


def test_what_a_killed_snapshot_leaves_is_no_corpus(folder: Path):
    shutil.copytree(folder, folder.with_name(".backup.partial"))
    assert names() == ["mine"]


def test_without_corpora_the_place_is_named(capsys: pytest.CaptureFixture[str]):
    assert vrag("corpora") == 0
    assert "no corpus yet in" in capsys.readouterr().err


def test_a_removed_corpus_is_gone_and_its_documents_stay(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert vrag("corpora", "remove", "mine", "--yes") == 0
    assert "mine: removed" in capsys.readouterr().out
    assert not folder.exists() and names() == []
    assert (tmp_path / "docs/report.pdf").is_file()


def test_without_a_terminal_removal_needs_a_yes(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert vrag("corpora", "remove", "mine") == 2
    assert "give --yes" in capsys.readouterr().err
    assert names() == ["mine"]


@pytest.mark.parametrize(("answer", "left"), [("n\n", ["mine"]), ("y\n", [])])
def test_on_a_terminal_it_asks(
    folder: Path, answer: str, left: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    assert vrag("corpora", "remove", "mine") == (1 if left else 0)
    assert f"Remove {folder}: 2 pages" in capsys.readouterr().err
    assert names() == left


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("lock", [sole_writer, sole_recogniser])
def test_a_corpus_that_is_written_to_is_not_removed(folder: Path, lock, capsys: pytest.CaptureFixture[str]):
    with lock(folder):
        assert vrag("corpora", "remove", "mine", "--yes") == 1
    assert "another process is" in capsys.readouterr().err
    with Corpus.open("mine") as corpus:
        assert corpus.image(next(corpus.pages()).id)
    assert vrag("corpora", "remove", "mine", "--yes") == 0


def test_only_a_corpus_is_removed_and_of_its_folder_only_what_is_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    write_report(tmp_path / "docs/report.pdf", 1, 2)
    assert vrag("corpora", "remove", tmp_path / "docs", "--yes") == 1
    assert "holds no corpus" in capsys.readouterr().err
    (tmp_path / "docs/catalog.sqlite").write_bytes(b"")
    assert vrag("corpora", "remove", tmp_path / "docs", "--yes") == 1
    (tmp_path / "docs/catalog.sqlite").unlink()
    assert vrag("index", tmp_path / "docs", "-c", tmp_path / "docs", "--workers", 1) == 0
    assert vrag("corpora", "remove", tmp_path / "docs", "--yes") == 0
    assert "holds other things, and stays: report.pdf" in capsys.readouterr().err
    assert [file.name for file in (tmp_path / "docs").iterdir()] == ["report.pdf"]


def test_what_a_link_in_the_folder_points_to_stays(folder: Path, tmp_path: Path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/manual.pdf").write_bytes(b"precious")
    (folder / "uploads").symlink_to(tmp_path / "kept")
    assert vrag("corpora", "remove", "mine", "--yes") == 0
    assert not folder.exists() and (tmp_path / "kept/manual.pdf").read_bytes() == b"precious"


@pytest.mark.parametrize("chosen", [None, "active"])
def test_threads_that_wait_leave_the_cores_to_others_unless_told(chosen: str | None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", chosen or "")
    if chosen is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    assert vrag("corpora") == 0
    assert os.environ["OMP_WAIT_POLICY"] == (chosen or "passive")


def test_who_interrupts_a_command_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vrag.cli.corpora.overviews", interrupted)
    assert vrag("corpora") == 130
    assert capsys.readouterr().err == "vrag: interrupted\n"


@pytest.mark.parametrize("what", [Corpus.open, Corpus.create])
def test_a_path_that_the_file_system_cant_hold_is_no_corpus(what: Callable[[str], Corpus], tmp_path: Path):
    with pytest.raises(CorpusError):
        what(f"{tmp_path}/{'x' * 300}")
