"""The search server as its clients see it: over a real socket."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import socket
from collections.abc import Generator
from pathlib import Path

import httpx
import pytest
from PIL import Image, ImageDraw

from tests.colours import COLOURS, ColourEncoder
from tests.papers import write_pdf
from tests.serving import Gate, Running, in_threads, serving
from vrag.corpus.ingest import IngestOptions, ingest
from vrag.corpus.store import Corpus
from vrag.embed import embed, make_index
from vrag.errors import InfrastructureError
from vrag.index.vectors import EncoderName
from vrag.remote import RemoteRetriever
from vrag.retriever import open_retriever
from vrag.servers.limits import MAX_BYTES, MAX_CHARS, MAX_K, Limits

TEXTS = ["a page that says red", "a page that says amber and amber", "nothing of it"]
TOKEN = "canary-9b74c9897bac770f"
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of three pages of text and a picture of each colour, with vectors."""
    docs = tmp_path_factory.mktemp("docs")
    write_pdf(docs / "words.pdf", TEXTS)
    for colour, value in COLOURS.items():
        image = Image.new("RGB", (200, 200), "white")
        ImageDraw.Draw(image).rectangle((100, 100, 199, 199), value)
        image.save(docs / f"{colour[:2]}.png")
    with Corpus.create(tmp_path_factory.mktemp("home") / "corpus") as corpus:
        ingest([docs], corpus, IngestOptions(workers=1, ocr="off"))
        index = make_index(corpus, ColourEncoder(), EncoderName(name="tests.colours:ColourEncoder"))
        embed(corpus, ColourEncoder(), index)
        index.close()
        return corpus.folder


@pytest.fixture(scope="module")
def corpus(folder: Path) -> Generator[Corpus]:
    with Corpus.open(folder) as corpus:
        yield corpus


@pytest.fixture(scope="module")
def server(folder: Path) -> Generator[Running]:
    with serving(folder) as running:
        yield running


def post(server: Running, body: object, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return server.client.post("/v1/search", content=content, headers={**JSON, **headers})


# ---------------------------------------------------------------------------------------- answers


@pytest.mark.parametrize("by", ["auto", "text", "visual", "fused"])
def test_the_client_finds_what_a_search_on_the_spot_finds(server: Running, corpus: Corpus, by: str):
    here, there = open_retriever(corpus, by), RemoteRetriever(server.url, by=by)  # type: ignore[arg-type]
    queries = ["red", "amber", "page blue", "zebra"]
    expected = [asyncio.run(here.search(query, 5)) for query in queries]
    assert [asyncio.run(there.search(query, 5)) for query in queries] == expected
    assert asyncio.run(there.search_many(queries, 5)) == expected
    assert expected[0] and (by != "text" or expected[3] == [])


def test_an_answer_names_pages_and_index_version(server: Running, corpus: Corpus):
    answer = post(server, {"queries": ["amber", "zebra"], "k": 2, "by": "text"}).json()
    assert [len(hits) for hits in answer["results"]] == [1, 0]
    hit = answer["results"][0][0]
    assert (hit["document"], hit["page"], hit["ranks"]) == ("words.pdf", 2, {})
    assert hit["page_id"] in {page.id for page in corpus.pages()} and hit["score"] > 0
    one = server.client.get("/v1/search", params={"q": "amber", "k": 2, "by": "text"}).json()
    assert one == {"results": answer["results"][:1], "index_version": answer["index_version"]}


def test_fused_hits_say_who_found_them(server: Running):
    (hits,) = post(server, {"queries": ["red"], "k": 2}).json()["results"]
    assert {hit["document"]: hit["ranks"].get("text", 0) for hit in hits} == {"words.pdf": 1, "re.png": 0}
    assert hits[0]["ranks"]["visual"] >= 1


def test_agents_of_vrag_rl_get_ten_images_for_each_query_in_order(server: Running):
    answer = server.client.get("/search", params={"queries": ["red", "blue"]})
    first, second = answer.json()
    assert [set(item) for item in first] == [{"idx", "image_file"}] * len(first)
    assert [item["idx"] for item in first] == list(range(len(first)))
    assert [server.search("red", "blue")[n][0] in found[0]["image_file"] for n, found in enumerate((first, second))]
    image = server.client.get(second[0]["image_file"])
    assert image.headers["content-type"] == "image/jpeg"
    with Image.open(io.BytesIO(image.content)) as opened:
        assert opened.size == (200, 200)


def test_a_page_has_its_text_and_its_image(server: Running, corpus: Corpus):
    page = next(page for page in corpus.pages() if page.ref.page == 2)
    found = server.client.get(f"/v1/pages/{page.id}").json()
    image = server.client.get(found.pop("image"))
    assert image.content == next((corpus.folder / "pages").rglob(f"{page.id}.jpg")).read_bytes()
    assert found == {
        "page_id": page.id,
        "document": "words.pdf",
        "page": 2,
        "width": page.width,
        "height": page.height,
        "text": page.text,
        "text_source": "layer",
    }


def test_the_schema_describes_all_routes(server: Running):
    paths = server.client.get("/openapi.json").json()["paths"]
    assert set(paths) == {
        "/v1/search",
        "/search",
        "/v1/pages/{page_id}",
        "/v1/pages/{page_id}/image",
        "/health",
        "/metrics",
    }
    assert server.client.get("/docs").status_code == 404  # would load scripts from elsewhere


def test_health_and_metrics(server: Running, corpus: Corpus):
    health = server.client.get("/health").json()
    assert health["status"] == "ok" and health["pages"] == corpus.count() == 7
    before = server.metric("vrag_batch_queries_sum")
    server.search("a", "b", "c")
    assert server.metric("vrag_batch_queries_sum") == before + 3
    text = server.client.get("/metrics").text
    assert 'vrag_requests_total{route="/v1/search",status="200"}' in text
    assert 'vrag_request_seconds_bucket{le="0.1",route="/v1/search"}' in text
    assert "vrag_queue_queries 0.0" in text


# ----------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        b"{",
        {"queries": []},
        {"queries": "red"},
        {"queries": [None]},
        {"queries": ["red"], "k": 0},
        {"queries": ["red"], "k": MAX_K + 1},
        {"queries": ["red"], "by": "smell"},
        {"queries": ["red"], "page": 2},
        {"queries": ["red"] * 129},
        {"queries": ["red"] * 100, "k": 999},
        {"queries": ["r" * (MAX_CHARS + 1)]},
        b'{"queries": ["\\ud800"]}',
        b" " * (MAX_BYTES + 1),
    ],
    ids=lambda body: str(body)[:30],
)
def test_what_is_no_request_or_asks_too_much_is_422(server: Running, body: object):
    assert post(server, body).status_code == 422
    assert server.search("red")[0]


def test_what_is_no_text_is_a_bad_request(server: Running):
    assert post(server, b"\xff").status_code == 400


def test_a_body_that_doesnt_say_how_long_it_is_is_bounded(server: Running):
    pieces = (b" " * 65536 for _ in range(MAX_BYTES // 65536 + 1))
    answer = server.client.post("/v1/search", content=pieces, headers=JSON)
    assert answer.status_code == 422 and "at most" in answer.text


@pytest.mark.parametrize("query", ["", " ", "\0", 'red" OR *', "NEAR(", "'; DROP TABLE pages", "r" * MAX_CHARS, "😀"])
def test_any_text_is_a_query(server: Running, query: str):
    assert len(server.search(query, by="text")) == len(server.search(query, by="fused")) == 1


def test_a_way_to_search_that_isnt_open_is_422(folder: Path):
    with serving(folder, "text") as server:
        assert server.search("red") == server.search("red", by="auto") == server.search("red", by="text")
        answer = post(server, {"queries": ["red"], "by": "visual"})
        assert answer.status_code == 422 and "auto, text" in answer.text


# ------------------------------------------------------------------------------ batching, overload


def test_queries_that_wait_together_are_encoded_in_one_call(folder: Path, monkeypatch: pytest.MonkeyPatch):
    gate = Gate(monkeypatch, ColourEncoder, "encode_queries")
    with serving(folder, limits=Limits(queue=64, batch=32)) as server:
        held = in_threads(2, lambda n: server.search(("red", "green")[n], by="visual", k=1 + n))  # a batch each
        assert gate.begun.wait(10)
        server.until(lambda: server.metric("vrag_admitted_queries") == 2 and server.metric("vrag_queue_queries") == 0)
        waiting = in_threads(6, lambda n: server.search(f"blue {n}", by="visual", k=1))
        server.until(lambda: server.metric("vrag_queue_queries") == 6)
        assert len(gate.calls) == 1  # an encoder isn't shared by two threads
        gate.open()
        assert len({one.result(10)[0][0] for one in waiting}) == 1 and all(one.result(10)[0] for one in held)
    assert sorted(len(queries) for (queries,) in gate.calls) == [1, 1, 6]


def test_too_many_queries_are_refused_at_once_and_say_when_to_come_back(folder: Path, monkeypatch: pytest.MonkeyPatch):
    gate = Gate(monkeypatch, Corpus, "search")
    with serving(folder, "text", Limits(queue=2, batch=1)) as server:
        held = in_threads(2, lambda n: server.search("amber"))
        server.until(lambda: server.metric("vrag_admitted_queries") == 2)
        refused = post(server, {"queries": ["red"]})
        assert refused.status_code == 429 and int(refused.headers["Retry-After"]) >= 1
        assert server.client.get("/health").status_code == 200
        gate.open()
        assert held[0].result(10) == held[1].result(10) == server.search("amber")
        assert post(server, {"queries": ["red"] * 3}).status_code == 422  # would never be admitted


def test_what_is_refused_at_once_is_answered_at_once_to_a_get_too(folder: Path, monkeypatch: pytest.MonkeyPatch):
    gate = Gate(monkeypatch, Corpus, "search")
    with serving(folder, "text", Limits(queue=1, batch=1)) as server:
        get = server.client.get
        assert get("/v1/search?q=amber&by=visual", timeout=10).status_code == 422
        held = in_threads(1, lambda n: server.search("amber"))
        server.until(lambda: server.metric("vrag_admitted_queries") == 1)
        assert [get("/v1/search?q=amber", timeout=10).status_code for _ in range(3)] == [429] * 3
        gate.open()
        assert held[0].result(10)


def test_what_takes_too_long_is_504(folder: Path, monkeypatch: pytest.MonkeyPatch):
    gate = Gate(monkeypatch, Corpus, "search")
    with serving(folder, "text", Limits(queue=1, timeout=0.2)) as server:
        assert post(server, {"queries": ["red"]}).status_code == 504
        gate.open()
        assert server.search("red")[0]


def test_a_client_that_goes_away_frees_its_slot(folder: Path, monkeypatch: pytest.MonkeyPatch):
    gate = Gate(monkeypatch, Corpus, "search")
    with serving(folder, "text", Limits(queue=1)) as server:
        address = server.client.base_url.host, server.client.base_url.port
        with socket.create_connection(address) as leaver:  # type: ignore[arg-type]
            leaver.sendall(b"GET /v1/search?q=amber HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert gate.begun.wait(10)
            assert post(server, {"queries": ["red"]}).status_code == 429
        server.until(lambda: server.metric("vrag_admitted_queries") == 0)
        stays = in_threads(1, lambda n: server.search("amber"))
        gate.open()
        assert stays[0].result(10)[0]
        assert 'status="499"' in server.client.get("/metrics").text


# --------------------------------------------------------------------------------------- failures


def test_a_search_that_fails_is_503_without_a_path_and_an_infrastructure_error_at_the_client(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def fail(*_: object) -> None:
        raise InfrastructureError(f"disk of {folder} is gone")

    with serving(folder, "text") as server:
        monkeypatch.setattr("vrag.servers.service.search_many", fail)
        answer = post(server, {"queries": ["red"]})
        assert answer.status_code == 503 and str(folder) not in answer.text
        with pytest.raises(InfrastructureError, match=server.url):
            asyncio.run(RemoteRetriever(server.url, attempts=1).search("red", 1))
    assert f"disk of {folder} is gone" in caplog.text


def test_health_is_503_when_the_corpus_is_gone(folder: Path):
    with serving(folder, "text") as server:
        moved = folder.rename(folder.with_name("elsewhere"))
        try:
            assert server.client.get("/health").status_code == 503
        finally:
            moved.rename(folder)
        assert server.client.get("/health").status_code == 200


# --------------------------------------------------------------------------------------- security


def test_with_a_token_every_request_needs_it_and_nothing_shows_it(folder: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    paths = ["/v1/search?q=red", "/search?queries=red", "/health", "/metrics", "/openapi.json", "/nothing"]
    with serving(folder, token=TOKEN) as server:
        for path in paths:
            for wrong in ({}, {"Authorization": "Bearer no"}, {"Authorization": TOKEN}, {"Authorization": "Bearer é"}):
                refused = server.client.get(path, headers={k: v.encode("latin-1") for k, v in wrong.items()})
                assert refused.status_code == 401 and refused.headers["WWW-Authenticate"] == "Bearer"
                assert TOKEN not in refused.text
            allowed = server.client.get(path, headers={"Authorization": f"Bearer {TOKEN}"})
            assert allowed.status_code == (404 if path == "/nothing" else 200)
            assert TOKEN not in allowed.text
        assert asyncio.run(RemoteRetriever(server.url, token=TOKEN).search("red", 1))
        with pytest.raises(InfrastructureError, match="401") as failed:
            asyncio.run(RemoteRetriever(server.url, token=TOKEN + "x").search("red", 1))
        assert TOKEN not in str(failed.value)
    assert TOKEN not in caplog.text


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8002", "127.0.0.1.evil.example", "", "[::1"])
def test_without_a_token_a_web_page_of_another_name_gets_nothing(server: Running, host: str):
    refused = server.client.get("/v1/search?q=red", headers={"Host": host})
    assert refused.status_code in (400, 421) and "words.pdf" not in refused.text


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1", "[::1]:8002"])
def test_without_a_token_this_machine_is_answered_by_any_of_its_names(server: Running, host: str):
    assert server.client.get("/v1/search?q=red", headers={"Host": host}).status_code == 200
