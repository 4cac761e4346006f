"""What every index of page vectors promises, with exact MaxSim in fp32 as the judge.

The embedded index with each kernel; Qdrant through the local mode of qdrant-client, which is the client's own
imitation of a server in numpy; and Qdrant through Qdrant Edge, which is the engine of a server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import numpy as np
import pytest
from qdrant_client import QdrantClient

from tests.edge import EdgeClient
from tests.vectors import DIM, a_page, a_query, oracle, unit
from vrag.errors import CorpusError, UsageError
from vrag.index.embedded import EmbeddedIndex
from vrag.index.qdrant import QdrantIndex
from vrag.index.qdrant_server import QdrantServer
from vrag.index.vectors import EncoderName, Filter, PageRecord
from vrag.kernels import KernelChoice, KernelName
from vrag.types import PageVectors, PatchGrid

# local mode has no payload indexes and always scans: it says so once each
pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect", "ignore:Local mode performs exact")

Index = EmbeddedIndex | QdrantIndex
ENCODER = EncoderName(name="an/encoder", settings={"pixels": 1000})


class Backend(Protocol):
    """Where an index lies; every `open` gives another handle to the same one."""

    def create(self) -> Index: ...
    def open(self, fingerprint: str | None = None, candidates: int = 200) -> Index: ...


class Embedded:
    def __init__(self, folder: Path, kernel: KernelName) -> None:
        self._folder, self._kernel = folder, KernelChoice(kernel).load()

    def create(self) -> Index:
        return EmbeddedIndex.create(self._folder, DIM, "an encoder", ENCODER, pool=8)

    def open(self, fingerprint: str | None = None, candidates: int = 200) -> Index:
        return EmbeddedIndex.open(self._folder, fingerprint, kernel=self._kernel, candidates=candidates)


class Shared(QdrantServer):
    """All handles have the one client that holds the pages; it is closed after the last of them."""

    def close(self) -> None:
        pass


class Qdrant:
    def __init__(self, client: QdrantClient | EdgeClient) -> None:
        self._server = Shared(client, "http://qdrant:6333", request_bytes=100_000)  # type: ignore[arg-type]

    def create(self) -> Index:
        return QdrantIndex.create(self._server, "pages", DIM, "an encoder", ENCODER, pool=8)

    def open(self, fingerprint: str | None = None, candidates: int = 200) -> Index:
        return QdrantIndex.open(self._server, "pages", fingerprint, candidates=candidates)


@pytest.fixture(params=["numba", "numpy", "torch", "qdrant-local", "qdrant-edge"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    if request.param in ("numba", "numpy", "torch"):
        yield Embedded(tmp_path / "vectors", request.param)
        return
    memory = Path("/dev/shm")  # Edge syncs a dozen files to make an index, and no test here is about durability
    with TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as folder:
        client = QdrantClient(":memory:") if request.param == "qdrant-local" else EdgeClient(Path(folder))
        yield Qdrant(client)
        client.close()


@pytest.fixture
def make(backend: Backend) -> Iterator[Callable[..., Index]]:
    opened = [backend.create()]

    def open_another(candidates: int = 200) -> Index:
        opened.append(backend.open(candidates=candidates))
        return opened[-1]

    yield open_another
    for index in opened:
        index.close()


def test_exact_search_ranks_as_maxsim_in_fp32_does(make: Callable[..., Index]):
    index, pages = make(), [a_page(number) for number in range(60)]
    index.upsert(pages)
    for seed in range(10):
        query = a_query(seed, pages[seed])
        truth = oracle(pages, query)
        found = index.search(query, 60, exact=True)
        assert [hit.score for hit in found] == pytest.approx([truth[hit.page_id] for hit in found], abs=0.03)
        assert found[0].page_id == f"page-{seed}" == max(truth, key=lambda page: truth[page])
        assert [hit.score for hit in found] == sorted((hit.score for hit in found), reverse=True)
        assert len({hit.page_id for hit in found}) == 60


def test_two_stages_find_what_the_exact_search_finds(make: Callable[..., Index]):
    index, pages = make(candidates=30), [a_page(number) for number in range(200)]
    index.upsert(pages)
    shared = 0
    for seed in range(10):
        query = a_query(seed, pages[seed])
        quick, exact = index.search(query, 5), index.search(query, 5, exact=True)
        assert quick[0] == exact[0]
        shared += len({hit.page_id for hit in quick} & {hit.page_id for hit in exact})
    assert shared >= 40


def test_only_candidates_of_the_first_stage_are_compared_unless_the_search_is_exact(make: Callable[..., Index]):
    """One vector of a page is the query itself; its neighbours, opposed to it, hide it from the pooled vectors."""
    query = unit(np.random.default_rng(0).standard_normal((1, DIM)))
    hidden = np.repeat(-query, 8, axis=0)
    hidden[3] = query
    index, plain = make(candidates=2), [a_page(number) for number in range(9)]
    index.upsert([*plain, PageRecord("hidden", "doc", PageVectors(hidden.astype(np.float32)))])
    assert index.search(query, 1, exact=True)[0].page_id == "hidden"
    assert index.search(query, 1)[0].page_id != "hidden"
    assert index.search(query, 10)[0].page_id == "hidden", "as many candidates as pages that are asked for"


def test_vectors_shorter_than_one_count_for_less(make: Callable[..., Index]):
    index, page = make(), a_page(1)
    index.upsert([page, PageRecord("faint", "doc", PageVectors(page.vectors.vectors * np.float32(0.5)))])
    query = a_query(0, page)
    first, second = index.search(query, 2)
    assert (first.page_id, second.page_id) == ("page-1", "faint")
    assert second.score == pytest.approx(first.score / 2, rel=0.02)


def test_a_page_that_comes_again_replaces_the_old_one(make: Callable[..., Index]):
    index = make()
    index.upsert([a_page(1), a_page(2)])
    renewed = PageRecord("page-1", "doc-9", a_page(77).vectors)
    index.upsert([renewed])
    assert index.ids() == {"page-1", "page-2"}
    query = a_query(3, renewed)
    found = index.search(query, 5)
    assert found[0].page_id == "page-1"
    assert found[0].score == pytest.approx(oracle([renewed], query)["page-1"], abs=0.03)
    assert index.delete(Filter(documents=["doc-1"], pages=["page-1"])) == 0
    assert index.stats().vectors == len(renewed.vectors.vectors) + len(a_page(2).vectors.vectors)


def test_deleted_pages_are_found_no_more(make: Callable[..., Index]):
    index, pages = make(), [a_page(number) for number in range(20)]
    index.upsert(pages)
    assert index.delete(Filter(documents=["doc-3"])) == 4
    assert not {page.id for page in pages if page.document == "doc-3"} & index.ids()
    query = a_query(0, pages[3])
    assert "page-3" not in {hit.page_id for hit in index.search(query, 20)}
    assert index.stats().pages == 16
    assert index.delete(Filter(pages=[])) == 0
    assert index.delete(Filter(pages=["page-1", "page-3", "none"])) == 1
    assert index.delete(Filter()) == 15
    assert index.ids() == set() and index.stats().vectors == 0


def test_filters_admit_documents_and_metadata_and_apply_before_the_candidates_are_chosen(make: Callable[..., Index]):
    index = make(candidates=3)
    pages = [a_page(number, year=2020 + number % 3) for number in range(40)]
    index.upsert(pages)
    query = a_query(0, pages[0])
    of_one = index.search(query, 40, where=Filter(documents=["doc-1"]))
    assert {hit.page_id for hit in of_one} == {page.id for page in pages if page.document == "doc-1"}
    both = index.search(query, 40, where=Filter(documents=["doc-1", "doc-2"], meta={"year": 2021}))
    assert {hit.page_id for hit in both} == {
        page.id for page in pages if page.document in ("doc-1", "doc-2") and page.meta["year"] == 2021
    }
    few = index.search(query, 2, where=Filter(documents=["doc-4"]))
    assert len(few) == 2, "three candidates of any document would hold fewer of this one"
    assert index.search(query, 5, where=Filter(documents=["' OR 1 --"])) == []
    assert index.search(query, 5, where=Filter(documents=[])) == []
    assert {hit.page_id for hit in index.search(query, 9, where=Filter(pages=["page-7", "page-3", "none"]))} == {
        "page-3",
        "page-7",
    }
    assert {hit.page_id for hit in index.search(query, 40, where=Filter(meta={"year": 2022}), exact=True)} == {
        page.id for page in pages if page.meta["year"] == 2022
    }


@pytest.mark.parametrize(
    ("key", "value", "equal", "others"),
    [
        ("kind", "table", "table", ["Table", "tab", 1, True]),
        ("kind", "2024", "2024", [2024]),
        ("year", 2024, 2024.0, [2025, 2024.5, "2024"]),
        ("share", 0.25, 0.25, [0.250001, "0.25"]),
        ("scanned", True, True, [False, "true"]),
        ('a.b["c"]', "x", "x", ["y"]),
    ],
)
def test_metadata_of_any_type_and_key_can_be_filtered_by(
    make: Callable[..., Index], key: str, value: str | float, equal: str | float, others: list[str | float]
):
    index = make()
    index.upsert([PageRecord("that", "doc", a_page(1).vectors, {key: value, "more": 1}), a_page(2, year=1999)])
    query = a_query(0)
    assert [hit.page_id for hit in index.search(query, 5, where=Filter(meta={key: equal}))] == ["that"]
    assert [hit.page_id for hit in index.search(query, 5, where=Filter(meta={key: equal, "more": 1}))] == ["that"]
    for other in others:
        assert index.search(query, 5, where=Filter(meta={key: other})) == [], other
    assert index.search(query, 5, where=Filter(meta={f"{key}.": value})) == []


def test_a_match_says_which_patch_it_is(make: Callable[..., Index]):
    index, page = make(), a_page(5, vectors=14)
    index.upsert([PageRecord(page.id, page.document, PageVectors(page.vectors.vectors, PatchGrid(2, 3, 4))), a_page(6)])
    vectors = page.vectors.vectors
    first, other, prompt = index.matches(page.id, vectors[[2, 9, 0]])
    assert (first.vector, other.vector, prompt.vector) == (2, 9, 0)
    assert first.box is not None and first.box.as_tuple() == pytest.approx((0, 0, 0.25, 1 / 3))
    assert other.box is not None and other.box.as_tuple() == pytest.approx((0.75, 1 / 3, 1, 2 / 3))
    assert prompt.box is None
    assert first.similarity == pytest.approx(1, abs=0.02)
    assert all(match.box is None for match in index.matches("page-6", vectors[:2]))
    with pytest.raises(UsageError, match="page-99"):
        index.matches("page-99", vectors[:1])


def test_an_empty_index_finds_nothing(make: Callable[..., Index]):
    index = make()
    assert index.search(a_query(0), 3) == index.search(a_query(0), 3, exact=True) == []
    assert index.ids() == set() and index.delete(Filter(documents=["doc-1"])) == 0
    index.upsert([])
    assert index.stats().pages == index.stats().vectors == 0


@pytest.mark.parametrize(
    "vectors",
    [np.zeros((0, DIM)), np.ones((3, DIM + 1)), np.full((2, DIM), np.nan), np.full((2, DIM), 5.0), np.ones(DIM)],
    ids=["none", "too wide", "nan", "too long", "flat"],
)
def test_vectors_that_do_not_fit_are_refused_with_the_page_named_and_nothing_is_kept(
    make: Callable[..., Index], vectors: np.ndarray
):
    index = make()
    with pytest.raises(UsageError, match="page-bad"):
        index.upsert([a_page(1), PageRecord("page-bad", "doc", PageVectors(vectors.astype(np.float32)))])
    assert index.ids() == set()


def test_a_query_of_another_width_is_refused(make: Callable[..., Index]):
    index = make()
    index.upsert([a_page(1)])
    with pytest.raises(UsageError, match="48"):
        index.search(np.ones((2, 7), np.float32), 3)
    with pytest.raises(UsageError, match="48"):
        index.matches("page-1", np.ones((2, 7), np.float32))


def test_what_one_handle_commits_the_others_see_and_nothing_of_what_it_has_not(make: Callable[..., Index]):
    writer, reader = make(), make()
    writer.upsert([a_page(1)])
    assert reader.ids() == {"page-1"}
    with pytest.raises(UsageError):
        writer.upsert([a_page(2), PageRecord("bad", "doc", PageVectors(np.zeros((0, DIM))))])
    assert reader.ids() == {"page-1"}
    writer.delete(Filter(pages=["page-1"]))
    assert reader.search(a_query(0), 3) == []


def test_an_index_counts_what_it_holds(make: Callable[..., Index]):
    index, pages = make(), [a_page(number) for number in range(7)]
    index.upsert(pages[:4])
    index.upsert(pages[4:])
    stats = index.stats()
    assert stats.pages == 7 and stats.vectors == sum(len(page.vectors.vectors) for page in pages)
    assert stats.bytes >= stats.vectors * DIM and stats.dead == 0
    assert (stats.dim, stats.fingerprint) == (DIM, "an encoder")


def test_an_index_remembers_which_encoder_made_it_and_refuses_another(backend: Backend):
    with pytest.raises(CorpusError, match=r"vrag index|QdrantIndex\.create"):
        backend.open()
    created = backend.create()
    created.upsert([a_page(1)])
    created.close()
    opened = backend.open("an encoder")
    assert (opened.dim, opened.fingerprint, opened.encoder) == (DIM, "an encoder", ENCODER)
    opened.close()
    with pytest.raises(CorpusError, match="another encoder"):
        backend.open("other")
    with pytest.raises(CorpusError, match="already"):
        backend.create()
    again = backend.open()
    assert again.ids() == {"page-1"}
    again.close()
