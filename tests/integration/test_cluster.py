"""`vrag index --ray`: what many machines make is what one makes. Tests run with jobs done in this process, and, with
`--full` and Ray installed, on a local Ray of two cores (`make test-ray`).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from qdrant_client import QdrantClient

from tests.cluster import do_here, here
from tests.colours import COLOURS, ColourEncoder
from tests.engines import CRASHES, write_scans
from tests.papers import write_report
from tests.qdrant_stub import LAYOUT, serving
from vrag.cli import main
from vrag.cluster import rounds, session
from vrag.corpus.snapshot import snapshot
from vrag.corpus.store import Corpus
from vrag.embed import open_index
from vrag.index import qdrant_place
from vrag.index.embedded import EmbeddedIndex
from vrag.index.qdrant_server import QdrantServer
from vrag.index.vectors import EncoderName

ENCODER = "tests.colours:ColourEncoder"
OCR = ["--ocr-engine", "tests.engines:Grey"]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*")


class Shared(QdrantServer):
    """All indexes have the one client that holds the pages."""

    def close(self) -> None:
        pass


def picture(path: Path, colour: str) -> None:
    image = Image.new("RGB", (80, 80), "white")
    image.paste(COLOURS[colour], (20, 20, 60, 60))
    image.save(path)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    ray = pytest.importorskip("ray")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    ray.init(
        num_cpus=2, include_dashboard=False, object_store_memory=200 << 20, log_to_driver=False, logging_level="ERROR"
    )
    yield
    ray.shutdown()


@pytest.fixture(params=["here", pytest.param("ray", marks=pytest.mark.full)])
def by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "ray":
        request.getfixturevalue("cluster")
    else:
        monkeypatch.setattr(rounds, "_round", do_here)
        monkeypatch.setattr(session, "session", here)
    return request.param


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    write_report(folder / "long.pdf", 1, 40)  # more pages than a chunk
    write_report(folder / "short.pdf", 2, 2)
    (folder / "old").mkdir()
    (folder / "old" / "short.pdf").write_bytes((folder / "short.pdf").read_bytes())
    (folder / "damaged.pdf").write_bytes(b"%PDF-1.4 and no more")
    write_scans(folder / "scans.tif", [1, CRASHES, 3])
    for colour in COLOURS:
        picture(folder / f"{colour}.png", colour)
    return folder


def index(docs: Path, corpus: Path, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    """The report of `vrag index`."""
    capsys.readouterr()
    assert main(["index", str(docs), "--corpus", f"{corpus}/", "--workers", "1", "--json", *options]) == 0
    return json.loads(capsys.readouterr().out)


def held(folder: Path) -> dict[str, Any]:
    """Everything that a corpus holds, but for how it came there."""
    with Corpus.open(folder) as corpus:
        ids = sorted(corpus.page_ids())
        vectors = open_index(corpus)
        queries = np.random.default_rng(7).standard_normal((4, 5, ColourEncoder.dim)).astype(np.float32)
        scores = [{one.page_id: one.score for one in vectors.search(query, 99, exact=True)} for query in queries]
        vectors.close()
        return {
            "pages": [corpus.page(id).model_dump() for id in ids],
            "words": [[word.model_dump() for word in corpus.words(id)] for id in ids],
            "pixels": [corpus.image(id).tobytes() for id in ids],
            "documents": [document.model_dump() for document in corpus.documents()],
            "failures": [failure.model_dump() for failure in corpus.failures()],
            "found": [hit.model_dump() for hit in corpus.search("number amber", 99)],
            "scores": scores,
        }


def test_many_machines_make_what_one_makes_and_a_run_again_does_nothing(
    by: str, docs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    options = ["--encoder", ENCODER, *OCR]
    one = index(docs, tmp_path / "one", capsys, *options)
    many = index(docs, tmp_path / "many", capsys, *options, "--ray", "local")
    for report in (one, many):
        report["seconds"] = report["ocr"]["seconds"] = report["vectors"]["seconds"] = 0
    assert many == one and one["pages_added"] == one["vectors"]["added"] == 49 and one["ocr"]["pages"] == 6
    assert [failure["document"] for failure in one["failures"]] == ["damaged.pdf"]
    made = held(tmp_path / "many")
    assert made == held(tmp_path / "one") and len(made["scores"][0]) == 49
    again = index(docs, tmp_path / "many", capsys, *options, "--ray", "local")
    assert (again["pages_added"], again["unchanged"], again["ocr"]["pages"], again["vectors"]["added"]) == (0, 9, 0, 0)
    assert not (tmp_path / "many" / "ray").exists()


def test_a_page_that_ends_whoever_encodes_it_is_named_and_a_process_that_dies_once_costs_nothing(
    by: str, docs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(rounds, "MAX_TRIES", 2)
    settings = {"deadly": "red", "once": tmp_path / "once", "process": os.getpid()}
    options = [part for key, value in settings.items() for part in ("--encoder-set", f"{key}={value}")]
    for file in ("long.pdf", "scans.tif", "damaged.pdf"):
        (docs / file).unlink()
    index(docs, tmp_path / "corpus", capsys, "--ocr", "off")
    vectors = index(
        docs, tmp_path / "corpus", capsys, *options, "--encoder", "tests.cluster:FragileEncoder", "--ray", "local"
    )["vectors"]
    assert [(failure["document"], failure["page"]) for failure in vectors["failures"]] == [("red.png", 1)]
    assert vectors["failures"][0]["reason"] == "encoding the page ended the process that did it, 2 times"
    assert (vectors["added"], vectors["pages"]) == (5, 5)


def test_what_a_driver_that_was_stopped_had_stored_is_not_encoded_again(
    docs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(rounds, "_round", do_here)
    monkeypatch.setattr(session, "session", here)
    real, stored = EmbeddedIndex.upsert, list[int]()

    def is_stopped(this: EmbeddedIndex, pages: Any) -> None:
        if stored:
            raise KeyboardInterrupt
        real(this, pages)
        stored.append(len(pages))

    options = ["--encoder", ENCODER, "--ray", "local", "--ocr", "off"]
    with monkeypatch.context() as patched:
        patched.setattr(EmbeddedIndex, "upsert", is_stopped)
        assert main(["index", str(docs), "--corpus", f"{tmp_path}/corpus/", *options]) == 130
    vectors = index(docs, tmp_path / "corpus", capsys, *options)["vectors"]
    assert stored == [17] and (vectors["added"], vectors["pages"]) == (49 - 17, 49)


@pytest.mark.full
def test_a_driver_that_is_killed_is_resumed_without_work_done_twice_or_pages_held_twice(
    cluster: None, docs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    options = ["--encoder", ENCODER, *OCR, "--ray", "auto"]
    command = [sys.executable, "-m", "vrag", "index", str(docs), "--corpus", f"{tmp_path}/many/", *options]
    for place in ("ingest.page:36", "index.half-appended:2"):
        killed = subprocess.run(command, env={**os.environ, "VRAG_KILL_AT": place}, capture_output=True)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
    with Corpus.open(tmp_path / "many") as corpus:
        stored = len(open_index(corpus).ids())
    report = index(docs, tmp_path / "many", capsys, *options)
    assert stored in (17, 32) and (report["pages_added"], report["vectors"]["added"]) == (0, 49 - stored)
    index(docs, tmp_path / "one", capsys, "--encoder", ENCODER, *OCR)
    assert held(tmp_path / "many") == held(tmp_path / "one")


@pytest.mark.filterwarnings("ignore:Payload indexes have no effect", "ignore:Local mode performs exact")
def test_vectors_on_a_server_are_searched_by_the_same_commands(
    docs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(rounds, "_round", do_here)
    monkeypatch.setattr(session, "session", here)
    server = Shared(QdrantClient(":memory:"), "http://qdrant:6333")
    monkeypatch.setattr(qdrant_place, "connect", lambda url: server)
    (docs / "long.pdf").unlink()
    place = ["--encoder", ENCODER, "--qdrant", "http://qdrant:6333"]
    report = index(docs, tmp_path / "many", capsys, *place, "--ocr", "off", "--ray", "local")
    assert report["vectors"]["added"] == report["vectors"]["pages"] == 9
    assert not (tmp_path / "many" / "vectors" / "vectors.sqlite").exists()

    def first(corpus: str) -> str:
        assert main(["search", "green", "--corpus", f"{tmp_path / corpus}/", "--by", "visual", "--json"]) == 0
        return json.loads(capsys.readouterr().out)["hits"][0]["ref"]["document"]

    assert first("many") == "green.png"
    (docs / "green.png").unlink()  # a run on this machine alone goes on with them
    assert index(docs, tmp_path / "many", capsys, "--ocr", "off")["vectors"]["removed"] == 1
    assert first("many") != "green.png"
    with Corpus.open(tmp_path / "many") as corpus:
        snapshot(corpus, tmp_path / "copy")
    assert first("copy") == first("many")

    def refused(*command: str) -> str:
        assert main([*command]) != 0
        return capsys.readouterr().err

    again = ["index", str(docs), "--ocr", "off", *place, "--ray", "local", "--corpus"]
    assert "index there" in refused("index", "--corpus", f"{tmp_path}/copy/")
    assert "holds pages, and corpus" in refused(*again, f"{tmp_path}/other/", "--collection", "many")
    assert "leave the other place out" in refused(*again, f"{tmp_path}/many/", "--collection", "another")
    assert "choose no kernel" in refused("search", "green", "-c", f"{tmp_path}/many/", "--kernel", "numpy")
    server.client.close()


@pytest.mark.full
def test_machines_write_to_the_server_themselves(
    cluster: None, docs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    name = EncoderName(name=ENCODER)
    layout = LAYOUT.model_copy(update={"dim": 3, "fingerprint": ColourEncoder().fingerprint, "encoder": name})
    index(docs, tmp_path / "many", capsys, "--ocr", "off")
    with serving(layout) as server:
        place = qdrant_place.QdrantPlace(url=server.url, collection="pages")
        qdrant_place.write_place(tmp_path / "many" / "vectors" / "qdrant.json", place)
        report = index(docs, tmp_path / "many", capsys, "--ocr", "off", "--ray", "local")
    with Corpus.open(tmp_path / "many") as corpus:
        ids = corpus.page_ids()
    written = [json.loads(asked.body) for asked in server.seen if asked.what == "PUT /collections/pages/points"]
    assert {point["payload"]["page"] for request in written for point in request["points"]} == ids
    assert report["vectors"]["added"] == 49 and report["vectors"]["failures"] == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--ray-set", "encoders=2"], "give both"),
        (["--ray", "local", "--ray-set", "encoder=2"], "the settings are encoders"),
        (["--ray", "local", "--ray-set", "encoder_gpus=1", "--encoder", ENCODER], "wants 1 GPUs"),
        (["--collection", "x"], "give both"),
        (["--qdrant", "http://qdrant:6333"], "give both"),
    ],
)
def test_options_that_cannot_be_followed_are_refused_before_anything_is_read(
    options: list[str], said: str, docs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    @contextmanager
    def joined(address: str, settings: session.RaySettings, workers: int = 0, cores: int = 1):
        yield session.Session(settings, cpus=2, node_cpus=2, gpus=0, node_gpus=0)

    monkeypatch.setattr(session, "session", joined)
    assert main(["index", str(docs), "--corpus", f"{tmp_path}/corpus/", *options]) == 2
    assert said in capsys.readouterr().err
    assert not any((tmp_path / "corpus" / "pages").rglob("*.jpg"))
