"""What an index on a Qdrant server does when the server misbehaves, and what it sends; over HTTP, to a stand-in."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import stamina
from PIL import Image
from qdrant_client import QdrantClient
from qdrant_client.http.exceptions import ResponseHandlingException

from tests.colours import COLOURS, ColourEncoder
from tests.qdrant_stub import LAYOUT, Seen, Stub, info, serving
from tests.vectors import DIM, a_page, a_query
from vrag.corpus.ingest import IngestOptions, ingest
from vrag.corpus.paths import vectors_elsewhere
from vrag.corpus.store import Corpus
from vrag.embed import check_place, embed, index_encoder
from vrag.errors import CorpusError, InfrastructureError, UsageError, VragError
from vrag.index import qdrant_server
from vrag.index.qdrant import QdrantIndex, connect
from vrag.index.qdrant_place import QdrantPlace, write_place
from vrag.index.qdrant_server import QdrantServer
from vrag.index.vectors import EncoderName, Filter, PageRecord
from vrag.retriever import VisualRetriever
from vrag.types import PageVectors

KEY = "canary-5ecret"


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serving() as made, stamina.set_testing(True, attempts=99, cap=True):  # no waiting; as many tries as are set
        yield made


@pytest.fixture
def index(stub: Stub) -> Iterator[QdrantIndex]:
    opened = QdrantIndex.open(connect(stub.url, tries=3), "pages")
    stub.seen.clear()
    yield opened
    opened.close()


# ------------------------------------------------------------------------------------------- use of it


@pytest.mark.filterwarnings("ignore:Payload indexes have no effect", "ignore:Local mode performs exact")
def test_a_corpus_is_embedded_and_searched_as_with_an_index_of_its_own(tmp_path: Path):
    docs = tmp_path / "docs"
    docs.mkdir()
    for colour, rgb in COLOURS.items():
        image = Image.new("RGB", (80, 80), "white")
        image.paste(rgb, (20, 20, 60, 60))
        image.save(docs / f"{colour}.png")
    with Corpus.create(tmp_path / "corpus") as corpus:
        ingest([docs], corpus, IngestOptions(workers=1, ocr="off"))
        server = QdrantServer(QdrantClient(":memory:"), "http://qdrant:6333")
        name, encoder = EncoderName(name="tests.colours:ColourEncoder"), ColourEncoder()
        index = QdrantIndex.create(server, "colours", encoder.dim, encoder.fingerprint, name)
        assert embed(corpus, encoder, index).added == 4  # type: ignore[arg-type]
        (docs / "red.png").unlink()
        ingest([docs], corpus, IngestOptions(workers=1, ocr="off"))
        assert embed(corpus, encoder, index).removed == 1  # type: ignore[arg-type]
        retriever = VisualRetriever(corpus, index, index_encoder(index))  # type: ignore[arg-type]
        hits = asyncio.run(retriever.search("blue", 2))
        assert hits[0].ref.document == "blue.png" and len(hits) == 2
        index.close()


def test_an_address_with_a_slash_at_its_end_is_the_same_place(tmp_path: Path):
    with Corpus.create(tmp_path / "corpus") as corpus:
        write_place(vectors_elsewhere(corpus.folder), QdrantPlace(url="http://h:6333", collection="mine"))
        check_place(corpus, QdrantPlace(url="http://h:6333/", collection="mine"))
        with pytest.raises(CorpusError, match="leave the other place out"):
            check_place(corpus, QdrantPlace(url="http://h:6334", collection="mine"))


# -------------------------------------------------------------------------------------------- retries

CALLS: list[tuple[str, Callable[[QdrantIndex], object]]] = [
    ("POST /collections/pages/points/query", lambda index: index.search(a_query(0), 3)),
    ("PUT /collections/pages/points", lambda index: index.upsert([a_page(1)])),
    ("POST /collections/pages/points/scroll", lambda index: index.ids()),
]


@pytest.mark.parametrize(("what", "call"), CALLS)
@pytest.mark.parametrize("status", [429, 502, 503])
def test_what_passes_is_waited_out(
    stub: Stub, index: QdrantIndex, what: str, call: Callable[[QdrantIndex], object], status: int
):
    stub.faults = [(status, {}, "busy")] * 2
    call(index)
    assert stub.count(what) == 3
    assert len({asked.body for asked in stub.seen}) == 1, "the same request each time"


@pytest.mark.parametrize(("what", "call"), CALLS)
def test_what_does_not_pass_is_an_infrastructure_error_after_a_bounded_number_of_tries(
    stub: Stub, index: QdrantIndex, what: str, call: Callable[[QdrantIndex], object]
):
    stub.faults = [(503, {}, '{"status": {"error": "shard 3 is initializing"}}')] * 99
    with pytest.raises(InfrastructureError, match=r"shard 3 is initializing.*tried 3 times") as caught:
        call(index)
    assert stub.url in str(caught.value) and type(caught.value) is InfrastructureError
    assert stub.count(what) == 3


def test_nobody_listening_is_an_infrastructure_error_that_says_what_to_do(stub: Stub):
    import socket

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        server = connect(f"http://127.0.0.1:{unused.getsockname()[1]}", tries=2)
        with pytest.raises(InfrastructureError, match=f"{server.url} doesn't answer.*2 times: start the server"):
            QdrantIndex.open(server, "pages")
    server.close()


def test_time_that_is_up_is_tried_again(stub: Stub):
    server, left = connect(stub.url), [httpx.ReadTimeout("no answer"), httpx.ConnectTimeout("no connection")]

    def request(client: object) -> str:
        if left:
            raise ResponseHandlingException(left.pop())
        return "an answer"

    assert server.call(request) == "an answer"
    server.close()


def test_a_server_may_say_how_long_to_wait_within_bounds(stub: Stub, index: QdrantIndex):
    waits = list[float]()
    real = qdrant_server._pause

    def noting(error: Exception) -> bool | float:
        waits.append(float(real(error)))
        return waits[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(qdrant_server, "_pause", noting)
        stub.faults = [(429, {"Retry-After": after}, "") for after in ("7", "86400")]
        index.ids()
    assert 7 <= waits[0] <= 8 and 30 <= waits[1] <= 31
    stub.faults = [(429, {"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}, "")]
    assert index.ids() == set()


def test_a_write_that_is_accepted_but_not_applied_is_not_done(stub: Stub, index: QdrantIndex):
    stub.answers["PUT /collections/pages/points"] = {"operation_id": 1, "status": "acknowledged"}
    with pytest.raises(InfrastructureError, match="not applied"):
        index.upsert([a_page(1)])
    assert stub.count("PUT /collections/pages/points") == 3


@pytest.mark.parametrize(
    ("status", "said", "remedy"),
    [
        (400, "Wrong input: Vector dimension error", "log of the server"),
        (401, "Invalid API key", "VRAG_QDRANT_API_KEY"),
        (403, "Forbidden", "may do this"),
        (404, "Collection `pages` doesn't exist!", "name"),
        (413, "Payload too large", "request_bytes"),
        (500, "Service internal error: No space left on device", "log of the server"),
    ],
)
def test_what_the_server_refuses_is_said_at_once_with_a_remedy(
    stub: Stub, index: QdrantIndex, status: int, said: str, remedy: str
):
    stub.faults = [(status, {}, json.dumps({"status": {"error": said}, "time": 0.0}))]
    with pytest.raises(CorpusError, match=f"{status}.*{said}.*{remedy}"):
        index.upsert([a_page(1)])
    assert len(stub.seen) == 1


def test_an_answer_that_is_not_qdrants_is_an_error(stub: Stub, index: QdrantIndex):
    stub.faults = [(200, {}, '{"result": "hello"}')]
    with pytest.raises(CorpusError, match="match their versions"):
        index.ids()
    stub.faults = [(418, {}, "<html>a teapot</html>")]
    with pytest.raises(CorpusError, match="teapot"):
        index.ids()


def test_an_index_that_was_closed_says_so(index: QdrantIndex):
    index.close()
    with pytest.raises(CorpusError, match=r"closed.*open the index anew"):
        index.ids()


# ------------------------------------------------------------------------------------------- creating


def test_a_creation_whose_answer_got_lost_succeeds_and_one_that_came_second_does_not(stub: Stub):
    exists, described = "GET /collections/pages/exists", "GET /collections/pages"
    conflict = json.dumps({"status": {"error": "Collection `pages` already exists!"}})

    def create(theirs: bool) -> None:
        stub.answers[exists] = {"exists": False}
        server = connect(stub.url)
        answer = stub.answer

        def lost(asked: Seen) -> tuple[int, dict[str, str], str]:
            if asked.what != "PUT /collections/pages":
                return answer(asked)
            stub.answers[exists] = {"exists": True}
            layout = LAYOUT.model_dump(mode="json") if theirs else json.loads(asked.body)["metadata"]["vrag"]
            stub.answers[described] = info({"vrag": layout})
            first = stub.count(asked.what) == 0
            stub.seen.append(asked)
            return (502, {}, "") if first else (409, {}, conflict)

        stub.answer = lost  # type: ignore[method-assign]
        try:
            QdrantIndex.create(server, "pages", DIM, "an encoder", pool=8)
        finally:
            stub.answer = answer  # type: ignore[method-assign]
            stub.seen.clear()
            server.close()

    create(theirs=False)
    with pytest.raises(CorpusError, match="already exists"):
        create(theirs=True)


def test_a_collection_has_two_fp16_multivectors_without_a_graph_and_what_the_settings_say(stub: Stub):
    stub.answers["GET /collections/pages/exists"] = {"exists": False}
    server = connect(stub.url)
    QdrantIndex.create(server, "pages", DIM, "an encoder", shards=6, replicas=2).close()
    made = next(json.loads(asked.body) for asked in stub.seen if asked.what == "PUT /collections/pages")
    for name, on_disk in (("pool", False), ("full", True)):
        vectors = made["vectors"][name]
        assert vectors["size"] == DIM and vectors["distance"] == "Dot" and vectors["on_disk"] is on_disk
        assert vectors["datatype"] == "float16" and vectors["multivector_config"] == {"comparator": "max_sim"}
        assert vectors["hnsw_config"] == {"m": 0}
    assert made["on_disk_payload"] is True
    assert (made["shard_number"], made["replication_factor"]) == (6, 2)
    assert made["metadata"]["vrag"]["fingerprint"] == "an encoder"


def test_payload_indexes_that_a_kill_left_out_are_made_when_the_collection_is_opened(stub: Stub):
    half = {"page": "keyword", "terms": "keyword"}
    stub.answers["GET /collections/pages"] = info({"vrag": LAYOUT.model_dump(mode="json")}, half)
    QdrantIndex.open(connect(stub.url), "pages").close()
    made = [json.loads(asked.body)["field_name"] for asked in stub.seen if asked.what == "PUT /collections/pages/index"]
    assert made == ["document", "vectors"]


@pytest.mark.parametrize("metadata", [None, {}, {"vrag": {"format": 2}}, {"vrag": 7}])
def test_a_collection_of_something_else_is_refused(stub: Stub, metadata: object):
    stub.answers["GET /collections/pages"] = info(metadata)
    server = connect(stub.url)
    with pytest.raises(CorpusError, match="use another"):
        QdrantIndex.open(server, "pages")
    server.close()


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\0b", "é" * 200])
def test_a_name_that_no_collection_can_have_is_refused_before_anything_is_sent(stub: Stub, name: str):
    server = connect(stub.url)
    with pytest.raises(UsageError, match="name of a collection"):
        QdrantIndex.open(server, name)
    with pytest.raises(UsageError, match="name of a collection"):
        QdrantIndex.create(server, name, DIM, "an encoder")
    with pytest.raises(UsageError, match="at least one"):
        QdrantIndex.create(server, "pages", DIM, "an encoder", replicas=0)
    assert stub.seen == []
    server.close()


# ---------------------------------------------------------------------------------------- what is sent


def test_pages_are_sent_in_requests_of_bounded_size_that_wait_to_be_applied(stub: Stub):
    limit = 120_000
    index = QdrantIndex.open(connect(stub.url, request_bytes=limit), "pages")
    pages = [a_page(number, vectors=57) for number in range(12)]
    stub.seen.clear()
    index.upsert(pages)
    sent = [asked for asked in stub.seen if asked.what == "PUT /collections/pages/points"]
    assert 1 < len(sent) < len(pages) and all("wait=true" in asked.query for asked in sent)
    assert max(len(asked.body) for asked in sent) <= limit
    written = [point for asked in sent for point in json.loads(asked.body)["points"]]
    assert [point["payload"]["page"] for point in written] == [page.id for page in pages]
    for point, page in zip(written, pages, strict=True):
        np.testing.assert_allclose(point["vector"]["full"], page.vectors.vectors, atol=1e-6)
    index.upsert([pages[3]])
    assert json.loads(stub.seen[-1].body)["points"][0]["id"] == written[3]["id"]
    index.upsert([a_page(1, vectors=900)])  # larger than a request may be: alone, for the server to judge
    assert len(json.loads(stub.seen[-1].body)["points"]) == 1
    index.close()


def test_a_search_asks_for_candidates_by_pooled_vectors_and_has_them_compared_by_all(stub: Stub, index: QdrantIndex):
    index.search(a_query(0), 7, where=Filter(documents=["doc"], meta={"year": 2024}))
    asked = json.loads(stub.seen[-1].body)
    assert (asked["using"], asked["limit"], asked["params"]["exact"]) == ("full", 7, True)
    first = asked["prefetch"]
    assert (first["using"], first["limit"], first["params"]["exact"]) == ("pool", 200, True)
    assert asked["query"] == {"nearest": first["query"]} and first["filter"] == asked["filter"]
    assert asked["filter"]["must"][0] == {"key": "document", "match": {"any": ["doc"]}}
    index.search(a_query(0), 7, exact=True)
    assert "prefetch" not in json.loads(stub.seen[-1].body)
    stub.seen.clear()
    assert index.search(a_query(0), 7, where=Filter(pages=[])) == index.search(a_query(0), 0) == []
    assert index.delete(Filter(documents=[])) == 0
    assert stub.seen == [], "what no page can match is not asked for"


def test_ids_are_listed_to_the_end(stub: Stub, index: QdrantIndex, monkeypatch: pytest.MonkeyPatch):
    lists = [(["a", "b"], 7), (["c"], None)]
    offsets = list[object]()

    def scroll(asked: Seen) -> tuple[int, dict[str, str], str]:
        offsets.append(json.loads(asked.body).get("offset"))
        names, following = lists[len(offsets) - 1]
        points = [{"id": number, "payload": {"page": name}} for number, name in enumerate(names)]
        return 200, {}, json.dumps({"result": {"points": points, "next_page_offset": following}})

    monkeypatch.setattr(stub, "answer", scroll)
    assert index.ids() == {"a", "b", "c"} and offsets == [None, 7]


def test_counts_are_added_up_by_the_server(index: QdrantIndex):
    stats = index.stats()
    assert (stats.pages, stats.vectors) == (5, 3 * 20 + 2 * 21)
    assert stats.bytes == (102 + 5 * 3) * DIM * 2  # three pooled vectors each


def test_metadata_that_no_filter_could_find_is_refused_with_the_page_named(stub: Stub, index: QdrantIndex):
    page = PageRecord("page-odd", "doc", PageVectors(a_page(1).vectors.vectors), {"share": float("nan")})
    with pytest.raises(UsageError, match=r"page-odd.*'share' is nan"):
        index.upsert([a_page(2), page])
    with pytest.raises(UsageError, match="'share' is inf"):
        index.search(a_query(0), 3, where=Filter(meta={"share": float("inf")}))
    assert stub.seen == []


# ----------------------------------------------------------------------------------- the key, the client


@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")
@pytest.mark.parametrize("source", ["argument", "environment"])
def test_the_api_key_is_sent_and_shown_nowhere(
    stub: Stub, source: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("VRAG_QDRANT_API_KEY", f"{KEY}\n" if source == "environment" else "another")
    server = connect(stub.url, api_key=KEY if source == "argument" else None, tries=2)
    index = QdrantIndex.open(server, "pages")
    assert {asked.headers["api-key"] for asked in stub.seen} == {KEY}
    shown = [repr(index), str(index), repr(server), repr(vars(index))]
    echo = '{"status": {"error": "bad key {key}"}}'
    for faults in (
        [(403, {}, echo)],
        [(500, {}, "headers: {key}")],
        [(503, {}, "{key}")] * 2,
        [(429, {"Retry-After": "1"}, echo)] * 2,
        [(429, {"Retry-After": "soon"}, echo)] * 2,
        [(200, {}, '{"result": {"points": "{key}"}}')],
    ):
        stub.faults = faults
        with pytest.raises(VragError) as caught:
            index.search(a_query(0), 3)
        shown += [repr(caught.value), "".join(traceback.format_exception(caught.value))]
    index.close()
    with pytest.raises(InfrastructureError) as caught:
        connect("http://127.0.0.1:9", api_key=KEY, tries=1).call(lambda client: client.collection_exists("pages"))
    shown += ["".join(traceback.format_exception(caught.value)), caplog.text]
    shown += [repr(record.__dict__) for record in caplog.records]
    assert caplog.records and not [text for text in shown if KEY in text]


@pytest.mark.parametrize("key", ["canary-5ecret\nx-header: 1", "canary-5ecret-é"])
def test_a_key_that_no_header_can_carry_is_refused_without_being_shown(key: str):
    with pytest.raises(UsageError) as caught:
        connect("http://127.0.0.1:6333", api_key=key)
    assert KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:6333", "ftp://host", "http://", "http://host:port", "http://user:5ecret@host:6333"]
)
def test_an_address_that_is_none_is_refused_and_a_password_in_it_not_shown(url: str):
    with pytest.raises(UsageError) as caught:
        connect(url)
    assert "5ecret" not in str(caught.value)


@pytest.mark.parametrize("missing", ["qdrant_client", "stamina"])
def test_a_missing_client_names_the_extra(missing: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(UsageError, match=r"pip install 'vrag\[qdrant\]'"):
        connect("http://127.0.0.1:6333")


def test_importing_the_index_imports_neither_the_client_nor_its_engine():
    code = "import sys, vrag.index.qdrant; print([n for n in sys.modules if n.split('.')[0] in %r])"
    names = ("qdrant_client", "stamina", "httpx", "grpc")
    done = subprocess.run([sys.executable, "-c", code % (names,)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
