"""A search server whose corpus becomes another one while it answers."""

from __future__ import annotations

import logging
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from tests.colours import COLOURS, ColourEncoder
from tests.papers import write_pdf
from tests.serving import Gate, Running, in_threads, serving
from vrag.corpus.ingest import IngestOptions, ingest
from vrag.corpus.store import Corpus
from vrag.embed import embed, make_index
from vrag.errors import CorpusError
from vrag.index.embedded import EmbeddedIndex
from vrag.index.vectors import EncoderName
from vrag.servers.limits import Limits

ENCODER = "tests.colours:ColourEncoder"


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Corpora of one page of words, which is their name, and a red picture."""
    made: dict[str, Path] = {}
    for words in ("amber dune", "fjord kelp"):
        docs, folder = tmp_path_factory.mktemp("docs"), tmp_path_factory.mktemp("made") / "corpus"
        write_pdf(docs / f"{words.replace(' ', '-')}.pdf", [words])
        image = Image.new("RGB", (200, 200), "white")
        ImageDraw.Draw(image).rectangle((100, 100, 199, 199), COLOURS["red"])
        image.save(docs / "picture.png")
        with Corpus.create(folder) as corpus:
            ingest([docs], corpus, IngestOptions(workers=1, ocr="off"))
        made[words] = folder
    return made


@pytest.fixture
def folder(tmp_path: Path, templates: dict[str, Path]) -> Path:
    return Path(shutil.copytree(templates["amber dune"], tmp_path / "corpus"))


@pytest.fixture
def replacement(tmp_path: Path, templates: dict[str, Path]) -> Path:
    """What `replace` puts in the place of `folder`."""
    return Path(shutil.copytree(templates["fjord kelp"], tmp_path / "new"))


def encode(folder: Path, **settings: Any) -> None:
    encoder = ColourEncoder(**settings)
    with Corpus.open(folder) as corpus:
        index = make_index(corpus, encoder, EncoderName(name=ENCODER, settings=settings))
        embed(corpus, encoder, index)
        index.close()


def replace(folder: Path, new: Path) -> None:
    folder.rename(folder.with_name("old"))
    new.rename(folder)


def version(server: Running) -> str:
    return server.client.get("/health").json()["index_version"]


def documents(server: Running, query: str, **more: object) -> set[str]:
    answer = server.client.post("/v1/search", json={"queries": [query], **more})
    assert answer.status_code == 200, answer.text
    return {page["document"] for page in answer.json()["results"][0]}


def test_pages_that_are_added_are_found_on_the_same_version(folder: Path, tmp_path: Path):
    with serving(folder) as server:
        before = version(server)
        assert documents(server, "cobalt") == set()
        late = write_pdf(tmp_path / "late.pdf", ["cobalt"])
        with Corpus.open(folder) as corpus:
            ingest([late], corpus, IngestOptions(workers=1, ocr="off"))
        server.refresh()
        assert documents(server, "cobalt") == {"late.pdf"} and version(server) == before


def test_first_vectors_are_noticed(folder: Path):
    with serving(folder) as server:
        before = version(server)
        assert documents(server, "red") == set()
        encode(folder)
        server.refresh()
        assert documents(server, "red") == {"picture.png", "amber-dune.pdf"} and version(server) != before


def test_vectors_of_another_encoder_are_noticed_and_vectors_that_go(folder: Path):
    encode(folder)
    with serving(folder) as server:
        versions = [version(server)]
        shutil.rmtree(folder / "vectors")
        encode(folder, revision=1)
        server.refresh()
        versions.append(version(server))
        assert "picture.png" in documents(server, "red", by="visual")
        shutil.rmtree(folder / "vectors")
        server.refresh()
        versions.append(version(server))
        assert documents(server, "red") == set()
        assert len(set(versions)) == 3


def test_a_corpus_that_is_replaced_is_noticed_without_being_asked_to(folder: Path, replacement: Path):
    with serving(folder, poll=0.01) as server:
        assert documents(server, "amber")
        replace(folder, replacement)
        server.until(lambda: documents(server, "kelp") == {"fjord-kelp.pdf"})
        assert documents(server, "amber") == set()


def test_an_encoder_that_stays_the_same_is_not_loaded_again(
    folder: Path, replacement: Path, monkeypatch: pytest.MonkeyPatch
):
    encode(folder)
    encode(replacement)
    loaded: list[str] = []
    real = ColourEncoder.__init__
    monkeypatch.setattr(ColourEncoder, "__init__", lambda this, **more: (loaded.append("once"), real(this, **more))[1])
    with serving(folder) as server:
        before = version(server)
        replace(folder, replacement)
        server.refresh()
        assert version(server) != before and len(loaded) == 1
        assert "picture.png" in documents(server, "red", by="visual")


def test_running_requests_end_on_the_old_version_which_is_then_closed(folder: Path, monkeypatch: pytest.MonkeyPatch):
    encode(folder)
    gate = Gate(monkeypatch, ColourEncoder, "encode_queries")
    with serving(folder) as server:
        old = server.service.engine.current

        def ask(_: int) -> dict[str, object]:
            return server.client.post("/v1/search", json={"queries": ["red"], "by": "visual"}).json()

        (held,) = in_threads(1, ask)
        assert gate.begun.wait(10)
        shutil.rmtree(folder / "vectors")
        encode(folder, revision=1)
        server.refresh()
        assert documents(server, "amber", by="text") == {"amber-dune.pdf"}  # answered on the new one meanwhile
        assert version(server) != old.version and not old.closed
        gate.open()
        answer = held.result(10)
        assert answer["index_version"] == old.version and answer["results"][0]  # type: ignore[index]
        server.until(lambda: old.closed)
        assert documents(server, "red", by="visual")


def test_the_old_version_stays_open_for_a_search_whose_client_is_gone(folder: Path, monkeypatch: pytest.MonkeyPatch):
    gate = Gate(monkeypatch, Corpus, "search")
    with serving(folder) as server:
        old = server.service.engine.current
        with socket.create_connection((server.client.base_url.host, server.client.base_url.port or 0)) as leaver:
            leaver.sendall(b"GET /v1/search?q=amber HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert gate.begun.wait(10)
        server.until(lambda: server.metric("vrag_admitted_queries") == 0)
        encode(folder)
        server.refresh()
        assert version(server) != old.version and not old.closed
        gate.open()
        server.until(lambda: old.closed)


def test_the_old_version_never_reads_files_of_the_new_one(folder: Path):
    encode(folder)
    with serving(folder) as server:  # no search yet
        before = version(server)
        shutil.rmtree(folder / "vectors")
        encode(folder, revision=1, unlucky="red")
        assert documents(server, "red", by="visual", k=1) == {"picture.png"} and version(server) == before
        server.refresh()
        assert documents(server, "red", by="visual", k=1) == {"amber-dune.pdf"} and version(server) != before


def test_a_request_that_fails_because_its_vectors_went_is_answered_by_the_next_version(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    encode(folder)
    with serving(folder) as server:
        before = version(server)
        shutil.rmtree(folder / "vectors")
        encode(folder, revision=1)
        real, calls = EmbeddedIndex.search, list[int]()

        def fails_first(this: EmbeddedIndex, *args: Any, **more: Any) -> Any:
            calls.append(1)
            if this.fingerprint == "colours-0":
                raise CorpusError("its files are gone")
            return real(this, *args, **more)

        monkeypatch.setattr(EmbeddedIndex, "search", fails_first)
        assert documents(server, "red", by="visual", k=1) == {"picture.png"} and version(server) != before
        assert len(calls) == 2


def test_a_request_that_times_out_while_the_next_version_opens_doesnt_stop_it(
    folder: Path, replacement: Path, monkeypatch: pytest.MonkeyPatch
):
    with serving(folder, limits=Limits(timeout=1.0)) as server:
        before = version(server)
        encode(replacement)
        replace(folder, replacement)
        gate = Gate(monkeypatch, EmbeddedIndex, "ids")  # the last step of opening
        assert server.client.get("/v1/search", params={"q": "kelp"}).status_code == 504
        assert gate.begun.is_set() and version(server) == before
        gate.open()
        server.until(lambda: version(server) != before)
        assert documents(server, "kelp", by="text") == {"fjord-kelp.pdf"} and len(gate.calls) == 1


def test_a_request_during_which_the_corpus_is_replaced_is_answered_by_the_new_one(
    folder: Path, replacement: Path, monkeypatch: pytest.MonkeyPatch
):
    gate = Gate(monkeypatch, Corpus, "search")
    with serving(folder) as server:
        (held,) = in_threads(1, lambda _: documents(server, "amber kelp"))
        assert gate.begun.wait(10)
        replace(folder, replacement)
        gate.open()
        assert held.result(10) == {"fjord-kelp.pdf"}


@pytest.mark.parametrize("spoil", ["encoder", "catalogue"])
def test_what_cant_be_opened_leaves_the_old_one_in_place(folder: Path, spoil: str, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)

    def missing_encoder() -> None:
        with Corpus.open(folder) as corpus:
            make_index(corpus, ColourEncoder(), EncoderName(name="no.such.module:Encoder")).close()

    def junk() -> None:
        (folder / "catalog.sqlite").rename(folder / "aside.sqlite")
        (folder / "catalog.sqlite").write_bytes(b"junk" * 1000)

    damage: dict[str, Callable[[], None]] = {"encoder": missing_encoder, "catalogue": junk}
    with serving(folder) as server:
        assert documents(server, "amber") == {"amber-dune.pdf"}
        before = version(server)
        damage[spoil]()
        server.refresh()
        server.refresh()
        assert version(server) == before
        if spoil == "encoder":
            assert documents(server, "amber") == {"amber-dune.pdf"}
    told = [record for record in caplog.records if "can't be opened" in record.message]
    assert len(told) == 1 and str(folder) in told[0].message
