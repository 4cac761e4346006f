"""Files → corpus: what a first run, a rerun and a changed folder leave behind."""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Literal
from unicodedata import normalize

import pytest
from PIL import Image

from tests.papers import write_pdf, write_report
from vrag.corpus import ingest as ingest_module
from vrag.corpus.ingest import IngestOptions, IngestReport, ingest
from vrag.corpus.store import Corpus
from vrag.errors import CorpusError, InfrastructureError, UsageError
from vrag.retriever import LexicalRetriever
from vrag.types import PageRef

Form = Literal["NFC", "NFD"]
OPTIONS = IngestOptions(workers=1, ocr="off")


def run(corpus: Corpus, *paths: Path, options: IngestOptions = OPTIONS) -> IngestReport:
    return ingest(paths, corpus, options)


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    write_report(folder / "a/report.pdf", 1, 3)
    write_report(folder / "b/other.pdf", 2, 2)
    Image.new("RGB", (60, 40), "navy").save(folder / "photo.png")
    return folder


@pytest.fixture
def corpus(tmp_path: Path):
    with Corpus.create(tmp_path / "corpus") as made:
        yield made


def names(corpus: Corpus) -> list[str]:
    return sorted(name for document in corpus.documents() for name in document.names)


def image_files(corpus: Corpus) -> set[str]:
    return {file.stem for file in (corpus.folder / "pages").rglob("*.jpg")}


def test_pages_words_images_and_names_are_there_after_a_run(corpus: Corpus, docs: Path):
    report = run(corpus, docs)
    assert (report.pages_added, report.pages, report.files, report.failures) == (6, 6, 3, [])
    assert names(corpus) == ["a/report.pdf", "b/other.pdf", "photo.png"]
    id = corpus.resolve(PageRef(document="a/report.pdf", page=2))
    page = corpus.page(id)
    assert page.text.startswith("Report 1 page 2\n")
    assert page.text_source == "layer"
    assert corpus.image(id).size == (page.width, page.height)
    assert corpus.image(id).mode == "RGB"
    assert [word.text for word in corpus.words(id)][:4] == ["Report", "1", "page", "2"]
    photo = corpus.page(corpus.resolve(PageRef(document="photo.png", page=1)))
    assert (photo.width, photo.height, photo.text_source) == (60, 40, "none")
    assert image_files(corpus) == {page.id for page in corpus.pages()}


def test_a_rerun_does_nothing(corpus: Corpus, docs: Path):
    run(corpus, docs)
    before = {file: file.stat().st_mtime_ns for file in (corpus.folder / "pages").rglob("*.jpg")}
    report = run(corpus, docs)
    assert (report.pages_added, report.unchanged, report.documents_removed) == (0, 3, 0)
    assert {file: file.stat().st_mtime_ns for file in before} == before


def test_a_touched_file_is_hashed_but_not_read_again(corpus: Corpus, docs: Path):
    run(corpus, docs)
    os.utime(docs / "a/report.pdf", ns=(1, 1))
    report = run(corpus, docs)
    assert (report.unchanged, report.pages_added, report.pages) == (2, 0, 6)


def test_a_changed_file_replaces_its_pages(corpus: Corpus, docs: Path):
    run(corpus, docs)
    write_pdf(docs / "a/report.pdf", ["entirely new"])
    report = run(corpus, docs)
    assert (report.pages_added, report.documents_removed, report.pages) == (1, 1, 4)
    assert corpus.page(corpus.resolve(PageRef(document="a/report.pdf", page=1))).text == "entirely new"
    assert image_files(corpus) == {page.id for page in corpus.pages()}


def test_a_removed_file_leaves_search_pages_and_disk(corpus: Corpus, docs: Path):
    run(corpus, docs)
    (docs / "a/report.pdf").unlink()
    assert run(corpus, docs).documents_removed == 1
    assert corpus.search("Report", 10) != []
    assert {hit.ref.document for hit in corpus.search("Report", 10)} == {"b/other.pdf"}
    assert names(corpus) == ["b/other.pdf", "photo.png"]
    assert image_files(corpus) == {page.id for page in corpus.pages()}


def test_a_corpus_within_the_indexed_folder_is_no_part_of_it(docs: Path):
    with Corpus.create(docs / "kb") as corpus:
        write_report(docs / "kb/uploads/uploaded.pdf", 3, 1)
        run(corpus, docs / "kb/uploads")
        for _ in range(2):
            run(corpus, docs)
            assert names(corpus) == ["a/report.pdf", "b/other.pdf", "photo.png", "uploaded.pdf"]


def test_only_files_under_the_paths_can_leave(corpus: Corpus, docs: Path):
    run(corpus, docs)
    (docs / "a/report.pdf").unlink()
    run(corpus, docs / "b")
    assert "a/report.pdf" in names(corpus)
    run(corpus, docs / "a/report.pdf")  # gone, but known: naming it is how to let it go
    assert "a/report.pdf" not in names(corpus)


def test_a_moved_file_keeps_its_pages_and_takes_its_new_name(corpus: Corpus, docs: Path):
    run(corpus, docs)
    (docs / "a/report.pdf").rename(docs / "b/annual.pdf")
    report = run(corpus, docs)
    assert (report.pages_added, report.documents_removed, report.pages) == (0, 0, 6)
    assert corpus.search("annual", 1)[0].ref == PageRef(document="b/annual.pdf", page=1)
    with pytest.raises(CorpusError):
        corpus.resolve(PageRef(document="a/report.pdf", page=1))


def test_a_folder_that_moved_is_followed(corpus: Corpus, docs: Path):
    run(corpus, docs)
    moved = docs.rename(docs.with_name("moved"))
    report = run(corpus, moved)
    assert (report.pages_added, report.documents_removed, report.pages) == (0, 0, 6)
    assert names(corpus) == ["a/report.pdf", "b/other.pdf", "photo.png"], "not as a second set of files"
    (moved / "a/report.pdf").unlink()
    assert run(corpus, moved).documents_removed == 1, "what leaves there leaves the corpus"
    assert names(corpus) == ["b/other.pdf", "photo.png"]


def test_a_file_that_goes_while_its_copy_is_read_stops_nothing(
    corpus: Corpus, docs: Path, monkeypatch: pytest.MonkeyPatch
):
    run(corpus, docs)
    shutil.copy(docs / "b/other.pdf", docs / "a/copy.pdf")  # found first, and new
    real = ingest_module.content_id

    def hashed(path: str) -> str:
        found = real(path)
        (docs / "b/other.pdf").unlink()
        return found

    monkeypatch.setattr(ingest_module, "content_id", hashed)
    assert run(corpus, docs).pages == 6
    monkeypatch.undo()
    assert run(corpus, docs).documents_removed == 0
    assert names(corpus) == ["a/copy.pdf", "a/report.pdf", "photo.png"]


def test_a_copy_doesnt_take_the_place_of_what_is_still_there(corpus: Corpus, docs: Path, tmp_path: Path):
    run(corpus, docs)
    shutil.copytree(docs, tmp_path / "backup")
    run(corpus, tmp_path / "backup")
    assert len(names(corpus)) == 6


@pytest.mark.parametrize("gone", [False, True], ids=["empty", "gone"])
def test_a_folder_without_any_file_left_loses_no_document(corpus: Corpus, docs: Path, tmp_path: Path, gone: bool):
    """As when a disk isn't mounted. Others of the same run go on."""
    write_report(tmp_path / "more/new.pdf", 3, 1)
    run(corpus, docs)
    away = docs.rename(tmp_path / "away")
    if not gone:
        docs.mkdir()
    report = run(corpus, docs, tmp_path / "more")
    assert (report.pages_added, report.documents_removed, report.pages) == (1, 0, 7)
    assert [one.document for one in report.failures] == ["docs"]
    assert "none of the 3 files" in report.failures[0].reason
    if not gone:
        docs.rmdir()
    away.rename(docs)
    report = run(corpus, docs)
    assert (report.pages_added, report.unchanged, report.failures, corpus.failures()) == (0, 3, [], [])


def test_a_file_that_cant_be_looked_at_for_a_moment_keeps_its_pages(corpus: Corpus, docs: Path, tmp_path: Path):
    write_report(tmp_path / "share/linked.pdf", 4, 2)
    (docs / "linked.pdf").symlink_to(tmp_path / "share/linked.pdf")
    run(corpus, docs)
    before = {page.id for page in corpus.pages("linked.pdf")}
    (tmp_path / "share").rename(tmp_path / "unmounted")
    for _ in range(2):
        report = run(corpus, docs)
        assert [(f.document, f.reason) for f in report.failures] == [("linked.pdf", "No such file or directory")]
        assert report.documents_removed == 0 and {page.id for page in corpus.pages("linked.pdf")} == before
    (tmp_path / "unmounted").rename(tmp_path / "share")
    report = run(corpus, docs)
    assert (report.pages_added, report.unchanged, report.failures) == (0, 4, [])
    assert corpus.failures() == []


def test_an_emptied_folder_lets_its_documents_leave_when_that_is_meant(corpus: Corpus, docs: Path):
    run(corpus, docs)
    shutil.rmtree(docs)
    report = run(corpus, docs, options=replace(OPTIONS, emptied=True))
    assert (report.documents_removed, report.pages, report.failures) == (3, 0, [])
    assert image_files(corpus) == set()


def test_one_content_in_two_places_is_read_once_and_has_both_names(corpus: Corpus, docs: Path):
    (docs / "copy.pdf").write_bytes((docs / "a/report.pdf").read_bytes())
    assert run(corpus, docs).pages_added == 6
    ids = {corpus.resolve(PageRef(document=name, page=1)) for name in ("a/report.pdf", "copy.pdf")}
    assert len(ids) == 1
    (docs / "copy.pdf").unlink()
    assert run(corpus, docs).documents_removed == 0
    assert corpus.page(ids.pop()).ref.document == "a/report.pdf"


@pytest.mark.parametrize(("stored", "asked"), [("NFD", "NFC"), ("NFC", "NFD"), ("NFD", "NFD")])
def test_a_name_is_found_however_its_accents_are_composed(corpus: Corpus, docs: Path, stored: Form, asked: Form):
    on_disk, typed = (normalize(form, "Zürich/Résumé.pdf") for form in (stored, asked))
    write_report(docs / on_disk, 5, 2)
    run(corpus, docs)
    assert on_disk in names(corpus)
    page = corpus.resolve(PageRef(document=typed, page=2))
    assert [page.id for page in corpus.pages(typed)][1] == page and corpus.page_count(typed) == 2
    assert [hit.page_id for hit in corpus.search("Report 5 page 2", 1, typed)] == [page]
    with pytest.raises(CorpusError, match="no document"):
        corpus.document_id("Resume.pdf")


def test_the_same_name_in_two_folders_gets_a_parent(corpus: Corpus, tmp_path: Path):
    for year in (2022, 2023):
        write_report(tmp_path / f"{year}/report.pdf", year, 1)
    run(corpus, tmp_path / "2022", tmp_path / "2023")
    assert names(corpus) == ["2023/report.pdf", "report.pdf"]


def test_bad_files_are_named_and_stop_nothing(corpus: Corpus, docs: Path):
    (docs / "broken.pdf").write_bytes(b"%PDF-1.7 nonsense")
    (docs / "empty.pdf").write_bytes(b"")
    (docs / "text.png").write_text("not an image")
    (docs / "gone.pdf").symlink_to(docs / "nowhere")
    report = run(corpus, docs)
    assert report.pages_added == 6
    reasons = {failure.document: failure.reason for failure in report.failures}
    assert reasons.keys() == {"broken.pdf", "empty.pdf", "text.png", "gone.pdf"}
    assert "damaged" in reasons["broken.pdf"] and "empty" in reasons["empty.pdf"]
    assert "neither" in reasons["text.png"] and "No such file" in reasons["gone.pdf"]
    assert corpus.failures() == report.failures


def test_what_failed_is_tried_again_when_it_changed_or_when_asked(corpus: Corpus, docs: Path):
    bad = docs / "bad.pdf"
    bad.write_bytes(b"%PDF-1.7 nonsense")
    first = run(corpus, docs)
    assert run(corpus, docs).failures == first.failures
    retried = run(corpus, docs, options=IngestOptions(workers=1, ocr="off", retry_failed=True))
    assert retried.failures == first.failures
    write_pdf(bad, ["mended"])
    assert run(corpus, docs).failures == []
    assert corpus.search("mended", 1)[0].ref.document == "bad.pdf"


def test_a_path_that_never_was_is_a_usage_error(corpus: Corpus, tmp_path: Path):
    with pytest.raises(UsageError, match="no such file"):
        run(corpus, tmp_path / "nowhere")


def test_two_runs_at_once_are_refused(corpus: Corpus, docs: Path):
    refused: list[str] = []

    def again(_: object) -> None:
        if not refused:
            with pytest.raises(CorpusError, match="another process") as caught:
                run(corpus, docs)
            refused.append(str(caught.value))

    ingest([docs], corpus, OPTIONS, again)
    assert refused


def test_readers_see_whole_batches_while_a_run_writes(corpus: Corpus, tmp_path: Path):
    write_report(tmp_path / "long.pdf", 3, 40)
    seen: list[int] = []

    def look(_: object) -> None:
        ids = [page.id for page in corpus.pages()]
        assert len(corpus.search("Report", 100)) == len(ids)
        for id in ids[-1:]:
            corpus.image(id)
        seen.append(len(ids))

    ingest([tmp_path / "long.pdf"], corpus, IngestOptions(workers=2, ocr="off", batch_pages=10), look)
    assert seen == sorted(seen)
    assert any(0 < count < 40 for count in seen), "searchable before the run ends"
    assert corpus.count() == 40


def test_many_threads_read_at_once(corpus: Corpus, docs: Path):
    run(corpus, docs)
    expected = corpus.search("Report page", 5)
    answers: list[bool] = []

    def ask() -> None:
        answers.extend(corpus.search("Report page", 5) == expected for _ in range(20))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 160 and all(answers)


def test_the_retriever_answers_and_says_when_it_cannot(corpus: Corpus, docs: Path):
    run(corpus, docs)
    retriever = LexicalRetriever(corpus)
    hits = asyncio.run(retriever.search("Report 1 page 3", 2))
    assert hits[0].ref == PageRef(document="a/report.pdf", page=3)
    assert len(hits) == 2
    assert asyncio.run(retriever.search("", 2)) == []
    corpus.close()
    with pytest.raises(InfrastructureError, match="closed"):
        asyncio.run(retriever.search("Report", 2))


def test_unknown_things_are_corpus_errors_that_name_them(corpus: Corpus, docs: Path):
    run(corpus, docs)
    for id in ("nope", "../../etc/passwd", "0" * 24 + "-1", "a\x00b"):
        for read in (corpus.page, corpus.words, corpus.image):
            with pytest.raises(CorpusError, match="page"):
                read(id)
    with pytest.raises(CorpusError, match="no page 9"):
        corpus.resolve(PageRef(document="a/report.pdf", page=9))
    with pytest.raises(CorpusError, match="no document"):
        corpus.resolve(PageRef(document="zzz.pdf", page=1))


def test_pages_can_be_listed_by_document_and_source_of_text(corpus: Corpus, docs: Path):
    run(corpus, docs)
    assert [page.ref.page for page in corpus.pages("a/report.pdf")] == [1, 2, 3]
    assert [page.ref.document for page in corpus.pages(text_source="none")] == ["photo.png"]


def test_a_missing_corpus_names_the_command_that_makes_it():
    with pytest.raises(CorpusError, match="vrag index PATH --corpus mine"):
        Corpus.open("mine")


def test_a_corpus_of_a_newer_version_and_a_foreign_file_are_refused(corpus: Corpus, tmp_path: Path):
    import sqlite3

    with sqlite3.connect(corpus.folder / "catalog.sqlite") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(CorpusError, match="newer"):
        Corpus.open(corpus.folder)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    sqlite3.connect(foreign / "catalog.sqlite").close()
    with pytest.raises(CorpusError, match="holds no corpus"):
        Corpus.open(foreign)


def test_an_existing_corpus_is_not_made_again(corpus: Corpus):
    with pytest.raises(CorpusError, match="exists"):
        Corpus.create(corpus.folder)


def test_of_two_first_runs_at_once_the_slower_takes_nothing_from_the_other(
    docs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder, token = tmp_path / "new", secrets.token_hex

    def another_is_quicker(size: int) -> str:
        monkeypatch.setattr(secrets, "token_hex", token)
        with Corpus.create(folder) as quicker:
            run(quicker, docs)
        return token(size)

    monkeypatch.setattr(secrets, "token_hex", another_is_quicker)
    with pytest.raises(CorpusError, match="exists already"):
        Corpus.create(folder)
    with Corpus.open(folder) as made:
        assert made.count() == 6


def test_a_corpus_is_made_where_the_file_system_has_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refused(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refused)
    Corpus.create(tmp_path / "new").close()
    with pytest.raises(CorpusError, match="exists already"):
        Corpus.create(tmp_path / "new")


@pytest.mark.parametrize("own", ["pages/mine.html", "uploads/2024/mine.pdf", "vectors/mine.svg", "converted"])
def test_a_folder_that_has_files_in_the_places_of_a_corpus_becomes_none(tmp_path: Path, own: str):
    (tmp_path / "site" / own).parent.mkdir(parents=True)
    (tmp_path / "site" / own).write_text("mine")
    with pytest.raises(CorpusError, match="name an empty or a new folder"):
        Corpus.create(tmp_path / "site")
    assert [file.name for file in (tmp_path / "site").iterdir()] == [own.split("/")[0]]
    assert (tmp_path / "site" / own).read_text() == "mine"


def test_what_a_killed_making_of_a_corpus_leaves_hinders_none(tmp_path: Path):
    (tmp_path / "corpus/pages/tmp").mkdir(parents=True)
    (tmp_path / "corpus/catalog.sqlite.0a1b2c3d.tmp").write_bytes(b"half")
    Corpus.create(tmp_path / "corpus").close()
