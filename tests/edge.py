"""The part of `qdrant_client.QdrantClient` that vrag uses, over Qdrant Edge: the server's engine, in this process.

Edge has shards where a server has collections, its own names for the same requests, and no collection metadata, which
are kept here. Whatever else a request holds is handed on; what isn't known here is a KeyError.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import qdrant_edge as edge
from qdrant_client import models

_SAME = {
    models.Distance.DOT: edge.Distance.Dot,
    models.Datatype.FLOAT16: edge.VectorStorageDatatype.Float16,
    models.MultiVectorComparator.MAX_SIM: edge.MultiVectorComparator.MaxSim,
}


class EdgeClient:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shards = dict[str, edge.EdgeShard]()
        self._metadata = dict[str, str]()

    def close(self) -> None:
        for shard in self._shards.values():
            shard.close()

    # ------------------------------------------------------------------------------------- collections

    def collection_exists(self, name: str) -> bool:
        return name in self._shards

    def create_collection(
        self,
        name: str,
        *,
        vectors_config: dict[str, models.VectorParams],
        shard_number: int | None,
        replication_factor: int,
        on_disk_payload: bool,
        metadata: dict[str, Any],
    ) -> bool:
        config = edge.EdgeConfig(
            vectors={key: _vectors(params) for key, params in vectors_config.items()},
            on_disk_payload=on_disk_payload,
            max_search_threads=1,
        )
        self._shards[name] = edge.EdgeShard.create(str(self._folder / name), config)
        self._metadata[name] = json.dumps(metadata)
        return True

    def get_collection(self, name: str) -> SimpleNamespace:
        config = SimpleNamespace(metadata=json.loads(self._metadata[name]))
        return SimpleNamespace(config=config, payload_schema=dict(self._shards[name].info().payload_schema))

    def create_payload_index(self, name: str, field: str, index: Any) -> models.UpdateResult:
        if isinstance(index, models.KeywordIndexParams):
            made = edge.KeywordIndexParams(on_disk=index.on_disk)
        else:
            made = edge.IntegerIndexParams(lookup=index.lookup, range=index.range, on_disk=index.on_disk)
        return self._update(name, edge.UpdateOperation.create_field_index(field, made))

    # ------------------------------------------------------------------------------------------ points

    def upsert(self, name: str, points: list[models.PointStruct], *, wait: bool) -> models.UpdateResult:
        assert wait
        made = [edge.Point(id=point.id, vector=point.vector, payload=point.payload) for point in points]
        return self._update(name, edge.UpdateOperation.upsert_points(made))

    def delete(self, name: str, chosen: models.FilterSelector, *, wait: bool) -> models.UpdateResult:
        assert wait
        return self._update(name, edge.UpdateOperation.delete_points_by_filter(_filter(chosen.filter)))

    def count(self, name: str, where: models.Filter, *, exact: bool) -> models.CountResult:
        request = edge.CountRequest(exact=exact, filter=_filter(where))
        return models.CountResult(count=self._shards[name].count(request))

    def facet(self, name: str, key: str, *, limit: int, exact: bool) -> models.FacetResponse:
        hits = self._shards[name].facet(edge.FacetRequest(key, limit=limit, exact=exact)).hits
        return models.FacetResponse(hits=[models.FacetValueHit(value=hit.value, count=hit.count) for hit in hits])

    def query_points(
        self,
        name: str,
        *,
        query: list[list[float]],
        using: str,
        prefetch: models.Prefetch | None,
        query_filter: models.Filter | None,
        search_params: models.SearchParams,
        limit: int,
        with_payload: list[str],
    ) -> SimpleNamespace:
        request = edge.QueryRequest(
            limit=limit,
            query=edge.Query.Nearest(query, using=using),
            prefetches=[_prefetch(prefetch)] if prefetch else None,
            filter=_filter(query_filter),
            params=edge.SearchParams(exact=bool(search_params.exact)),
            with_payload=with_payload,
        )
        found = self._shards[name].query(request)
        points = [
            models.ScoredPoint(id=str(one.id), version=one.version, score=one.score, payload=one.payload)
            for one in found
        ]
        return SimpleNamespace(points=points)

    def scroll(
        self, name: str, *, limit: int, offset: str | None, with_payload: list[str]
    ) -> tuple[list[models.Record], str | None]:
        request = edge.ScrollRequest(limit=limit, offset=offset, with_payload=with_payload)
        listed, following = self._shards[name].scroll(request)
        return [_record(one) for one in listed], None if following is None else str(following)

    def retrieve(
        self, name: str, ids: list[str], *, with_payload: list[str], with_vectors: list[str]
    ) -> list[models.Record]:
        found = self._shards[name].retrieve(ids, with_payload=with_payload, with_vector=with_vectors)
        return [_record(one) for one in found]

    def _update(self, name: str, operation: edge.UpdateOperation) -> models.UpdateResult:
        self._shards[name].update(operation)
        return models.UpdateResult(status=models.UpdateStatus.COMPLETED)


def _vectors(params: models.VectorParams) -> edge.EdgeVectorParams:
    assert params.hnsw_config is not None and params.multivector_config is not None
    return edge.EdgeVectorParams(
        size=params.size,
        distance=_SAME[params.distance],
        on_disk=params.on_disk,
        multivector_config=edge.MultiVectorConfig(_SAME[params.multivector_config.comparator]),
        datatype=_SAME[params.datatype],
        hnsw_config=edge.HnswIndexConfig(m=params.hnsw_config.m, ef_construct=100, full_scan_threshold=10_000),
    )


def _prefetch(asked: models.Prefetch) -> edge.Prefetch:
    return edge.Prefetch(
        limit=asked.limit,
        query=edge.Query.Nearest(asked.query, using=asked.using),
        filter=_filter(asked.filter),
        params=edge.SearchParams(exact=bool(asked.params.exact)),
    )


def _filter(where: models.Filter | None) -> edge.Filter | None:
    return None if where is None else edge.Filter(must=[_condition(one) for one in where.must])


def _condition(one: models.FieldCondition) -> edge.FieldCondition:
    if isinstance(one.match, models.MatchAny):
        return edge.FieldCondition(one.key, match=edge.MatchAny(one.match.any))
    return edge.FieldCondition(one.key, match=edge.MatchValue(one.match.value))


def _record(one: edge.Record) -> models.Record:
    return models.Record(id=str(one.id), payload=one.payload, vector=one.vector)
