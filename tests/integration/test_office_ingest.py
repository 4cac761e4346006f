"""Office documents become pages under their own names; with the real LibreOffice where it is there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from PIL import Image

from tests.offices import fake_soffice, write_docx, write_pptx, write_xlsx
from tests.papers import write_pdf
from vrag.cli import main
from vrag.corpus.ingest import ingest
from vrag.corpus.office import find_soffice
from vrag.corpus.options import IngestOptions
from vrag.corpus.store import Corpus
from vrag.types import PageRef

OPTIONS = IngestOptions(workers=1, ocr="off")
real = pytest.mark.skipif(find_soffice() is None, reason="LibreOffice isn't installed")


@pytest.fixture
def corpus(tmp_path: Path) -> Generator[Corpus]:
    with Corpus.create(tmp_path / "corpus") as made:
        yield made


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The log of a `soffice` that makes two pages of any document."""
    pdf = write_pdf(tmp_path / "made.pdf", ["The amber harbour", "opened in 1984"])
    log = fake_soffice(tmp_path / "bin", f'cp {pdf} "$out/document.pdf"')
    monkeypatch.setenv("PATH", f"{log.parent}{os.pathsep}{os.environ['PATH']}")
    return log


def converted(corpus: Corpus) -> list[str]:
    return sorted(file.name for file in (corpus.folder / "converted").rglob("*"))


def test_pages_have_the_documents_name_and_a_rerun_converts_nothing(
    corpus: Corpus, tmp_path: Path, calls: Path
) -> None:
    docs = tmp_path / "docs"
    write_docx(docs / "report.docx", ["x"])
    (docs / "copy.docx").write_bytes((docs / "report.docx").read_bytes())
    write_pdf(docs / "plain.pdf", ["plain"])
    first = ingest([docs], corpus, OPTIONS)
    assert (first.pages_added, first.office.converted, first.failures) == (3, 1, [])
    assert {hit.ref for hit in corpus.search("opened", 5)} == {PageRef(document="copy.docx", page=2)}
    assert corpus.resolve(PageRef(document="report.docx", page=2)) == corpus.search("opened", 5)[0].page_id
    assert converted(corpus) == []
    again = ingest([docs], corpus, OPTIONS)
    assert (again.pages_added, again.unchanged, again.office.converted) == (0, 3, 0)
    assert len(calls.read_text().split()) == 1


def test_a_run_that_was_killed_between_conversion_and_pages_converts_once(
    corpus: Corpus, tmp_path: Path, calls: Path
) -> None:
    document = write_docx(tmp_path / "docs/report.docx", ["x"])
    code = "import sys; from vrag.cli import main; main(sys.argv[1:])"
    command = ["index", str(document.parent), "-c", str(corpus.folder), "--workers", "1", "--ocr", "off"]
    environment = {**os.environ, "VRAG_KILL_AT": "ingest.page:2"}
    assert subprocess.run([sys.executable, "-c", code, *command], env=environment, capture_output=True).returncode < 0
    assert corpus.count() == 0 and len(converted(corpus)) == 1
    assert ingest([document.parent], corpus, OPTIONS).pages_added == 2
    assert len(calls.read_text().split()) == 1 and converted(corpus) == []


def test_a_document_that_is_gone_before_it_was_read_leaves_nothing(corpus: Corpus, tmp_path: Path, calls: Path) -> None:
    docs = write_pdf(tmp_path / "docs/plain.pdf", ["plain"]).parent
    (corpus.folder / "converted/tmp/7").mkdir(parents=True)
    (corpus.folder / "converted/tmp/7/document.docx").touch()
    (corpus.folder / f"converted/{'0' * 24}.pdf").touch()
    ingest([docs], corpus, OPTIONS)
    assert converted(corpus) == []


def test_without_libreoffice_just_these_documents_wait_until_it_is_there(
    corpus: Corpus, tmp_path: Path, calls: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    docs = write_docx(tmp_path / "docs/report.docx", ["x"]).parent
    write_pdf(docs / "plain.pdf", ["plain"])
    command = ["index", str(docs), "-c", str(corpus.folder), "--workers", "1", "--ocr", "off"]
    with monkeypatch.context() as without:
        without.setenv("PATH", str(docs))
        report = ingest([docs], corpus, OPTIONS)
        assert (report.pages, report.office.waiting, report.failures) == (1, ["report.docx"], [])
        assert [(one.document, one.stage) for one in report.office.left()] == [("report.docx", "convert")]
        assert main(command) == 0
        said = capsys.readouterr().err
    assert "report.docx" in said and "apt-get install libreoffice-writer" in said
    assert main(command) == 0
    assert "3 pages (2 pages added" in capsys.readouterr().out


# ------------------------------------------------------------------------------ the real LibreOffice


class Web(BaseHTTPRequestHandler):
    """Counts who asks."""

    asked: list[str]

    def handle_one_request(self) -> None:
        self.asked.append(str(self.rfile.readline()))
        self.close_connection = True


@pytest.fixture
def web() -> Generator[tuple[str, list[str]]]:
    asked: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Counting", (Web,), {"asked": asked}))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join(10)
    server.server_close()


@real
def test_tables_of_text_rtf_and_documents_with_macros_become_pages(
    corpus: Corpus, tmp_path: Path, web: tuple[str, list[str]]
) -> None:
    url, asked = web
    docs = write_docx(tmp_path / "docs/macros.docm", ["The amber harbour opened"]).parent
    fetched = f'=WEBSERVICE("{url}/c")'
    (docs / "prices.csv").write_text(f"Größe;Preis\nLampe;1.234,50\n{fetched};7\n", encoding="utf-8")
    (docs / "old.csv").write_bytes("Müller,Bern\n".encode("cp1252"))
    (docs / "letter.rtf").write_bytes(rb"{\rtf1\ansi The kelp farm was sold.\par}")
    report = ingest([docs], corpus, OPTIONS)
    assert (report.failures, report.pages, report.office.converted) == ([], 4, 4)
    found = {page.ref.document: " ".join(page.text.split()) for page in corpus.pages()}
    assert found["prices.csv"].startswith(f"prices Page 1 Größe Preis Lampe 1.234,50 {fetched}")
    assert found["old.csv"] == "old Page 1 Müller Bern" and found["letter.rtf"] == "The kelp farm was sold."
    assert found["macros.docm"] == "The amber harbour opened"
    assert asked == []


@real
def test_documents_of_each_kind_become_pages_and_reach_neither_the_network_nor_another_file(
    corpus: Corpus, tmp_path: Path, web: tuple[str, list[str]]
) -> None:
    url, asked = web
    docs, red = tmp_path / "docs", tmp_path / "red.png"
    Image.new("RGB", (50, 50), "red").save(red)
    write_docx(docs / "a.docx", ["The amber harbour opened", "The kelp farm was sold"], red.as_uri())
    write_docx(docs / "b.docx", ["The dune"], f"{url}/b.png")
    write_xlsx(docs / "c.xlsx", [["Year", "Sales"], ["2020", "4812"], [f'=_xlfn.WEBSERVICE("{url}/c")', "=40+2"]])
    write_pptx(docs / "d.pptx", ["Harbour figures", "Basalt & cobalt"])
    links = f'<link rel="stylesheet" href="{url}/e.css"><img src="{url}/e.png"><img src="{red.as_uri()}" width="300">'
    (docs / "e.html").write_text(f"<!DOCTYPE html><html><body><h1>Fjord report</h1>{links}<p>garnet</p></body></html>")
    report = ingest([docs], corpus, OPTIONS)
    assert report.failures == [] and report.office.converted == 5
    texts = {(page.ref.document, page.ref.page): page.text.split() for page in corpus.pages()}
    assert [" ".join(texts[key]) for key in [("a.docx", 1), ("a.docx", 2)]] == [
        "The amber harbour opened",
        "The kelp farm was sold",
    ]
    assert {"2020", "4812", "42"} <= set(texts["c.xlsx", 1])
    assert texts["d.pptx", 2] == ["Basalt", "&", "cobalt"]
    assert texts["e.html", 1] == ["Fjord", "report", "garnet"]
    assert asked == []
    for page in corpus.pages():
        image = corpus.image(page.id)
        assert not any(r > 200 and g < 60 for _, (r, g, _) in image.getcolors(image.width * image.height) or [])
    ink = corpus.image(corpus.resolve(PageRef(document="d.pptx", page=1))).convert("L").getextrema()
    assert ink[0] < 60 and ink[1] == 255, "the page shows its text"
