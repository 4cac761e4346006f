"""What every index of page vectors promises, with exact MaxSim in fp32 as the judge."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from vrag.errors import CorpusError, UsageError
from vrag.index import embedded, segments
from vrag.index.embedded import EmbeddedIndex
from vrag.index.maxsim import KernelName, kernel
from vrag.index.quantize import dequantize, pool, quantize
from vrag.index.state import best
from vrag.index.vectors import Filter, PageRecord
from vrag.types import PageVectors, PatchGrid

DIM = 48


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def a_page(number: int, *, vectors: int = 0, document: str = "", year: int = 2024) -> PageRecord:
    """Neighbouring vectors are alike, as on a page."""
    rng = np.random.default_rng(number)
    count = vectors or int(rng.integers(20, 60))
    drift = np.cumsum(rng.standard_normal((count, DIM)), axis=0) * 0.15
    rows = unit(rng.standard_normal(DIM) + drift + 0.2 * rng.standard_normal((count, DIM)))
    return PageRecord(f"page-{number}", document or f"doc-{number % 5}", PageVectors(rows), {"year": year})


def a_query(seed: int, page: PageRecord | None = None) -> np.ndarray:
    rng = np.random.default_rng([seed, 1])
    rows = rng.standard_normal((9, DIM))
    if page is not None:
        rows = rows * 0.15 + page.vectors.vectors[rng.integers(len(page.vectors.vectors), size=9)]
    return unit(rows)


def oracle(pages: list[PageRecord], query: np.ndarray) -> dict[str, float]:
    return {page.id: float((page.vectors.vectors @ query.T).max(axis=0).sum()) for page in pages}


@pytest.fixture(params=["numba", "numpy"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., EmbeddedIndex]]:
    opened: list[EmbeddedIndex] = []

    def open_or_create(candidates: int = 200) -> EmbeddedIndex:
        folder = tmp_path / "vectors"
        if not folder.exists():
            EmbeddedIndex.create(folder, DIM, "an encoder", pool=8).close()
        opened.append(EmbeddedIndex.open(folder, kernel=request.param, candidates=candidates))
        return opened[-1]

    yield open_or_create
    for index in opened:
        index.close()


def test_exact_search_ranks_as_maxsim_in_fp32_does(make: Callable[..., EmbeddedIndex]):
    index, pages = make(), [a_page(number) for number in range(60)]
    index.upsert(pages)
    for seed in range(10):
        query = a_query(seed, pages[seed])
        truth = oracle(pages, query)
        found = index.search(query, 60, exact=True)
        assert [hit.score for hit in found] == pytest.approx([truth[hit.page_id] for hit in found], abs=0.03)
        assert found[0].page_id == f"page-{seed}" == max(truth, key=lambda page: truth[page])
        assert [hit.score for hit in found] == sorted((hit.score for hit in found), reverse=True)


def test_two_stages_find_what_the_exact_search_finds(make: Callable[..., EmbeddedIndex]):
    index, pages = make(candidates=30), [a_page(number) for number in range(200)]
    index.upsert(pages)
    shared = 0
    for seed in range(10):
        query = a_query(seed, pages[seed])
        quick, exact = index.search(query, 5), index.search(query, 5, exact=True)
        assert quick[0] == exact[0]
        shared += len({hit.page_id for hit in quick} & {hit.page_id for hit in exact})
    assert shared >= 40


def test_a_page_that_comes_again_replaces_the_old_one(make: Callable[..., EmbeddedIndex]):
    index = make()
    index.upsert([a_page(1), a_page(2)])
    renewed = PageRecord("page-1", "doc-9", a_page(77).vectors)
    index.upsert([renewed])
    assert index.ids() == {"page-1", "page-2"}
    query = a_query(3, renewed)
    found = index.search(query, 5)
    assert found[0].page_id == "page-1"
    assert found[0].score == pytest.approx(oracle([renewed], query)["page-1"], abs=0.03)
    assert index.stats().dead == len(a_page(1).vectors.vectors)


def test_deleted_pages_are_found_no_more(make: Callable[..., EmbeddedIndex]):
    index, pages = make(), [a_page(number) for number in range(20)]
    index.upsert(pages)
    assert index.delete(Filter(documents=["doc-3"])) == 4
    assert not {page.id for page in pages if page.document == "doc-3"} & index.ids()
    query = a_query(0, pages[3])
    assert "page-3" not in {hit.page_id for hit in index.search(query, 20)}
    assert index.stats().pages == 16


def test_filters_admit_documents_and_metadata_and_apply_before_the_candidates_are_chosen(
    make: Callable[..., EmbeddedIndex],
):
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
    assert index.search(query, 5, where=Filter(documents=["' OR 1 --"])) == []
    assert index.search(query, 5, where=Filter(documents=[])) == []
    assert {hit.page_id for hit in index.search(query, 9, where=Filter(pages=["page-7", "page-3", "none"]))} == {
        "page-3",
        "page-7",
    }


def test_a_match_says_which_patch_it_is(make: Callable[..., EmbeddedIndex]):
    index, page = make(), a_page(5, vectors=14)
    index.upsert([PageRecord(page.id, page.document, PageVectors(page.vectors.vectors, PatchGrid(2, 3, 4)))])
    vectors = page.vectors.vectors
    first, other, prompt = index.matches(page.id, vectors[[2, 9, 0]])
    assert (first.vector, other.vector, prompt.vector) == (2, 9, 0)
    assert first.box is not None and first.box.as_tuple() == pytest.approx((0, 0, 0.25, 1 / 3))
    assert other.box is not None and other.box.as_tuple() == pytest.approx((0.75, 1 / 3, 1, 2 / 3))
    assert prompt.box is None
    assert first.similarity == pytest.approx(1, abs=0.02)
    with pytest.raises(UsageError, match="page-99"):
        index.matches("page-99", vectors[:1])


def test_an_empty_index_finds_nothing(make: Callable[..., EmbeddedIndex]):
    assert make().search(a_query(0), 3) == []


@pytest.mark.parametrize(
    "vectors",
    [np.zeros((0, DIM)), np.ones((3, DIM + 1)), np.full((2, DIM), np.nan), np.full((2, DIM), 5.0), np.ones(DIM)],
    ids=["none", "too wide", "nan", "too long", "flat"],
)
def test_vectors_that_do_not_fit_are_refused_with_the_page_named_and_nothing_is_kept(
    make: Callable[..., EmbeddedIndex], vectors: np.ndarray
):
    index = make()
    with pytest.raises(UsageError, match="page-bad"):
        index.upsert([a_page(1), PageRecord("page-bad", "doc", PageVectors(vectors.astype(np.float32)))])
    assert index.ids() == set()


def test_a_query_of_another_width_is_refused(make: Callable[..., EmbeddedIndex]):
    with pytest.raises(UsageError, match="48"):
        make().search(np.ones((2, 7), np.float32), 3)


def test_readers_see_what_another_handle_commits_and_nothing_of_what_it_has_not(make: Callable[..., EmbeddedIndex]):
    writer, reader = make(), make()
    writer.upsert([a_page(1)])
    assert reader.ids() == {"page-1"}
    with pytest.raises(UsageError):
        writer.upsert([a_page(2), PageRecord("bad", "doc", PageVectors(np.zeros((0, DIM))))])
    assert reader.ids() == {"page-1"}


def test_segments_end_and_compaction_drops_what_is_dead(
    make: Callable[..., EmbeddedIndex], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(embedded, "SEGMENT", 100)
    monkeypatch.setattr(embedded, "_COMPACTED", 150)
    index, pages = make(candidates=10), [a_page(number) for number in range(30)]
    for page in pages:
        index.upsert([page])
    index.delete(Filter(documents=["doc-0", "doc-1"]))
    queries = [a_query(seed, pages[seed + 2]) for seed in range(3)]
    before, size = [index.search(query, 10, exact=True) for query in queries], index.stats()
    held = make().search(queries[0], 10)  # has the old files mapped
    index.compact()
    after = index.stats()
    assert size.dead > 0 and after.dead == 0 and after.vectors == size.vectors and after.bytes < size.bytes
    assert [index.search(query, 10, exact=True) for query in queries] == before
    assert make().search(queries[0], 10) == held
    assert len({file.name[:11] for file in index.folder.glob("full-*.i8")}) < 18


def test_a_reader_goes_on_while_pages_come_and_files_are_compacted(make: Callable[..., EmbeddedIndex]):
    index, reader = make(), make()
    first = [a_page(number) for number in range(12)]
    index.upsert(first)
    query, done, seen = a_query(0, first[0]), threading.Event(), list[str]()

    def read() -> None:
        while not done.is_set():
            seen.append(reader.search(query, 1)[0].page_id)
            reader.matches("page-0", query)

    thread = threading.Thread(target=read)
    thread.start()
    for number in range(12, 40, 4):
        index.upsert([a_page(one) for one in range(number, number + 4)])
        index.compact()
    done.set()
    thread.join()
    assert seen and set(seen) == {"page-0"}


def test_an_index_of_another_encoder_is_refused(make: Callable[..., EmbeddedIndex]):
    folder = make().folder
    with pytest.raises(CorpusError, match="another encoder"):
        EmbeddedIndex.open(folder, "other")
    with pytest.raises(CorpusError, match="already"):
        EmbeddedIndex.create(folder, DIM, "an encoder")
    with pytest.raises(CorpusError, match="vrag index"):
        EmbeddedIndex.open(folder / "elsewhere")


def test_files_shorter_than_the_catalogue_says_are_an_error(make: Callable[..., EmbeddedIndex]):
    index = make()
    index.upsert([a_page(1)])
    file = segments.files(index.folder, 1)[0]
    file.write_bytes(file.read_bytes()[:-DIM])
    with pytest.raises(CorpusError, match="index again"):
        index.search(a_query(1), 1)


# ---------------------------------------------------------------------------------------- parts of it


@pytest.mark.parametrize("name", ["numba", "numpy"])
@pytest.mark.parametrize("tokens", [1, 26, 32, 33, 70])
def test_a_kernel_gives_what_the_formula_gives(name: KernelName, tokens: int):
    rng = np.random.default_rng(tokens)
    vectors = unit(rng.standard_normal((301, DIM)))
    ends = np.array([1, 4, 9, 100, 101, 301])
    starts = np.array([0, 1, 4, 9, 100, 101])
    query, stored = unit(rng.standard_normal((tokens, DIM))), quantize(vectors)
    plain = dequantize(stored.codes, stored.scales) @ query.T
    truth = [plain[first:last].max(axis=0).sum() for first, last in zip(starts, ends, strict=True)]
    scored = kernel(name)(stored.codes, stored.scales, starts, ends, query)
    np.testing.assert_allclose(scored, truth, rtol=1e-4, atol=1e-4)
    order = np.array([5, 0, 3])
    again = kernel(name)(stored.codes, stored.scales, starts[order], ends[order], query)
    np.testing.assert_allclose(again, np.array(truth)[order], rtol=1e-4, atol=1e-4)


def test_numpy_scores_in_chunks_as_at_once(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(0)
    stored, query = quantize(unit(rng.standard_normal((90, DIM)))), unit(rng.standard_normal((4, DIM)))
    starts, ends = np.array([0, 10, 30, 60]), np.array([10, 30, 60, 90])
    whole = kernel("numpy")(stored.codes, stored.scales, starts, ends, query)
    monkeypatch.setattr("vrag.index.maxsim._CHUNK", 31)
    np.testing.assert_allclose(kernel("numpy")(stored.codes, stored.scales, starts, ends, query), whole, rtol=1e-6)


def test_int8_keeps_a_vector_to_half_a_step():
    vectors = unit(np.random.default_rng(0).standard_normal((50, 128))) * np.float32(0.9)
    vectors[7] = 0
    stored = quantize(vectors)
    off = np.abs(dequantize(stored.codes, stored.scales) - vectors)
    assert (off <= np.abs(vectors).max(axis=1, keepdims=True) / 127 * 0.51 + 1e-5).all()
    assert not stored.codes[7].any()


def test_pooling_means_neighbours_and_keeps_a_short_rest():
    rows = np.arange(10, dtype=np.float32)[:, None]
    np.testing.assert_allclose(pool(rows, 4)[:, 0], [1.5, 5.5, 8.5])


def test_the_best_are_sorted_and_of_equal_ones_the_first_come_first():
    scores = np.array([1, 3, -np.inf, 3, 2], np.float32)
    assert best(scores, 3).tolist() == [1, 3, 4]
    assert best(scores, 2).tolist() == [1, 3]
    assert best(scores, 9).tolist() == [1, 3, 4, 0]
