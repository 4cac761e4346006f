"""How a collection of pages is laid out in Qdrant.

pool      multivector: means over `pool` neighbours, 1/16 of the size, fp16, in memory; scanned by every search
full      multivector: all vectors, fp16, on disk; read of the candidates alone
payload   page, document, grid, meta; `vectors`, their number, which `stats` adds up; `terms`, the metadata as
          keywords, so that one index serves filters by any key of any type
metadata  of the collection, under "vrag": `Layout`

Neither multivector has a graph (m = 0). Building one compares whole pages with each other, which costs a thousand
times what storing them does (40 ms of a core a page, docs/distributed-index.md), and walking it misses some; a scan of
the pooled vectors misses none, and each shard does its part of it at once. Similarity is the dot product: the mean of
unit vectors is shorter than 1, and cosine would stretch it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from vrag.errors import CorpusError, UsageError
from vrag.index.qdrant_server import QdrantServer
from vrag.index.vectors import EncoderName
from vrag.types import Frozen

if TYPE_CHECKING:
    from qdrant_client import models

_REFUSED = '<>:"/\\|?*\0\x1f'  # in the name of a collection
_LONGEST = 255  # bytes of one


class Layout(Frozen):
    """What a collection says of itself. `made` tells one making of it from another."""

    format: Literal[1] = 1
    dim: int
    pool: int
    fingerprint: str
    encoder: EncoderName
    made: str


def exists(server: QdrantServer, collection: str) -> bool:
    """Raises `UsageError` for what can't be the name of a collection."""
    if (
        collection in ("", ".", "..")
        or len(collection.encode()) > _LONGEST
        or any(letter in _REFUSED for letter in collection)
    ):
        raise UsageError(
            f"{collection[:_LONGEST]!r} can't be the name of a collection: give 1 to {_LONGEST} bytes without"
            f" any of {_REFUSED[:-2]}"
        )
    return server.call(lambda client: client.collection_exists(collection))


def make(server: QdrantServer, collection: str, layout: Layout, shards: int | None, replicas: int) -> None:
    """Raises `CorpusError` when there is a collection of that name."""
    if exists(server, collection):
        raise CorpusError(f"there is a collection {collection!r} on Qdrant at {server.url} already")
    settings = _settings(layout, shards, replicas)
    try:
        server.call(lambda client: client.create_collection(collection, **settings))
    except CorpusError:  # refused since it exists: made by somebody else, or by a try whose answer got lost
        if not exists(server, collection) or read(server, collection) != layout:
            raise


def read(server: QdrantServer, collection: str) -> Layout:
    """What an existing collection is. Makes the payload indexes that it lacks: all, when it is new."""
    info = server.call(lambda client: client.get_collection(collection))
    try:
        layout = Layout.model_validate((info.config.metadata or {})["vrag"])
    except (KeyError, ValidationError) as error:
        raise CorpusError(
            f"collection {collection!r} on Qdrant at {server.url} isn't one of this version of vrag (or the server is"
            " older than 1.16, which forgets what it is told): use another"
        ) from error
    for field, index in _payload_indexes().items():
        if field not in info.payload_schema:
            server.write(lambda client, field=field, index=index: client.create_payload_index(collection, field, index))
    return layout


def _settings(layout: Layout, shards: int | None, replicas: int) -> dict[str, Any]:
    """Arguments of `create_collection`."""
    from qdrant_client import models

    def vectors(on_disk: bool) -> models.VectorParams:
        return models.VectorParams(
            size=layout.dim,
            distance=models.Distance.DOT,
            datatype=models.Datatype.FLOAT16,
            multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM),
            hnsw_config=models.HnswConfigDiff(m=0),
            on_disk=on_disk,
        )

    return {
        "vectors_config": {"pool": vectors(on_disk=False), "full": vectors(on_disk=True)},
        "shard_number": shards,
        "replication_factor": replicas,
        "on_disk_payload": True,
        "metadata": {"vrag": layout.model_dump(mode="json")},
    }


def _payload_indexes() -> dict[str, models.KeywordIndexParams | models.IntegerIndexParams]:
    """By field. Filters by page are rare, and that index is the largest: it stays on disk."""
    from qdrant_client import models

    def keywords(on_disk: bool) -> models.KeywordIndexParams:
        return models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, on_disk=on_disk)

    number = models.IntegerIndexParams(type=models.IntegerIndexType.INTEGER, lookup=True, range=False, on_disk=True)
    return {
        "page": keywords(on_disk=True),
        "document": keywords(on_disk=False),
        "terms": keywords(on_disk=False),
        "vectors": number,
    }
