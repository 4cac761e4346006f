"""Many queries at once have the same answers as one by one, for less."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.colours import COLOURS, ColourEncoder
from vrag.corpus.ingest import IngestOptions, ingest
from vrag.corpus.store import Corpus
from vrag.embed import embed, make_index
from vrag.errors import CorpusError, InfrastructureError
from vrag.fusion import BatchRetriever, FusedRetriever, Weighted, search_many
from vrag.index.vectors import EncoderName
from vrag.retriever import LexicalRetriever, VisualRetriever, open_ways
from vrag.testing import FixedRetriever, MemoryStore, WordRetriever

QUERIES = ["red", "", "blue green", "red", " ", "png"]


class CountingEncoder(ColourEncoder):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[list[str]] = []

    def encode_queries(self, queries: Sequence[str]) -> list[np.ndarray]:
        self.calls.append(list(queries))
        return super().encode_queries(queries)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Generator[Corpus]:
    docs = tmp_path_factory.mktemp("docs")
    for colour, value in COLOURS.items():
        Image.new("RGB", (80, 80), value).save(docs / f"{colour}.png")
    with Corpus.create(tmp_path_factory.mktemp("made") / "corpus") as corpus:
        ingest([docs], corpus, IngestOptions(workers=1, ocr="off"))
        index = make_index(corpus, ColourEncoder(), EncoderName(name="tests.colours:ColourEncoder"))
        embed(corpus, ColourEncoder(), index)
        index.close()
        yield corpus


@pytest.mark.parametrize("way", ["text", "visual", "fused"])
def test_the_answers_are_those_of_single_searches(corpus: Corpus, way: str):
    ways = open_ways(corpus)
    retriever = ways[way]  # type: ignore[index]
    assert isinstance(retriever, BatchRetriever)
    single = [asyncio.run(retriever.search(query, 3)) for query in QUERIES]
    assert asyncio.run(search_many(retriever, QUERIES, 3)) == single
    assert single[0] and len({hit.ref.document for hits in single for hit in hits}) > 1
    ways["visual"].close()  # type: ignore[attr-defined]


def test_all_queries_are_encoded_in_one_call_each_once_and_empty_ones_not_at_all(corpus: Corpus):
    encoder = CountingEncoder()
    ways = open_ways(corpus, load=lambda _: encoder)
    visual = ways["visual"]
    assert isinstance(visual, VisualRetriever)
    hits = asyncio.run(visual.search_many(QUERIES, 1))
    assert encoder.calls == [["red", "blue green", "png"]]
    assert [len(one) for one in hits] == [1, 0, 1, 1, 0, 1] and hits[0] == hits[3]
    assert asyncio.run(visual.search_many(["", "red"], 0)) == [[], []] and len(encoder.calls) == 1
    asyncio.run(search_many(ways["auto"], QUERIES, 1))
    assert len(encoder.calls) == 2
    visual.close()


def test_a_retriever_that_knows_only_one_query_at_a_time_is_asked_for_each():
    store = MemoryStore()
    pages = [store.add("d.pdf", number, [word]) for number, word in enumerate(("red", "blue"), 1)]
    words = WordRetriever(store)
    fused = FusedRetriever(store, {"words": Weighted(words), "fixed": Weighted(FixedRetriever(pages))})
    found = asyncio.run(fused.search_many(["red", "blue", "green"], 2))
    assert sorted(words.queries) == ["blue", "green", "red"]
    assert [[hit.page_id for hit in hits] for hits in found[:2]] == [[p.id for p in pages], [p.id for p in pages[::-1]]]
    assert not isinstance(words, BatchRetriever)


def test_a_corpus_that_cant_be_read_is_a_failure_of_infrastructure(tmp_path: Path):
    corpus = Corpus.create(tmp_path / "corpus")
    corpus.close()
    with pytest.raises(InfrastructureError, match="closed"):
        asyncio.run(LexicalRetriever(corpus).search_many(["a", "b"], 1))


def test_an_index_whose_encoder_cant_be_had_is_closed(corpus: Corpus):
    opened: list[object] = []

    def fail(index: object) -> ColourEncoder:
        opened.append(index)
        raise CorpusError("another encoder")

    with pytest.raises(CorpusError, match="another encoder"):
        open_ways(corpus, load=fail)
    with pytest.raises(CorpusError, match="closed"):
        opened[0].ids()  # type: ignore[attr-defined]
