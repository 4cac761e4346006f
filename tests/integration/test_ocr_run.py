"""Pages that wait for OCR: what a run does with them, what it leaves, and what others see meanwhile. A fake engine
reads scans in real worker processes.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from tests.colours import ColourEncoder
from tests.engines import BLANK, CRASHES, HANGS, RAISES, write_scans, write_stamped
from tests.papers import write_pdf, write_report
from vrag.corpus import recognition
from vrag.corpus.fulltext import TextIndex
from vrag.corpus.ingest import ingest
from vrag.corpus.options import IngestOptions, Progress
from vrag.corpus.recognition import OcrReport, recognise
from vrag.corpus.snapshot import snapshot
from vrag.corpus.store import Corpus
from vrag.embed import embed, make_index
from vrag.errors import CorpusError, UsageError
from vrag.index.tantivy_text import TantivyText
from vrag.index.vectors import EncoderName
from vrag.types import PageRef

LATER = IngestOptions(workers=1, ocr="off")
OPTIONS = IngestOptions(workers=1, ocr_engine="tests.engines:Grey", batch_pages=2)


@pytest.fixture(autouse=True)
def no_batch_is_cut_short_on_a_busy_machine(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(recognition, "BATCH_SECONDS", 1e9)


@pytest.fixture
def corpus(tmp_path: Path):
    with Corpus.create(tmp_path / "corpus") as made:
        yield made


def found(corpus: Corpus, query: str) -> list[PageRef]:
    return [hit.ref for hit in corpus.search(query, 100)]


def pages(document: str, *numbers: int) -> list[PageRef]:
    return [PageRef(document=document, page=number) for number in numbers]


def page(corpus: Corpus, document: str, number: int = 1):
    return corpus.page(corpus.resolve(PageRef(document=document, page=number)))


def test_pages_are_there_with_vectors_before_ocr_and_found_by_their_words_after_it(corpus: Corpus, tmp_path: Path):
    report = ingest([write_scans(tmp_path / "scans.tif", [1, 2, 3])], corpus, LATER)
    assert (report.pages_added, report.ocr.owed, report.ocr.pages, report.ocr.not_done) == (3, 3, 0, None)
    encoder = ColourEncoder()
    assert (
        embed(corpus, encoder, make_index(corpus, encoder, EncoderName(name="tests.colours:ColourEncoder"))).added == 3
    )
    assert found(corpus, "scan") == []
    report = recognise(corpus, OPTIONS)
    assert (report.pages, report.owed, report.without_text, report.failures, report.not_done) == (3, 0, 0, [], None)
    assert found(corpus, "n2") == pages("scans.tif", 2)
    assert page(corpus, "scans.tif", 2).text_source == "ocr"
    assert [word.text for word in corpus.words(page(corpus, "scans.tif", 2).id)] == ["Page7", "scan", "number", "n2"]
    assert recognise(corpus, OPTIONS).pages == 0


def test_indexing_with_ocr_does_both(corpus: Corpus, tmp_path: Path):
    report = ingest([write_scans(tmp_path / "scans.tif", [1, BLANK])], corpus, OPTIONS)
    assert (report.pages_added, report.ocr.pages, report.ocr.owed, report.ocr.without_text) == (2, 2, 0, 1)
    assert found(corpus, "n1") == pages("scans.tif", 1)
    assert ingest([tmp_path / "scans.tif"], corpus, OPTIONS).ocr.pages == 0, "a blank page is tried once"


def test_a_blank_page_is_not_looked_at_unless_it_is_forced(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OCR_LOG", str(tmp_path / "log"))
    Image.new("RGB", (240, 320), (250, 250, 250)).save(tmp_path / "sheet.png")
    write_pdf(tmp_path / "gaps.pdf", ["first", ""])
    report = ingest([tmp_path / "sheet.png", tmp_path / "gaps.pdf"], corpus, OPTIONS).ocr
    assert (report.pages, report.owed, report.without_text, report.blank) == (0, 0, 0, 2)
    assert not (tmp_path / "log").exists()
    forced = recognise(corpus, replace(OPTIONS, ocr="force"), paths=[tmp_path / "sheet.png"])
    assert (forced.pages, forced.blank) == (1, 0)


def test_each_batch_can_be_searched_while_the_run_goes_on(corpus: Corpus, tmp_path: Path):
    ingest([write_scans(tmp_path / "scans.tif", [1, 2, 3, 4, 5])], corpus, LATER)
    seen: list[tuple[int, int, int, int]] = []

    def look(progress: Progress) -> None:
        ids = {page.id for page in corpus.pages(text_source="ocr")}
        assert {hit.page_id for hit in corpus.search("scan", 100)} == ids, "text and index agree"
        seen.append((progress.done, progress.total, progress.failed, len(ids)))

    recognise(corpus, OPTIONS, look)
    assert seen == [(0, 5, 0, 0), (1, 5, 0, 0), (2, 5, 0, 2), (3, 5, 0, 2), (4, 5, 0, 4), (5, 5, 0, 4)]


def test_a_page_that_took_long_waits_for_no_other(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(recognition, "BATCH_SECONDS", 0)
    ingest([write_scans(tmp_path / "scans.tif", [1, 2])], corpus, LATER)
    seen: list[int] = []
    recognise(corpus, replace(OPTIONS, batch_pages=64), lambda _: seen.append(len(found(corpus, "scan"))))
    assert seen == [0, 1, 2]


def test_pages_that_fail_are_named_stop_nothing_and_are_tried_again_when_asked(corpus: Corpus, tmp_path: Path):
    path = write_scans(tmp_path / "scans.tif", [1, CRASHES, RAISES, HANGS, 2])
    options = replace(OPTIONS, ocr_seconds=1.0)
    report = ingest([path], corpus, options)
    assert report.failures == []
    reasons = {failure.page: (failure.kind, failure.reason) for failure in report.ocr.failures}
    assert reasons == {
        2: ("UnreadableDocument", "OCR of the page crashed the reader (signal 9)"),
        3: ("UnreadableDocument", "OCR of the page failed: RuntimeError: too faint"),
        4: ("BudgetExceeded", "OCR of the page took longer than 1 s"),
    }
    assert (report.ocr.pages, report.ocr.owed, report.ocr.without_text, report.ocr.not_done) == (2, 0, 3, None)
    assert found(corpus, "scan") == pages("scans.tif", 1, 5)
    again = recognise(corpus, options)
    assert (again.pages, again.owed, again.failures) == (0, 0, report.ocr.failures)
    os.utime(path, ns=(1, 1))  # touched, not changed
    assert ingest([path], corpus, options).ocr.failures == corpus.failures() == report.ocr.failures
    assert ingest([path], corpus, replace(LATER, retry_failed=True)).ocr.failures == report.ocr.failures
    mended = recognise(corpus, replace(options, ocr_engine="tests.engines:Mended", retry_failed=True))
    assert (mended.pages, mended.failures) == (3, [])
    assert len(found(corpus, "scan")) == 5


@pytest.mark.parametrize(
    ("engine", "reason"),
    [
        ("tests.engines:never_loads", "OCR engine tests.engines:never_loads doesn't load: RuntimeError: no model here"),
        ("tests.nowhere:Grey", "OCR engine tests.nowhere:Grey doesn't load: ModuleNotFoundError"),
        ("tests.engines:dies_loading", "the page worker doesn't start"),
    ],
)
def test_an_engine_that_does_not_load_leaves_all_pages_waiting(
    corpus: Corpus, tmp_path: Path, engine: str, reason: str
):
    report = ingest([write_scans(tmp_path / "scans.tif", [1, 2])], corpus, replace(OPTIONS, ocr_engine=engine))
    assert report.ocr.not_done is not None and report.ocr.not_done.startswith(reason)
    assert (report.ocr.pages, report.ocr.owed, report.ocr.failures) == (0, 2, [])
    assert recognise(corpus, OPTIONS).pages == 2


def test_an_engine_that_only_fails_is_given_up_before_it_spoils_all_pages(corpus: Corpus, tmp_path: Path):
    ingest([write_scans(tmp_path / "scans.tif", [1] * 12)], corpus, LATER)
    report = recognise(corpus, replace(OPTIONS, ocr_engine="tests.engines:AlwaysFails"))
    assert (len(report.failures), report.owed) == (recognition.MAX_FAILED, 12 - recognition.MAX_FAILED)
    assert report.not_done is not None and "each of the first" in report.not_done
    assert recognise(corpus, replace(OPTIONS, retry_failed=True)).pages == 12


@pytest.mark.parametrize("engine", ["Grey", "a/b:Grey", "tests.engines:", ""])
def test_a_bad_name_of_an_engine_is_a_usage_error(corpus: Corpus, tmp_path: Path, engine: str):
    for run in (recognise, lambda corpus, options: ingest([tmp_path], corpus, options)):
        with pytest.raises(UsageError, match="module:attribute"):
            run(corpus, replace(OPTIONS, ocr_engine=engine))


def test_only_the_files_that_are_named_are_recognised(corpus: Corpus, tmp_path: Path):
    one, two = (write_scans(tmp_path / f"{name}.tif", [number]) for number, name in enumerate(["one", "two"], 1))
    ingest([one, two], corpus, LATER)
    report = recognise(corpus, OPTIONS, paths=[two])
    assert (report.pages, report.owed) == (1, 0)
    assert found(corpus, "scan") == pages("two.tif", 1)
    assert ingest([two], corpus, LATER).ocr.owed == 0
    assert recognise(corpus, LATER).owed == 1
    assert recognise(corpus, OPTIONS).pages == 1


def test_a_scan_with_a_stamp_gets_the_words_that_its_layer_lacks(corpus: Corpus, tmp_path: Path):
    report = ingest([write_stamped(tmp_path / "stamped.pdf", 5, "Page 7")], corpus, LATER)
    assert (report.ocr.owed, report.ocr.without_text) == (1, 0)
    assert page(corpus, "stamped.pdf").text == "Page 7"
    assert found(corpus, "page 7") == pages("stamped.pdf", 1)
    recognise(corpus, OPTIONS)
    read = page(corpus, "stamped.pdf")
    assert (read.text, read.text_source) == ("Page 7\nscan number n5", "ocr")
    assert [word.text for word in corpus.words(read.id)] == ["Page", "7", "scan", "number", "n5"]
    assert found(corpus, "page 7") == found(corpus, "n5") == pages("stamped.pdf", 1)


def test_where_ocr_reads_nothing_new_the_text_layer_stays(corpus: Corpus, tmp_path: Path):
    path = write_stamped(tmp_path / "title.pdf", BLANK, "Thank you")
    ingest([path], corpus, LATER)
    before = page(corpus, "title.pdf")
    report = recognise(corpus, OPTIONS)
    assert (report.pages, report.owed, report.failures) == (1, 0, [])
    assert page(corpus, "title.pdf") == before and before.text_source == "layer"


def test_pages_with_a_text_layer_are_read_only_by_force(corpus: Corpus, tmp_path: Path):
    path = write_report(tmp_path / "report.pdf", 1, 2)
    assert ingest([path], corpus, OPTIONS).ocr.pages == 0
    report = recognise(corpus, replace(OPTIONS, ocr="force", ocr_engine="tests.engines:SaysForced"))
    assert (report.pages, page(corpus, "report.pdf").text) == (2, "forced")
    assert found(corpus, "amber fjord kelp") == []


def test_a_text_that_the_caller_has_needs_no_ocr(corpus: Corpus, tmp_path: Path):
    path = write_scans(tmp_path / "scans.tif", [1, 2])
    ingest([path], corpus, LATER)
    given = page(corpus, "scans.tif", 1).id
    assert ingest([path], corpus, OPTIONS, texts={given: "from the dataset"}).ocr.pages == 1
    assert page(corpus, "scans.tif", 1).text == "from the dataset"


@pytest.mark.parametrize("text", ["fts5", "tantivy"])
def test_others_index_and_search_while_a_run_goes_on(corpus: Corpus, tmp_path: Path, text: TextIndex):
    old = write_scans(tmp_path / "scans.tif", [1, 2, 3, 4, 5])
    gone = write_scans(tmp_path / "gone.tif", [6, 7])
    ingest([old, gone], corpus, replace(LATER, text=text))
    once: list[OcrReport] = []

    def index(progress: Progress) -> None:
        if progress.stage == "ocr" and progress.done == 3 and not once:
            gone.unlink()
            late = [write_report(tmp_path / "late.pdf", 9, 2), write_scans(tmp_path / "late.tif", [8]), gone]
            report = ingest(late, corpus, OPTIONS)
            assert (report.pages_added, report.documents_removed) == (3, 1)
            assert found(corpus, "Report 9 page 2")[0] == PageRef(document="late.pdf", page=2)
            once.append(report.ocr)

    report = recognise(corpus, OPTIONS, index)
    assert once[0].not_done == f"another process is recognising text of corpus {corpus.folder}" and once[0].owed == 1
    assert (report.failures, report.owed) == ([], 1), "the page that came later waits, those that left are forgotten"
    assert found(corpus, "scan") == pages("scans.tif", 1, 2, 3, 4, 5)
    assert recognise(corpus, OPTIONS).pages == 1
    assert len(found(corpus, "scan")) == 6 and found(corpus, "n8") == pages("late.tif", 1)
    assert corpus.count() == 8
    if text == "tantivy":
        assert len(TantivyText.open(corpus.folder / "tantivy").search("scan", 100)) == 6, "it has followed"


def test_a_run_that_is_indexing_is_left_to_follow_by_itself(corpus: Corpus, tmp_path: Path):
    from vrag.corpus.writer import sole_writer

    ingest([write_scans(tmp_path / "scans.tif", [1, 2])], corpus, replace(LATER, text="tantivy"))
    with sole_writer(corpus.folder):
        assert recognise(corpus, OPTIONS).pages == 2
        assert len(found(corpus, "scan")) == 2, "FTS5 answers"
    assert TantivyText.open(corpus.folder / "tantivy").search("scan", 9) == []
    ingest([tmp_path / "scans.tif"], corpus, LATER)
    assert len(TantivyText.open(corpus.folder / "tantivy").search("scan", 9)) == 2


def test_a_snapshot_taken_amid_a_run_is_whole_and_goes_on_by_itself(corpus: Corpus, tmp_path: Path):
    ingest([write_scans(tmp_path / "scans.tif", [1, 2, 3, 4, 5])], corpus, LATER)

    def copy(progress: Progress) -> None:
        if progress.done == 3:
            snapshot(corpus, tmp_path / "copy")

    recognise(corpus, OPTIONS, copy)
    with Corpus.open(tmp_path / "copy") as copied:
        assert found(copied, "scan") == pages("scans.tif", 1, 2)
        assert (recognise(copied, OPTIONS).pages, len(found(copied, "scan"))) == (3, 5)


def test_a_corpus_of_the_format_before_is_brought_up_and_goes_on(corpus: Corpus, tmp_path: Path):
    import sqlite3

    path = write_scans(tmp_path / "scans.tif", [1, 2])
    ingest([path], corpus, LATER)
    corpus.close()
    downgrade(corpus.folder)
    for _ in range(2):
        with Corpus.open(corpus.folder) as opened:
            assert opened.count() == 2
    with sqlite3.connect(corpus.folder / "catalog.sqlite") as db:
        assert db.execute("PRAGMA user_version").fetchone() == (2,)
    db.close()
    with Corpus.open(corpus.folder) as opened:
        assert recognise(opened, OPTIONS).pages == 2
        assert ingest([path, write_stamped(tmp_path / "stamped.pdf", 5, "Page 7")], opened, OPTIONS).ocr.pages == 1
        assert len(found(opened, "scan")) == 3


def downgrade(folder: Path) -> None:
    """What a catalogue of format 1 was."""
    import sqlite3

    with sqlite3.connect(folder / "catalog.sqlite") as db:
        db.execute("DROP INDEX pages_owed")
        db.execute("ALTER TABLE pages DROP COLUMN scanned")
        db.execute("PRAGMA user_version = 1")
    db.close()


def test_without_the_engine_pages_wait_and_force_is_an_error(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("vrag.corpus.ocr.ocr_available", lambda: False)
    path = write_scans(tmp_path / "scans.tif", [1])
    report = ingest([path], corpus, IngestOptions(workers=1)).ocr
    assert report.not_done == "OCR isn't installed: pip install 'vrag[ocr]'" and report.owed == 1
    for run in (recognise, lambda corpus, options: ingest([path], corpus, options)):
        with pytest.raises(UsageError, match=r"pip install 'vrag\[ocr\]'.*--ocr auto"):
            run(corpus, IngestOptions(workers=1, ocr="force"))


def test_a_corpus_that_cannot_be_written_is_an_error(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import sqlite3

    ingest([write_scans(tmp_path / "scans.tif", [1])], corpus, LATER)

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("vrag.corpus.owed._store", full)
    with pytest.raises(CorpusError, match="free some space"):
        recognise(corpus, OPTIONS)
    monkeypatch.undo()
    assert recognise(corpus, OPTIONS).pages == 1


def test_a_text_that_was_given_stays_when_ocr_is_forced(corpus: Corpus, tmp_path: Path):
    path = write_scans(tmp_path / "scans.tif", [1, 2])
    ingest([path], corpus, LATER)
    given = page(corpus, "scans.tif").id
    for _ in range(2):
        report = ingest([path], corpus, replace(OPTIONS, ocr="force"), texts={given: "from the dataset"})
        assert report.ocr.not_done is None
        assert [page.text_source for page in corpus.pages()] == ["given", "ocr"]
    assert corpus.page(given).text == "from the dataset"


def test_an_engine_may_give_several_lines_in_one_box(corpus: Corpus, tmp_path: Path):
    options = replace(OPTIONS, ocr_engine="tests.engines:Paragraphs")
    assert ingest([write_scans(tmp_path / "scans.tif", [1])], corpus, options).ocr.failures == []
    (id,) = corpus.page_ids()
    words = [(word.text, word.box.as_tuple()) for word in corpus.words(id)]
    assert words == [("two words", (10, 10, 90, 30)), ("and more", (10, 30, 90, 50)), ("end", (100, 12, 120, 28))]
    assert "and more" in corpus.page(id).text
