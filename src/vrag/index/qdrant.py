"""An index of page vectors on a Qdrant server, for corpora that outgrow one machine.

One collection holds the vectors that one encoder made of one corpus; `vrag.index.qdrant_schema` says how. A search
scans the pooled vectors of all pages, and compares all vectors of the best candidates; each shard of a collection
finds candidates of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import uuid4

import numpy as np

from vrag.errors import CorpusError, UsageError
from vrag.index import qdrant_points as points
from vrag.index import qdrant_schema as schema
from vrag.index.pooling import pool_query
from vrag.index.qdrant_schema import Layout
from vrag.index.qdrant_server import QdrantServer, connect
from vrag.index.vectors import (
    CANDIDATES,
    POOL,
    EncoderName,
    Filter,
    IndexStats,
    Match,
    PageRecord,
    Scored,
    check_page,
    checked_query,
    nearest,
)
from vrag.types import PatchGrid

__all__ = ["QdrantIndex", "connect"]

_LISTED = 10_000  # page ids that are asked for at once
_COUNTS = 1 << 16  # different numbers of vectors that pages of one collection may have


class QdrantIndex:
    """Implements `vrag.index.vectors.VectorIndex`. Safe to use from several threads and processes; close it.

    All methods raise `InfrastructureError` when the server doesn't answer. Then an `upsert` may have written some of
    its pages, each of them whole: the same call again writes the rest.
    """

    def __init__(self, server: QdrantServer, collection: str, candidates: int = CANDIDATES) -> None:
        """Prefer `open` and `create`, which check the collection."""
        self._server, self.collection, self._candidates = server, collection, candidates
        layout = schema.read(server, collection)
        self.dim, self._pool = layout.dim, layout.pool
        self.fingerprint, self.encoder = layout.fingerprint, layout.encoder

    @classmethod
    def open(
        cls, server: QdrantServer, collection: str, fingerprint: str | None = None, *, candidates: int = CANDIDATES
    ) -> QdrantIndex:
        """Open an existing collection; the index closes `server`. `candidates`: how many pages the second stage of a
        search compares, on each shard. Raises `CorpusError` when there is none, and as `check` does.
        """
        if not schema.exists(server, collection):
            raise CorpusError(
                f"no collection {collection!r} on Qdrant at {server.url}: make it with QdrantIndex.create"
            )
        index = cls(server, collection, candidates)
        if fingerprint is not None:
            index.check(fingerprint)
        return index

    @classmethod
    def create(
        cls,
        server: QdrantServer,
        collection: str,
        dim: int,
        fingerprint: str,
        encoder: EncoderName | None = None,
        *,
        pool: int = POOL,
        shards: int | None = None,
        replicas: int = 1,
    ) -> QdrantIndex:
        """Make an empty collection; the index closes `server`. `shards`: one per node when None. Each of them lies on
        `replicas` nodes, and a write waits for all that are up. Raises `CorpusError` when there is a collection of that
        name.
        """
        if dim < 1 or pool < 1 or replicas < 1 or (shards is not None and shards < 1):
            raise UsageError(
                "a collection has at least one dimension, shard and replica and pools at least one vector,"
                f" not {dim}, {shards}, {replicas} and {pool}"
            )
        made_by = encoder or EncoderName()
        layout = Layout(dim=dim, pool=pool, fingerprint=fingerprint, encoder=made_by, made=uuid4().hex)
        schema.make(server, collection, layout, shards, replicas)
        return cls(server, collection)

    def check(self, fingerprint: str) -> None:
        """Raises `CorpusError`, and closes, when another encoder than that of `fingerprint` made the vectors."""
        if self.fingerprint != fingerprint:
            self.close()
            raise CorpusError(
                f"the vectors in collection {self.collection!r} on Qdrant at {self._server.url} were made by another"
                f" encoder ({self.fingerprint}, not {fingerprint}): use that one, or another collection"
            )

    def close(self) -> None:
        self._server.close()

    def __repr__(self) -> str:
        return f"QdrantIndex({self._server.url!r}, {self.collection!r})"

    # ----------------------------------------------------------------------------------------- writing

    def upsert(self, pages: Iterable[PageRecord]) -> None:
        """Add pages, or replace those of the same id; durable and visible on return. When one doesn't fit, none is
        written.
        """
        batch = list(pages)
        for page in batch:
            check_page(page, self.dim)
            points.check_meta(page)
        for portion in points.portions_of(batch, self._pool, self._server.request_bytes):
            made = [points.point(page, self._pool) for page in portion]
            self._server.write(lambda client, made=made: client.upsert(self.collection, made, wait=True))

    def delete(self, where: Filter) -> int:
        """Remove pages; returns how many there were just before."""
        from qdrant_client import models

        if points.admits_none(where):
            return 0
        condition = points.condition(where)
        found = self._server.call(lambda client: client.count(self.collection, condition, exact=True)).count
        chosen = models.FilterSelector(filter=condition)
        self._server.write(lambda client: client.delete(self.collection, chosen, wait=True))
        return found

    # --------------------------------------------------------------------------------------- searching

    def search(self, query: np.ndarray, k: int, *, where: Filter | None = None, exact: bool = False) -> list[Scored]:
        """The `k` best pages for `query` [N, D], best first. `exact` compares all vectors of all pages."""
        from qdrant_client import models

        query = checked_query(query, self.dim)
        vectors = points.numbers(query)
        if k < 1 or (where is not None and points.admits_none(where)):
            return []
        condition = None if where is None else points.condition(where)
        # without `exact` a server asked for 128 or more takes fewer of each shard, and may miss some
        scan = models.SearchParams(exact=True)
        candidates = None
        if not exact:
            asked, limit = points.numbers(pool_query(query)), max(self._candidates, k)
            candidates = models.Prefetch(query=asked, using="pool", limit=limit, filter=condition, params=scan)
        found = self._server.call(
            lambda client: client.query_points(
                self.collection,
                query=vectors,
                using="full",
                prefetch=candidates,
                query_filter=condition,
                search_params=scan,
                limit=k,
                with_payload=["page"],
            )
        )
        return [Scored(points.page_of(one), one.score) for one in found.points]

    def matches(self, page_id: str, query: np.ndarray) -> list[Match]:
        """For each vector of the query, where the page matches it best. Raises `UsageError` for an unknown page."""
        query = checked_query(query, self.dim)
        vectors, grid = self._page(page_id)
        return nearest(vectors, query, grid)

    def ids(self) -> set[str]:
        """Of all pages, by as many requests as there are ten thousands of them."""
        found, offset = set[str](), None
        while True:
            listed, offset = self._server.call(
                lambda client, offset=offset: client.scroll(
                    self.collection, limit=_LISTED, offset=offset, with_payload=["page"]
                )
            )
            found.update(map(points.page_of, listed))
            if offset is None:
                return found

    def stats(self) -> IndexStats:
        """`bytes` are those of the vectors of one replica, without what the server adds; `dead` is always 0: a server
        drops by itself what was replaced.
        """
        facet = self._server.call(lambda client: client.facet(self.collection, "vectors", limit=_COUNTS, exact=True))
        counts = [(int(hit.value), hit.count) for hit in facet.hits]
        vectors = sum(vectors * pages for vectors, pages in counts)
        pooled = sum(-(-vectors // self._pool) * pages for vectors, pages in counts)
        return IndexStats(
            pages=sum(pages for _, pages in counts),
            vectors=vectors,
            dead=0,
            bytes=(vectors + pooled) * self.dim * np.dtype(np.float16).itemsize,
            dim=self.dim,
            fingerprint=self.fingerprint,
        )

    def _page(self, page_id: str) -> tuple[np.ndarray, PatchGrid | None]:
        wanted = [points.point_id(page_id)]
        found = self._server.call(
            lambda client: client.retrieve(self.collection, wanted, with_payload=["grid"], with_vectors=["full"])
        )
        if not found:
            raise UsageError(f"no page {page_id!r} in collection {self.collection!r} on Qdrant at {self._server.url}")
        return points.held_by(found[0])
