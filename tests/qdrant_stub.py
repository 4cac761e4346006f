"""A stand-in for a Qdrant server over HTTP: fixed answers, and what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from qdrant_client import models

from tests.vectors import DIM
from vrag.index.qdrant_schema import Layout
from vrag.index.vectors import EncoderName

LAYOUT = Layout(dim=DIM, pool=8, fingerprint="an encoder", encoder=EncoderName(name="an/encoder"), made="once")
DONE = {"operation_id": 1, "status": "completed"}
FIELDS = {"page": "keyword", "document": "keyword", "terms": "keyword", "vectors": "integer"}


def info(metadata: object, fields: dict[str, str] | None = None) -> dict[str, Any]:
    """What a server says of a collection."""
    described = models.CollectionInfo(
        status=models.CollectionStatus.GREEN,
        optimizer_status=models.OptimizersStatusOneOf.OK,
        segments_count=1,
        payload_schema={
            name: models.PayloadIndexInfo(data_type=models.PayloadSchemaType(kind), points=0)
            for name, kind in (FIELDS if fields is None else fields).items()
        },
        config=models.CollectionConfig(
            params=models.CollectionParams(),
            hnsw_config=models.HnswConfig(m=16, ef_construct=100, full_scan_threshold=10_000),
            optimizer_config=models.OptimizersConfig(
                deleted_threshold=0.2, vacuum_min_vector_number=1000, default_segment_number=0, flush_interval_sec=5
            ),
        ),
    )
    said = json.loads(described.model_dump_json())
    said["config"]["metadata"] = metadata
    return said


@dataclass(frozen=True)
class Seen:
    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes

    @property
    def what(self) -> str:
        return f"{self.method} {self.path}"


@dataclass
class Stub:
    """`faults` are served first, one a request: status, headers and body, where "{key}" is the API key that came."""

    url: str
    answers: dict[str, Any]
    faults: list[tuple[int, dict[str, str], str]] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)

    def answer(self, asked: Seen) -> tuple[int, dict[str, str], str]:
        self.seen.append(asked)
        if self.faults:
            status, headers, body = self.faults.pop(0)
            return status, headers, body.replace("{key}", asked.headers.get("api-key", ""))
        if asked.what not in self.answers:
            return 404, {}, json.dumps({"status": {"error": f"Not found: {asked.what}"}})
        return 200, {}, json.dumps({"result": self.answers[asked.what], "status": "ok", "time": 0.0})

    def count(self, what: str) -> int:
        return sum(asked.what == what for asked in self.seen)


@contextmanager
def serving(layout: Layout = LAYOUT) -> Iterator[Stub]:
    """A server with the collection `pages`, which says that it is laid out so."""

    class Handler(BaseHTTPRequestHandler):
        def handle_one(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, more, said = made.answer(Seen(self.command, parts.path, parts.query, headers, body))
            self.send_response(status)
            for name, value in {**more, "Content-Length": str(len(said.encode()))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(said.encode())

        do_GET = do_PUT = do_POST = do_DELETE = handle_one

        def log_message(self, format: str, *args: object) -> None:
            pass

    at = "/collections/pages"
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    answers = {
        f"GET {at}/exists": {"exists": True},
        f"GET {at}": info({"vrag": layout.model_dump(mode="json")}),
        f"PUT {at}": True,
        f"PUT {at}/index": DONE,
        f"PUT {at}/points": DONE,
        f"POST {at}/points/delete": DONE,
        f"POST {at}/points/count": {"count": 3},
        f"POST {at}/points/scroll": {"points": [], "next_page_offset": None},
        f"POST {at}/points/query": {"points": []},
        f"POST {at}/facet": {"hits": [{"value": 20, "count": 3}, {"value": 21, "count": 2}]},
    }
    made = Stub(f"http://127.0.0.1:{httpd.server_address[1]}", answers)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield made
    finally:
        httpd.shutdown()
        thread.join()
        httpd.server_close()
