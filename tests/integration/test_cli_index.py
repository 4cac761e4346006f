"""`vrag index` and `vrag search` as a person or a script uses them."""

from __future__ import annotations

import json
import os
import resource
import secrets
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engines import BLANK, RAISES, write_scans
from tests.papers import write_pdf, write_report
from vrag.cli import main
from vrag.corpus import store
from vrag.corpus.ingest import ingest
from vrag.corpus.options import IngestOptions
from vrag.corpus.removal import take_back
from vrag.corpus.store import Corpus
from vrag.corpus.writer import sole_writer
from vrag.index.tantivy_text import TantivyText
from vrag.types import Page


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    write_report(tmp_path / "docs/report.pdf", 1, 2)
    return tmp_path / "docs"


def vrag(*args: object) -> int:
    return main([str(arg) for arg in args])


def test_index_then_search(docs: Path, capsys: pytest.CaptureFixture[str]):
    assert vrag("index", docs, "-c", "mine", "--workers", 1, "--ocr", "off") == 0
    assert "2 pages added" in capsys.readouterr().out
    assert vrag("search", "Report 1 page 2", "-c", "mine", "-k", 1) == 0
    assert "report.pdf" in capsys.readouterr().out


def test_json_is_all_that_stdout_holds(docs: Path, capsys: pytest.CaptureFixture[str]):
    (docs / "bad.pdf").write_bytes(b"%PDF-bad")
    assert vrag("index", docs, "-c", "mine", "--workers", 1, "--json") == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert report["pages"] == 2
    assert [failure["document"] for failure in report["failures"]] == ["bad.pdf"]
    assert "bad.pdf" in err and "damaged" in err
    assert vrag("search", "page", "-c", "mine", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [hit["ref"]["page"] for hit in found["hits"]] == [1, 2]
    assert "page" in found["hits"][0]["snippet"]


def test_an_emptied_folder_is_said_and_fails(docs: Path, capsys: pytest.CaptureFixture[str]):
    vrag("index", docs, "-c", "mine", "--workers", 1)
    (docs / "report.pdf").unlink()
    assert vrag("index", docs, "-c", "mine") == 1
    assert "--emptied" in " ".join(capsys.readouterr().err.split())
    assert vrag("search", "Report", "-c", "mine") == 0
    assert "report.pdf" in capsys.readouterr().out
    assert vrag("index", docs, "-c", "mine", "--emptied") == 0
    assert "1 document gone" in capsys.readouterr().out


def test_a_first_run_that_finds_no_document_leaves_no_corpus(docs: Path):
    (docs / "report.pdf").unlink()
    assert vrag("index", docs, "-c", "mine", "--workers", 1) == 1
    assert store.names() == []
    write_report(docs / "report.pdf", 1, 2)
    assert vrag("index", docs, "-c", "mine", "--workers", 1) == 0
    assert store.names() == ["mine"]


def test_a_first_run_that_finds_no_document_makes_no_vectors_either(docs: Path):
    (docs / "report.pdf").unlink()
    assert vrag("index", docs, "-c", "mine", "--workers", 1, "--encoder", "tests.colours:ColourEncoder") == 1
    assert store.names() == []


def test_search_by_text_refuses_a_kernel_and_a_device(docs: Path, capsys: pytest.CaptureFixture[str]):
    vrag("index", docs, "-c", "mine", "--workers", 1)
    for by in ("text", "auto"):
        for chosen in (("--kernel", "torch", "--device", "cuda:7"), ("--kernel", "numpy"), ("--device", "cpu")):
            assert vrag("search", "Report", "-c", "mine", "--by", by, *chosen) == 2
            assert "choose no kernel and no device" in capsys.readouterr().err


def test_a_page_that_leaves_before_its_snippet_is_made_is_no_hit(
    docs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    write_report(docs / "leaves.pdf", 2, 1)
    vrag("index", docs, "-c", "mine", "--workers", 1)
    capsys.readouterr()
    page = Corpus.page

    def leaves_first(corpus: Corpus, id: str) -> Page:
        if (docs / "leaves.pdf").exists():
            (docs / "leaves.pdf").unlink()
            ingest(docs, corpus, IngestOptions(workers=1, ocr="off"))
        return page(corpus, id)

    monkeypatch.setattr(Corpus, "page", leaves_first)
    assert vrag("search", "Report", "-c", "mine", "--json") == 0
    hits = json.loads(capsys.readouterr().out)["hits"]
    assert [hit["ref"]["document"] for hit in hits] == ["report.pdf", "report.pdf"]


def test_a_first_run_that_finds_no_document_takes_nothing_else_away(docs: Path, tmp_path: Path):
    (docs / "report.pdf").unlink()
    site = tmp_path / "site"
    for own in ("pages/index.html", "uploads/photo.svg"):
        (site / own).parent.mkdir(parents=True)
        (site / own).write_text("mine")
    assert vrag("index", docs, "-c", site, "--workers", 1) == 1
    assert sorted(file.name for file in site.rglob("*.*")) == ["index.html", "photo.svg"]
    (tmp_path / "empty").mkdir()
    assert vrag("index", docs, "-c", tmp_path / "empty", "--workers", 1) == 1
    assert list((tmp_path / "empty").iterdir()) == [], "the folder was there before, and stays"


def test_a_corpus_made_in_vain_stays_when_somebody_uses_it_meanwhile(docs: Path, tmp_path: Path):
    with Corpus.create(tmp_path / "used") as corpus:
        ingest(docs, corpus, IngestOptions(workers=1, ocr="off"))
    Corpus.create(tmp_path / "busy").close()
    with sole_writer(tmp_path / "busy"):
        take_back(tmp_path / "busy", keep_folder=False)
    Corpus.create(tmp_path / "upload").close()
    write_report(tmp_path / "upload/uploads/report.pdf", 1, 1)
    for name in ("used", "upload"):
        take_back(tmp_path / name, keep_folder=False)
    for name in ("used", "busy", "upload"):
        Corpus.open(tmp_path / name).close()
    assert (tmp_path / "upload/uploads/report.pdf").is_file()


def test_a_corpus_that_another_run_has_just_made_is_opened(docs: Path, monkeypatch: pytest.MonkeyPatch):
    write_report(docs.parent / "others/other.pdf", 2, 3)
    token = secrets.token_hex

    def another_is_quicker(size: int) -> str:
        monkeypatch.setattr(secrets, "token_hex", token)
        assert vrag("index", docs, "-c", "mine", "--workers", 1) == 0
        return token(size)

    monkeypatch.setattr(secrets, "token_hex", another_is_quicker)
    assert vrag("index", docs.parent / "others", "-c", "mine", "--workers", 1) == 0
    with Corpus.open("mine") as made:
        assert [document.name for document in made.documents()] == ["report.pdf", "other.pdf"]


def test_a_new_name_that_is_also_a_folder_here_is_said(
    docs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(docs.parent)
    vrag("index", docs, "-c", "./snap", "--workers", 1)
    assert "another corpus" not in capsys.readouterr().err
    vrag("index", docs, "-c", "snap", "--workers", 1)
    assert "this makes another corpus than ./snap, in" in capsys.readouterr().err
    vrag("index", docs, "-c", "snap", "--workers", 1)
    assert "another corpus" not in capsys.readouterr().err, "it isn't new any more"


def test_nothing_found_is_said_on_stderr(docs: Path, capsys: pytest.CaptureFixture[str]):
    vrag("index", docs, "-c", "mine", "--workers", 1)
    capsys.readouterr()
    assert vrag("search", "zebra", "-c", "mine") == 0
    out, err = capsys.readouterr()
    assert out == "" and "no page" in err


def test_when_nothing_could_be_indexed_the_exit_code_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "bad.pdf").write_bytes(b"junk")
    assert vrag("index", tmp_path / "bad.pdf", "-c", "one", "--workers", 1) == 1
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/notes.txt").write_text("hello")
    assert vrag("index", tmp_path / "empty", "-c", "two") == 1
    assert "no document found there (but 1 .txt)" in capsys.readouterr().err


def test_files_of_other_kinds_are_counted_in_one_line(docs: Path, capsys: pytest.CaptureFixture[str]):
    for name in ("a.txt", "b.txt", "c.md"):
        (docs / name).write_text("hello")
    assert vrag("index", docs, "-c", "mine", "--workers", 1) == 0
    assert "files of other kinds, which were left out: 2 .txt, 1 .md\n" in capsys.readouterr().err


def test_after_a_kill_a_file_that_was_read_in_part_is_not_as_before(docs: Path, capsys: pytest.CaptureFixture[str]):
    write_report(docs / "long.pdf", 2, 5)
    command = [sys.executable, "-m", "vrag", "index", docs, "-c", "mine", "--workers", "1", "--ocr", "off"]
    killed = subprocess.run(command, env={**os.environ, "VRAG_KILL_AT": "ingest.page:3"}, capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    assert vrag(*command[3:]) == 0
    assert "7 pages (7 pages added, 0 of 2 files as before" in capsys.readouterr().out
    assert vrag(*command[3:]) == 0
    assert "7 pages (0 pages added, 2 of 2 files as before" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["index", "/no/such/path", "-c", "x"], "no such file or folder: /no/such/path"),
        (["index", ".", "-c", "../x/.."[:2]], "no corpus name"),
        (["index", ".", "-c", "a b"], "no corpus name"),
        (["serch"], "did you mean `vrag search`"),
        (["index", "."], "--corpus"),
    ],
)
def test_a_wrong_use_is_one_line_and_exit_code_2(args: list[str], said: str, capsys: pytest.CaptureFixture[str]):
    assert main(args) == 2
    assert said in capsys.readouterr().err


def test_searching_a_corpus_that_is_not_there_names_the_way_out(capsys: pytest.CaptureFixture[str]):
    assert vrag("search", "x", "-c", "nothing") == 1
    assert "vrag index PATH --corpus nothing" in capsys.readouterr().err


def test_the_resolution_is_fixed_when_the_corpus_is_made(docs: Path, capsys: pytest.CaptureFixture[str]):
    assert vrag("index", docs, "-c", "low", "--dpi", 50, "--workers", 1) == 0
    assert vrag("index", docs, "-c", "low", "--workers", 1) == 0
    assert vrag("index", docs, "-c", "low", "--dpi", 150) == 2
    assert "50 dpi" in capsys.readouterr().err


def test_names_cannot_steer_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_pdf(tmp_path / "docs/\x1b[31m[bold]red.pdf", ["harmless"])
    (tmp_path / "docs/\x1b[2Jbad.pdf").write_bytes(b"junk")
    assert vrag("index", tmp_path / "docs", "-c", "mine", "--workers", 1) == 0
    assert vrag("search", "harmless", "-c", "mine") == 0
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err
    assert "[bold]red.pdf" in out


def test_a_corpus_can_be_a_path(docs: Path, tmp_path: Path):
    assert vrag("index", docs, "-c", tmp_path / "here", "--workers", 1) == 0
    assert (tmp_path / "here/catalog.sqlite").is_file()


def test_help_is_instant_and_lists_the_verbs():
    command = [sys.executable, "-m", "vrag", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "index" in shown and "search" in shown
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime <= 0.3  # a busy machine aside


@pytest.mark.parametrize("args", [["index", "--help"], ["search", "--help"], ["--version"], []])
def test_help_and_version_are_no_errors(args: list[str]):
    assert main(args) == 0


def test_importing_the_verbs_of_the_corpus_imports_no_model_library():
    heavy = {"torch", "transformers", "reportlab", "rapidocr", "numpy"}
    code = f"import sys, vrag.cli.index, vrag.cli.search, vrag.retriever; print({heavy} & sys.modules.keys())"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "set()"


def test_tantivy_is_chosen_once_and_remembered(docs: Path, capsys: pytest.CaptureFixture[str]):
    assert vrag("index", docs, "-c", "mine", "--workers", 1, "--text", "tantivy") == 0
    assert "text by tantivy" in capsys.readouterr().out
    write_report(docs / "more.pdf", 7, 1)
    assert vrag("index", docs, "-c", "mine", "--workers", 1, "--json") == 0
    assert json.loads(capsys.readouterr().out)["text_index"] == "tantivy"
    assert vrag("search", "Report 7", "-c", "mine", "-k", 1) == 0
    out, err = capsys.readouterr()
    assert "more.pdf" in out and err == ""
    assert vrag("index", docs, "-c", "mine", "--workers", 1, "--text", "fts5", "--json") == 0
    assert json.loads(capsys.readouterr().out)["text_index"] == "fts5"


def test_without_tantivy_a_corpus_that_uses_it_names_the_extra(
    docs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    vrag("index", docs, "-c", "mine", "--workers", 1, "--text", "tantivy")
    capsys.readouterr()
    monkeypatch.setitem(sys.modules, "tantivy", None)
    for command in (["search", "page", "-c", "mine"], ["index", docs, "-c", "mine"]):
        assert vrag(*command) == 2
        assert "pip install 'vrag[tantivy]'" in capsys.readouterr().err


ENGINE = ["--workers", "1", "--ocr-engine", "tests.engines:Grey"]


def test_pages_that_wait_for_ocr_are_counted_and_read_by_the_next_run_without_paths(
    docs: Path, capsys: pytest.CaptureFixture[str]
):
    write_scans(docs / "scans.tif", [1, 2])
    assert vrag("index", docs, "-c", "mine", *ENGINE, "--ocr", "off") == 0
    out, err = capsys.readouterr()
    assert "4 pages added" in out and "OCR" not in out
    assert err.splitlines()[-1] == "pages that wait for OCR: 2; `vrag index --corpus mine` reads them"
    assert "text search" not in err, "they are named once"
    assert vrag("index", "-c", "mine", *ENGINE) == 0
    out, err = capsys.readouterr()
    assert "mine: 2 pages by OCR (0 wait, 0 failures" in out and err == ""
    assert vrag("search", "n2", "-c", "mine") == 0
    assert "scans.tif" in capsys.readouterr().out
    assert vrag("index", "-c", "mine", *ENGINE, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["vectors"] is None
    assert (report["ocr"]["pages"], report["ocr"]["owed"], report["ocr"]["failures"]) == (0, 0, [])


def test_blank_pages_are_left_out_and_named_so(docs: Path, capsys: pytest.CaptureFixture[str]):
    write_pdf(docs / "gaps.pdf", ["first", "", "", "last"])
    write_scans(docs / "scans.tif", [1, BLANK])
    assert vrag("index", docs, "-c", "mine", *ENGINE) == 0
    out, err = capsys.readouterr()
    assert "mine: 2 pages by OCR (0 wait" in out
    assert err.splitlines() == ["blank pages: 2", "pages on which OCR read nothing, which text search can't find: 1"]


def test_indexing_says_what_can_be_searched_before_ocr_begins(docs: Path, capsys: pytest.CaptureFixture[str]):
    write_scans(docs / "scans.tif", [1, RAISES])
    assert vrag("index", docs, "-c", "mine", *ENGINE) == 0
    out, err = capsys.readouterr()
    first, second = out.splitlines()
    assert "4 pages added" in first and "mine: 1 page by OCR (0 wait, 1 failure;" in second
    assert "scans.tif" in err and "too faint" in err and "wait for OCR" not in err
    assert vrag("index", docs, "-c", "mine", *ENGINE, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["pages"], report["failures"], report["ocr"]["pages"]) == (4, [], 0)
    assert [failure["page"] for failure in report["ocr"]["failures"]] == [2]


def test_ocr_that_cannot_run_fails_only_a_run_that_asks_for_nothing_else(
    docs: Path, capsys: pytest.CaptureFixture[str]
):
    write_scans(docs / "scans.tif", [1])
    broken = ["--workers", "1", "--ocr-engine", "tests.engines:never_loads"]
    assert vrag("index", docs, "-c", "mine", *broken) == 0
    assert "1 (OCR engine tests.engines:never_loads doesn't load: RuntimeError" in capsys.readouterr().err
    assert vrag("index", "-c", "mine", *broken) == 1
    assert "pages that wait for OCR: 1 (OCR engine" in capsys.readouterr().err
    assert vrag("index", "-c", "mine", *broken, "--ocr", "off") == 0


def test_without_the_extra_force_is_an_error_and_auto_says_how_many_pages_wait(
    docs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("vrag.corpus.ocr.ocr_available", lambda: False)
    write_scans(docs / "scans.tif", [1])
    assert vrag("index", docs, "-c", "mine", "--workers", 1) == 0
    assert "pages that wait for OCR: 1 (OCR isn't installed: pip install 'vrag[ocr]')" in capsys.readouterr().err
    assert vrag("index", docs, "-c", "mine", "--ocr", "force") == 2
    assert "pip install 'vrag[ocr]'" in capsys.readouterr().err


def test_without_paths_the_text_index_can_be_chosen_but_nothing_of_pages_that_are_read(
    docs: Path, capsys: pytest.CaptureFixture[str]
):
    assert vrag("index", docs, "-c", "mine", "--workers", 1) == 0
    assert vrag("index", "-c", "mine", "--text", "tantivy") == 0
    with Corpus.open("mine") as corpus:
        assert corpus.text_index == "tantivy"
        assert TantivyText.open(corpus.folder / "tantivy").pages == 2
    capsys.readouterr()
    assert vrag("index", "-c", "mine", "--dpi", 150) == 2
    assert "--dpi" in capsys.readouterr().err
    assert vrag("index", "-c", "nowhere") == 1
    assert "vrag index PATH --corpus nowhere" in capsys.readouterr().err
