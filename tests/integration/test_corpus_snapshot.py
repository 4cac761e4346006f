"""`vrag snapshot`: a corpus with its vectors, copied while it is in use."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.colours import ColourEncoder
from tests.papers import write_report
from vrag.cli import main
from vrag.corpus import paths
from vrag.corpus import snapshot as snapshots
from vrag.corpus.ingest import IngestOptions, ingest
from vrag.corpus.snapshot import snapshot
from vrag.corpus.store import Corpus
from vrag.embed import embed, make_index
from vrag.errors import CorpusError, UsageError
from vrag.index.vectors import EncoderName
from vrag.retriever import open_retriever

OPTIONS = IngestOptions(workers=1, ocr="off")


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    write_report(tmp_path / "docs/one.pdf", 1, 3)
    write_report(tmp_path / "docs/two.pdf", 2, 4)
    return tmp_path / "docs"


@pytest.fixture
def corpus(docs: Path) -> Corpus:
    corpus = Corpus.create("mine")
    ingest([docs], corpus, OPTIONS)
    return corpus


def encode(corpus: Corpus) -> None:
    encoder = ColourEncoder()
    index = make_index(corpus, encoder, EncoderName(name="tests.colours:ColourEncoder"))
    embed(corpus, encoder, index)
    index.close()


def seen(corpus: Corpus) -> object:
    pages = [(page, corpus.words(page.id), corpus.image(page.id).tobytes()) for page in corpus.pages()]
    searches = [asyncio.run(open_retriever(corpus).search(query, 9)) for query in ("Report 1 page 2", "red")]
    return corpus.documents(), corpus.failures(), pages, searches


def test_the_copy_is_a_corpus_that_shows_and_finds_the_same(
    corpus: Corpus, docs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    encode(corpus)
    assert main(["snapshot", str(tmp_path / "kept/copy"), "-c", "mine", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"pages": 7, "vectors": 7, "without_image": []}
    before = seen(corpus)
    with Corpus.open(tmp_path / "kept/copy") as copy:
        assert seen(copy) == before
    (docs / "two.pdf").unlink()
    ingest([docs], corpus, OPTIONS)
    encode(corpus)
    assert corpus.count() == 3
    with Corpus.open(tmp_path / "kept/copy") as copy:
        assert seen(copy) == before
        assert ingest([docs], copy, OPTIONS).documents_removed == 1, "the copy can be indexed into as well"


def test_without_vectors_the_copy_has_none(corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["snapshot", str(tmp_path / "copy"), "-c", "mine"]) == 0
    assert "7 pages, 0 of them with vectors" in capsys.readouterr().out
    with Corpus.open(tmp_path / "copy") as copy:
        assert seen(copy) == seen(corpus) and not copy.has_vectors


def test_a_page_whose_image_is_lost_is_named_and_the_others_are_copied(
    corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    lost = next(corpus.pages()).id
    paths.page_file(corpus.folder, lost).unlink()
    assert main(["snapshot", str(tmp_path / "copy"), "-c", "mine"]) == 0
    assert lost in capsys.readouterr().err
    with Corpus.open(tmp_path / "copy") as copy:
        assert sum(page.id != lost and bool(copy.image(page.id)) for page in copy.pages()) == 6


def test_documents_that_leave_meanwhile_are_not_half_there(
    corpus: Corpus, docs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (docs / "one.pdf").unlink()
    link, calls = snapshots.link_or_copy, list[Path]()

    def while_pages_leave(source: Path, target: Path) -> None:
        if not calls:
            ingest([docs], corpus, OPTIONS)
        calls.append(source)
        link(source, target)

    monkeypatch.setattr(snapshots, "link_or_copy", while_pages_leave)
    assert snapshot(corpus, tmp_path / "copy").pages == 4
    with Corpus.open(tmp_path / "copy") as copy:
        assert seen(copy) == seen(corpus)
        assert len(list((copy.folder / "pages").rglob("*.jpg"))) == 4


def test_documents_that_never_stop_leaving_are_an_error(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def gone(*_: object) -> bool:
        raise snapshots._PageLeft

    monkeypatch.setattr(snapshots, "_image", gone)
    with pytest.raises(CorpusError, match="wait for `vrag index` to end"):
        snapshot(corpus, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_folder_that_holds_something_is_refused(corpus: Corpus, docs: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(UsageError, match="isn't an empty folder"):
        snapshot(corpus, docs)
    assert main(["snapshot", str(docs), "-c", "mine"]) == 2
    assert "name another" in capsys.readouterr().err
