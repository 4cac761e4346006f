"""The encoder server over a real socket: what it makes of pages and queries is what the encoder makes beside it."""

from __future__ import annotations

import io
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import stamina
from PIL import Image, ImageDraw

from tests.colours import COLOURS, ColourEncoder
from tests.papers import write_pdf
from tests.serving import Gate, Running, in_threads, started
from vrag.cli import main
from vrag.corpus.images import open_image, read_frame
from vrag.corpus.ingest import IngestOptions, Progress, ingest
from vrag.corpus.limits import STORED_PIXELS
from vrag.corpus.store import Corpus
from vrag.embed import embed, index_encoder, make_index, open_index
from vrag.encoders.load import load_encoder
from vrag.encoders.remote import RemoteEncoder, RemoteSettings
from vrag.encoders.wire import PageFailure, unpack
from vrag.errors import CorpusError, DocumentError, InfrastructureError
from vrag.index.vectors import EncoderName
from vrag.protocols import PageEncoder
from vrag.servers.encoder import create_app
from vrag.servers.engine import Engine
from vrag.servers.limits import MAX_BYTES, MAX_PAGE_BYTES, USUAL_PIXELS, Limits
from vrag.servers.search import create_app as search_app
from vrag.testing import FakeEncoder, MemoryStore
from vrag.types import PageVectors

NAME = "tests.colours:ColourEncoder"
TOKEN = "canary-f96b697d7cb7938d"


def encoder_server(encoder: PageEncoder, limits: Limits | None = None, token: str | None = None) -> Any:
    return started(create_app(encoder, EncoderName(name=NAME, settings={"dim": 3}), limits, token))


@pytest.fixture(scope="module")
def server() -> Generator[Running]:
    with encoder_server(ColourEncoder()) as running:
        yield running


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture of each colour, whose name doesn't tell it, and two pages of words."""
    folder = tmp_path_factory.mktemp("docs")
    for colour, value in COLOURS.items():
        image = Image.new("RGB", (400, 400), "white")
        ImageDraw.Draw(image).rectangle((210, 210, 390, 390), value)
        image.save(folder / f"{colour[:2]}.png")
    write_pdf(folder / "words.pdf", ["a page that says red", "a page that says nothing of it"])
    return folder


@pytest.fixture(scope="module")
def read(docs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus of them, without vectors."""
    with Corpus.create(tmp_path_factory.mktemp("read") / "corpus") as corpus:
        ingest([docs], corpus, IngestOptions(workers=1, ocr="off"))
        return corpus.folder


@pytest.fixture
def folder(read: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(read, tmp_path / "corpus"))


@pytest.fixture
def corpus(folder: Path) -> Generator[Corpus]:
    with Corpus.open(folder) as corpus:
        yield corpus


def post(server: Running, file: bytes, **headers: str) -> httpx.Response:
    return server.client.post("/v1/encode/page", content=file, headers=headers)


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def picture(seed: int, size: tuple[int, int] = (60, 40)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def same(left: PageVectors | DocumentError, right: PageVectors | DocumentError) -> bool:
    if isinstance(left, PageVectors) and isinstance(right, PageVectors):
        return np.array_equal(left.vectors, right.vectors) and left.grid == right.grid
    return type(left) is type(right)


# -------------------------------------------------------------------------------------------- conformance


def test_pages_and_queries_are_those_of_the_encoder_to_the_bit():
    store = MemoryStore()
    pages = [store.add("report.pdf", n, [f"page {n} of Acme", f"revenue {n * 37}"], (300, 200)) for n in range(1, 31)]
    texts = {store.image(page.id).tobytes(): page.text for page in pages}
    local = FakeEncoder(lambda image: texts[image.tobytes()])
    with encoder_server(local) as server:
        remote = load_encoder(server.url)
        assert (remote.dim, remote.fingerprint) == (local.dim, local.fingerprint)
        images = [store.image(page.id) for page in pages]
        found = zip(remote.encode_pages(images), local.encode_pages(images), strict=True)
        assert all(isinstance(here, PageVectors) and same(there, here) for there, here in found)
        queries = ["revenue 37", "café of Acme", "x"] * 50  # more than one request takes
        found = zip(remote.encode_queries(queries), local.encode_queries(queries), strict=True)
        assert all(there.dtype == np.float32 and np.array_equal(there, here) for there, here in found)


def test_vectors_in_fp16_are_off_by_rounding_alone_and_patches_keep_their_grid(server: Running):
    image = picture(1)
    (here,), (there,) = (one.encode_pages([image]) for one in (ColourEncoder(), half(server)))
    assert isinstance(here, PageVectors) and isinstance(there, PageVectors)
    assert 0 < np.abs(here.vectors - there.vectors).max() <= 2**-11 and there.grid == here.grid is not None


def half(server: Running) -> RemoteEncoder:
    return RemoteEncoder(server.url, RemoteSettings(dtype="float16"))


@pytest.mark.parametrize(
    "info",
    [{"transparency": (255, 255, 255)}, {"icc_profile": b"none"}, {"dpi": (1, 300)}, {"exif": b""}],
    ids=lambda info: next(iter(info)),
)
def test_pixels_arrive_as_they_are_whatever_the_image_says_about_itself(server: Running, info: dict[str, Any]):
    image = picture(2)
    if "exif" in info:
        exif = Image.Exif()
        exif[0x0112] = 6  # lies on its side
        info = {"exif": exif.tobytes()}
    image.info.update(info)
    (here,), (there,) = ColourEncoder().encode_pages([image]), load_encoder(server.url).encode_pages([image])
    assert same(there, here)


def test_a_page_that_cannot_be_encoded_is_the_error_it_is_beside_the_model_and_spoils_no_other():
    local = ColourEncoder(unlucky="green")
    red, green, blue = (Image.new("RGB", (40, 40), COLOURS[name]) for name in ("red", "green", "blue"))
    images = [red, green, Image.new("RGB", (5, 0)), Image.new("L", (5, 5)), blue]
    with encoder_server(local) as server:
        there = load_encoder(server.url).encode_pages(images)
    assert [type(one).__name__ for one in there] == [
        "PageVectors",
        "UnreadableDocument",
        "UnreadableDocument",
        "UnsupportedFormat",
        "PageVectors",
    ]
    assert "hurts its eyes" in str(there[1])


# ----------------------------------------------------------------------------------------------- the wire


def test_any_client_can_send_a_file_and_read_the_vectors(server: Running):
    file = saved(picture(3), "JPEG", quality=90)
    answer = post(server, file)
    with open_image(file) as image:
        (expected,) = ColourEncoder().encode_pages([read_frame(image, 1)])
    (vectors,), about = unpack(answer.content, 1, 3)
    assert isinstance(expected, PageVectors) and np.array_equal(vectors, expected.vectors)
    assert (about.fingerprint, about.grid) == ("colours-0", expected.grid)
    assert answer.headers["Content-Type"] == "application/vnd.safetensors"


def test_it_says_who_it_is_and_how_it_is(server: Running):
    info = server.client.get("/v1/encoder").json()
    assert info == {
        "name": NAME,
        "settings": {"dim": 3},
        "dim": 3,
        "fingerprint": "colours-0",
        "page_bytes": MAX_PAGE_BYTES,
        "queries": 128,
        "timeout": 30.0,
    }
    assert server.client.get("/health").json() == {"status": "ok", "fingerprint": "colours-0"}
    paths = server.client.get("/openapi.json").json()["paths"]
    assert set(paths) == {"/v1/encoder", "/v1/encode/page", "/v1/encode/queries", "/health", "/metrics"}
    assert "image/png" in paths["/v1/encode/page"]["post"]["requestBody"]["content"]
    load_encoder(server.url).encode_queries(["red"])
    text = server.client.get("/metrics").text
    assert 'vrag_requests_total{route="/v1/encode/queries",status="200"}' in text
    assert "vrag_queue_pages 0.0" in text and "vrag_admitted_queries 0.0" in text


# ------------------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        (b"", "UnreadableDocument"),
        (b"<html>", "UnsupportedFormat"),
        (saved(picture(1))[:-40], "UnreadableDocument"),
        (saved(Image.new("1", (8000, STORED_PIXELS // 8000 + 1))), "BudgetExceeded"),
        (saved(Image.new("1", (1, 300))), "BudgetExceeded"),
    ],
    ids=["empty", "no image", "torn", "too large", "a strip"],
)
def test_what_is_no_page_is_422_and_says_why(server: Running, file: bytes, kind: str):
    answer = post(server, file)
    assert answer.status_code == 422 and PageFailure.model_validate(answer.json()).kind == kind


@pytest.mark.parametrize("body", [{}, {"queries": []}, {"queries": ["x"] * 129}, {"queries": ["x" * 8193]}])
def test_queries_that_are_none_or_too_many_are_422(server: Running, body: object):
    assert server.client.post("/v1/encode/queries", json=body).status_code == 422
    assert server.client.post("/v1/encode/queries?dtype=int8", json={"queries": ["x"]}).status_code == 422


def test_a_body_beyond_what_its_route_takes_is_refused_unread(server: Running):
    for path, most in (("/v1/encode/page", MAX_PAGE_BYTES), ("/v1/encode/queries", MAX_BYTES)):
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {most + 1}\r\n\r\n"
        assert b" 422 " in said_to(server, head.encode()).splitlines()[0]


def said_to(server: Running, head: bytes) -> bytes:
    with socket.create_connection((server.client.base_url.host, server.client.base_url.port or 0)) as connection:
        connection.sendall(head)
        return connection.recv(4096)


def test_files_beyond_what_memory_is_kept_for_are_refused_before_they_are_read(server: Running):
    held = server.service.held
    held.taken = held.limit - 10  # as if others had sent them
    try:
        head = b"POST /v1/encode/page HTTP/1.1\r\nHost: localhost\r\nContent-Length: 11\r\n\r\n"
        answer = said_to(server, head)
        assert b" 429 " in answer.splitlines()[0] and b"retry-after: 1" in answer.lower()
    finally:
        held.taken = 0
    assert post(server, saved(picture(1))).status_code == 200 and held.taken == 0


# ------------------------------------------------------------------------------------- batches, overload


def test_pages_and_queries_that_wait_are_encoded_in_one_call(monkeypatch: pytest.MonkeyPatch):
    gate = Gate(monkeypatch, ColourEncoder, "encode_pages")
    with encoder_server(ColourEncoder(), Limits(batch=7)) as server:
        first = in_threads(1, lambda _: post(server, saved(picture(0))))
        assert gate.begun.wait(10)
        rest = in_threads(9, lambda n: post(server, saved(picture(n))))
        server.until(lambda: server.metric("vrag_queue_pages") == 9)
        gate.open()
        assert {one.result(10).status_code for one in (*first, *rest)} == {200}
        assert [len(images) for (images,) in gate.calls] == [1, 7, 2]
        assert server.metric("vrag_batch_pages_count") == 3


def test_a_large_page_takes_the_places_of_several():
    sizes: list[list[tuple[int, int]]] = []

    class Sized(ColourEncoder):
        def encode_pages(self, images: Sequence[Image.Image]) -> list[PageVectors | DocumentError]:
            sizes.append([image.size for image in images])
            held.wait(10)
            return super().encode_pages(images)

    held = threading.Event()
    large = saved(Image.new("RGB", (2000, 2 * USUAL_PIXELS // 2000 + 1)))  # three places of four
    with encoder_server(Sized(), Limits(batch=4)) as server:
        asked = in_threads(1, lambda _: post(server, saved(picture(0))))
        server.until(lambda: len(sizes) == 1)
        asked += in_threads(2, lambda _: post(server, large))
        server.until(lambda: server.metric("vrag_queue_pages") == 2)
        held.set()
        assert {one.result(20).status_code for one in asked} == {200}
    assert [len(batch) for batch in sizes] == [1, 1, 1]


def test_a_client_that_is_refused_for_now_gets_all_its_pages_in_the_end(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("vrag.servers.batching.QueueFull.retry_after", 0)
    monkeypatch.setattr("vrag.http._JITTER", 0.01)
    gate = Gate(monkeypatch, ColourEncoder, "encode_pages")
    images = [picture(seed) for seed in range(6)]
    with encoder_server(ColourEncoder(), Limits(queue=1)) as server, ThreadPoolExecutor(1) as client:
        remote = RemoteEncoder(server.url, RemoteSettings(parallel=3), attempts=100_000)
        made = client.submit(remote.encode_pages, images)
        server.until(lambda: 'status="429"' in server.client.get("/metrics").text)
        gate.open()
        found = zip(made.result(30), ColourEncoder().encode_pages(images), strict=True)
        assert all(isinstance(here, PageVectors) and same(there, here) for there, here in found)


def test_what_takes_too_long_is_504_and_its_place_is_free(monkeypatch: pytest.MonkeyPatch):
    gate = Gate(monkeypatch, ColourEncoder, "encode_pages")
    with encoder_server(ColourEncoder(), Limits(queue=1, timeout=0.2)) as server:
        assert post(server, saved(picture(1))).status_code == 504
        assert server.service.held.taken == 0 and server.metric("vrag_admitted_pages") == 0
        gate.open()
        assert post(server, saved(picture(1))).status_code == 200


# ----------------------------------------------------------------------------------------------- failures


class Breaking(ColourEncoder):
    """Fails as a whole while `broken`, and at the query "bad"."""

    broken = False

    def encode_pages(self, images: Sequence[Image.Image]) -> list[PageVectors | DocumentError]:
        if self.broken:
            raise InfrastructureError("the GPU of /home/me failed")
        return super().encode_pages(images)

    def encode_queries(self, queries: Sequence[str]) -> list[np.ndarray]:
        if "bad" in queries:
            raise InfrastructureError("query 'bad' can't be encoded")
        return super().encode_queries(queries)


def test_an_encoder_that_fails_is_no_fault_of_a_page_and_shows_in_its_health(caplog: pytest.LogCaptureFixture):
    encoder = Breaking()
    with encoder_server(encoder) as server:
        remote = load_encoder(server.url)
        encoder.broken = True
        with pytest.raises(InfrastructureError, match="answered 500") as failed:
            remote.encode_pages([picture(1)])
        assert "/home/me" not in str(failed.value) and "the GPU of /home/me failed" in caplog.text
        assert server.client.get("/health").status_code == 503
        encoder.broken = False
        assert isinstance(remote.encode_pages([picture(1)])[0], PageVectors)
        assert server.client.get("/health").status_code == 200


def test_a_query_that_cannot_be_encoded_fails_alone_and_is_asked_once():
    with encoder_server(Breaking()) as server:
        remote = load_encoder(server.url)
        with pytest.raises(InfrastructureError, match="answered 500"):
            remote.encode_queries(["red", "bad"])
        assert len(remote.encode_queries(["red"])) == 1
        assert 'route="/v1/encode/queries",status="500"} 1.0' in server.client.get("/metrics").text


def test_another_model_in_the_middle_of_a_run_is_refused(server: Running, corpus: Corpus):
    remote = load_encoder(server.url)
    index = make_index(corpus, remote, EncoderName(name=server.url))

    def changed(_: Progress) -> None:
        server.service.fingerprint = "colours-1"

    try:
        with pytest.raises(InfrastructureError, match="another model"):
            embed(corpus, remote, index, changed, batch=2)
    finally:
        server.service.fingerprint = "colours-0"
    assert index.stats().pages == 2
    assert embed(corpus, remote, index).added == 4
    index.close()


def test_a_run_whose_server_is_killed_goes_on_where_it_was(corpus: Corpus):
    command = [sys.executable, "-m", "vrag", "serve", "encoder", "--encoder", NAME, "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        found = re.search(r"http://\S+", process.stderr.readline())
        assert found, "it doesn't say where it is"
        remote = load_encoder(found[0])
        index = make_index(corpus, remote, EncoderName(name=found[0]))

        def kill(_: Progress) -> None:
            process.kill()
            process.wait(10)

        with stamina.set_testing(True, attempts=2), pytest.raises(InfrastructureError, match=found[0]):
            embed(corpus, remote, index, kill, batch=2)
    assert index.stats().pages == 2
    with encoder_server(ColourEncoder()) as server:
        report = embed(corpus, load_encoder(server.url), index)
    assert (report.added, report.pages, report.failures) == (4, 6, [])
    index.close()


# ----------------------------------------------------------------------------------------------- security


def test_with_a_token_every_request_needs_it_and_nothing_shows_it(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    caplog.set_level(logging.DEBUG)
    with encoder_server(ColourEncoder(), token=TOKEN) as server:
        for path in ("/v1/encoder", "/v1/encode/page", "/v1/encode/queries", "/health", "/metrics", "/openapi.json"):
            for wrong in ({}, {"Authorization": "Bearer no"}):
                assert server.client.post(path, headers=wrong).status_code == 401
        monkeypatch.setenv("VRAG_TOKEN", TOKEN)  # that of a search server is for a search server
        for token in ("", TOKEN + "x"):
            monkeypatch.setenv("VRAG_ENCODER_TOKEN", token)
            with pytest.raises(InfrastructureError, match=r"401.*give the server's token") as refused:
                load_encoder(server.url)
            assert TOKEN not in str(refused.value)
        monkeypatch.setenv("VRAG_ENCODER_TOKEN", TOKEN)
        assert len(load_encoder(server.url).encode_queries(["red"])) == 1
    assert TOKEN not in caplog.text


def test_without_a_token_a_web_page_of_another_name_gets_nothing(server: Running):
    assert server.client.get("/v1/encoder", headers={"Host": "evil.example"}).status_code == 421


# ---------------------------------------------------------------------------------------- the command line


def vrag(*args: object) -> int:
    return main([str(arg) for arg in args])


def index(docs: Path, folder: Path, *options: object) -> int:
    return vrag("index", docs, "-c", folder, "--workers", 1, "--ocr", "off", *options)


def test_a_corpus_made_through_a_server_is_the_one_made_beside_the_model(
    server: Running, docs: Path, read: Path, tmp_path: Path
):
    made: list[dict[str, bytes]] = []
    for name, encoder in (("near", NAME), ("far", server.url)):
        folder = Path(shutil.copytree(read, tmp_path / name))
        assert index(docs, folder, "--encoder", encoder) == 0
        made.append({file.name: file.read_bytes() for file in (folder / "vectors").glob("*.i8")})
    assert made[0] == made[1] and made[0]


@pytest.mark.parametrize("made_by", ["model", "server"])
def test_either_searches_what_the_other_has_made(
    made_by: str, server: Running, docs: Path, folder: Path, capsys: pytest.CaptureFixture[str]
):
    there, here = (server.url, NAME) if made_by == "server" else (NAME, server.url)
    assert index(docs, folder, "--encoder", there) == 0
    assert "6 pages have vectors (6 encoded, 0 failures" in capsys.readouterr().out
    for chosen in ((), ("--encoder", here)):
        assert vrag("search", "blue", "-c", folder, "--by", "visual", "-k", 1, *chosen) == 0
        assert "bl.png" in capsys.readouterr().out
    assert index(docs, folder, "--encoder", here) == 0
    assert "6 pages have vectors (0 encoded" in capsys.readouterr().out


def test_questions_are_asked_and_measured_through_a_server(server: Running, docs: Path, folder: Path, tmp_path: Path):
    tasks = tmp_path / "tasks.jsonl"
    tasks.write_text(
        '{"id": "1", "question": "blue", "answers": ["x"], "gold": [{"ref": {"document": "bl.png", "page": 1}}]}\n'
    )
    assert index(docs, folder, "--encoder", NAME) == 0
    options = ("-c", folder, "--encoder", server.url, "--encoder-set", "dtype=float16")
    asked = server.metric("vrag_batch_queries_sum")
    for command in (
        ["eval", "retrieval", *options, "--tasks", tasks, "--out", tmp_path / "one"],
        ["eval", *options, "--tasks", tasks, "--out", tmp_path / "two"],
        ["ask", "which page is blue", *options, "--out", tmp_path / "three"],
    ):
        assert vrag(*command) in (0, 1)  # 1: asked, and no answer found
        before, asked = asked, server.metric("vrag_batch_queries_sum")
        assert asked > before


def test_an_encoder_that_nothing_is_asked_of_or_that_is_another_is_said(
    server: Running, docs: Path, folder: Path, capsys: pytest.CaptureFixture[str]
):
    for by in ("text", "auto"):
        assert vrag("search", "red", "-c", folder, "--by", by, "--encoder", server.url) == 2
        assert "asks no encoder" in capsys.readouterr().err
    assert vrag("search", "red", "-c", folder, "--encoder-set", "parallel=2") == 2
    assert "give both" in capsys.readouterr().err
    assert vrag("serve", "search", "-c", folder, "--port", 0, "--by", "text", "--encoder", server.url) == 2
    assert "asks no encoder" in capsys.readouterr().err
    assert index(docs, folder, "--encoder", NAME, "--encoder-set", "revision=1") == 0
    assert vrag("search", "red", "-c", folder, "--encoder", server.url) == 1
    assert "another encoder" in capsys.readouterr().err


def test_a_server_that_isnt_there_is_one_line(docs: Path, folder: Path, capsys: pytest.CaptureFixture[str]):
    with stamina.set_testing(True, attempts=2):
        assert index(docs, folder, "--encoder", "http://127.0.0.1:9") == 1
    shown = capsys.readouterr().err
    assert "encoder server http://127.0.0.1:9: ConnectError" in shown and "Traceback" not in shown


def test_a_search_server_can_ask_an_encoder_server(server: Running, corpus: Corpus):
    index = make_index(corpus, ColourEncoder(), EncoderName(name="nowhere:at_all"))
    embed(corpus, ColourEncoder(), index)
    index.close()
    engine = Engine(corpus.folder, "visual", EncoderName(name=server.url))
    with started(search_app(engine)) as searching:
        (pages,) = searching.search("blue", k=1)
        assert corpus.page(pages[0]).ref.document == "bl.png"
    with pytest.raises(CorpusError, match="another encoder"):
        index_encoder(open_index(corpus), EncoderName(name=NAME, settings={"revision": 3}))
