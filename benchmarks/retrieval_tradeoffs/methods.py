"""The ways to search that are compared, made of the same fp32 vectors, and what each keeps on disk for a page."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from floats import FloatIndex

from vrag.corpus.store import Corpus
from vrag.fusion import FusedRetriever, Weighted
from vrag.index.embedded import EmbeddedIndex
from vrag.index.pooling import pool_page
from vrag.index.vectors import POOL, Filter, PageRecord, Scored, VectorIndex
from vrag.protocols import PageEncoder, Retriever
from vrag.retriever import LexicalRetriever, VisualRetriever
from vrag.types import PageVectors

BATCH = 128
ORACLE = "fp32, exact"
WEIGHTS = ((1.0, 1.0), (1.0, 2.0), (2.0, 1.0))  # text, visual


@dataclass(frozen=True)
class Method:
    """`bytes` a page that a search needs."""

    retriever: Retriever
    bytes: float


class Asked:
    """The encoder's vectors of all questions, made once, so that no method's time is the encoder's."""

    def __init__(self, encoder: PageEncoder, questions: Sequence[str], batch: int = 16) -> None:
        self.dim, self.fingerprint = encoder.dim, encoder.fingerprint
        different = iter(dict.fromkeys(question for question in questions if question.strip()))
        self._made: dict[str, np.ndarray] = {}
        while some := list(islice(different, batch)):
            self._made.update(zip(some, encoder.encode_queries(some), strict=True))

    def encode_pages(self, images: object) -> list[object]:
        raise NotImplementedError("pages are encoded before")

    def encode_queries(self, queries: Sequence[str]) -> list[np.ndarray]:
        return [self._made[query] for query in queries]


class Exact(EmbeddedIndex):
    """An embedded index that always compares all its vectors."""

    def search(self, query: np.ndarray, k: int, *, where: Filter | None = None, exact: bool = True) -> list[Scored]:
        return super().search(query, k, where=where, exact=True)


class Built:
    """The indexes of one run, in its folder; what is there from an earlier run stays."""

    def __init__(self, folder: Path, floats: FloatIndex) -> None:
        self._folder, self._floats = folder, floats
        self._open: list[EmbeddedIndex] = []

    def close(self) -> None:
        for index in self._open:
            index.close()

    def fill(self, name: str, pooled: int, change: Callable[[np.ndarray], np.ndarray] = lambda v: v) -> Path:
        """The index `name` of changed vectors, in the oracle's order, so that equal scores come in the same order."""
        folder = self._folder / name
        if not (folder / "vectors.sqlite").is_file():
            EmbeddedIndex.create(folder, self._floats.dim, self._floats.fingerprint, pool=pooled).close()
        with closing(EmbeddedIndex.open(folder, kernel="numpy")) as index:
            owed = iter(sorted(self._floats.ids() - index.ids()))
            while ids := list(islice(owed, BATCH)):
                index.upsert([PageRecord(id, id, PageVectors(change(self._floats.vectors(id)))) for id in ids])
        return folder

    def exact(self, folder: Path) -> EmbeddedIndex:
        self._open.append(Exact.open(folder))
        return self._open[-1]

    def two_stage(self, folder: Path, candidates: int) -> EmbeddedIndex:
        self._open.append(EmbeddedIndex.open(folder, candidates=candidates))
        return self._open[-1]


def methods(
    corpus: Corpus, asked: Asked, floats: FloatIndex, built: Built, pools: Sequence[int], candidates: Sequence[int]
) -> dict[str, Method]:
    """By name; the oracle is the first. Two stages are left out where they would compare every page anyway."""
    pages = len(floats.ids())

    def visual(index: VectorIndex, size: float) -> Method:
        return Method(VisualRetriever(corpus, index, asked), size)

    made = {ORACLE: visual(floats, 4 * floats.dim * floats.stats().vectors / pages)}
    full = {size: built.fill(f"pool-{size}", size) for size in pools}
    first = next(iter(full.values()))
    made["int8, exact"] = visual(built.exact(first), on_disk(first, "full") / pages)
    for size, folder in full.items():
        for count in candidates:
            if count < pages:
                size_on_disk = on_disk(folder, "full", "pool") / pages
                made[f"int8, pool {size} → {count}"] = visual(built.two_stage(folder, count), size_on_disk)
    for size in pools:
        alone = built.fill(f"only-{size}", size, lambda vectors, size=size: pool_page(vectors, size))
        made[f"int8, pool {size} alone"] = visual(built.exact(alone), on_disk(alone, "full") / pages)
    mean = built.fill("mean", POOL, lambda vectors: pool_page(vectors, len(vectors)))
    made["int8, one mean vector"] = visual(built.exact(mean), on_disk(mean, "full") / pages)
    made["text"] = Method(LexicalRetriever(corpus), text_bytes(corpus) / pages)
    return made | dict(fusions(corpus, made))


def fusions(corpus: Corpus, made: Mapping[str, Method]) -> Iterator[tuple[str, Method]]:
    """Text with one mean vector, with two stages as the index has them, and with exact int8, then in three weights."""
    staged = [name for name in made if name.startswith(f"int8, pool {POOL} →")][-1:]
    for name in ["int8, exact", *staged, "int8, one mean vector"]:
        for text, visual in WEIGHTS if name == "int8, exact" else WEIGHTS[:1]:
            parts = {"text": Weighted(made["text"].retriever, text), "visual": Weighted(made[name].retriever, visual)}
            size = made["text"].bytes + made[name].bytes
            yield f"text + {name} ({text:g}:{visual:g})", Method(FusedRetriever(corpus, parts), size)


def on_disk(folder: Path, *kinds: str) -> int:
    """Bytes of an index's codes and scales: of all vectors ("full"), of pooled ones ("pool")."""
    return sum(file.stat().st_size for kind in kinds for file in folder.glob(f"{kind}-*"))


def text_bytes(corpus: Corpus) -> int:
    """Of the inverted index; the text itself isn't needed for ranking."""
    with closing(sqlite3.connect(corpus.folder / "catalog.sqlite")) as db:
        return db.execute("SELECT sum(length(block)) FROM page_words_data").fetchone()[0]
