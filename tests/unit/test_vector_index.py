"""What only the embedded index has: segments, compaction, files, kernels. `test_index_conformance.py` has the rest."""

from __future__ import annotations

import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from tests.vectors import DIM, a_page, a_query, alike, unit
from vrag.errors import CorpusError
from vrag.index import maxsim, maxsim_numba, maxsim_vnni, segments, writing
from vrag.index.embedded import EmbeddedIndex
from vrag.index.maxsim import kernel
from vrag.index.pooling import pool_page, pool_query
from vrag.index.quantize import Bits, dequantize, quantize
from vrag.index.state import best
from vrag.index.vectors import Filter
from vrag.kernels import KernelChoice, KernelName


@pytest.fixture(params=["numba", "numpy"])
def kernel_name(request: pytest.FixtureRequest) -> KernelName:
    return request.param


@pytest.fixture
def make(kernel_name: KernelName, tmp_path: Path) -> Iterator[Callable[..., EmbeddedIndex]]:
    opened: list[EmbeddedIndex] = []

    def open_or_create(candidates: int = 200) -> EmbeddedIndex:
        folder = tmp_path / "vectors"
        if not folder.exists():
            EmbeddedIndex.create(folder, DIM, "an encoder", pool=8).close()
        opened.append(EmbeddedIndex.open(folder, kernel=kernel_name, candidates=candidates))
        return opened[-1]

    yield open_or_create
    for index in opened:
        index.close()


def test_vectors_of_pages_that_were_replaced_or_deleted_are_dead_until_compaction(make: Callable[..., EmbeddedIndex]):
    index, (first, second) = make(), (len(a_page(number).vectors.vectors) for number in (1, 2))
    index.upsert([a_page(1), a_page(2)])
    index.upsert([a_page(1)])
    assert index.stats().dead == first
    index.delete(Filter(pages=["page-2"]))
    assert index.stats().dead == first + second
    index.compact()
    assert index.stats().dead == 0 and index.ids() == {"page-1"}


def test_segments_end_and_compaction_drops_what_is_dead(
    make: Callable[..., EmbeddedIndex], kernel_name: KernelName, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(writing, "SEGMENT", 100)
    monkeypatch.setattr(writing, "_COMPACTED", 150)
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
    found, again = [index.search(query, 10, exact=True) for query in queries], make().search(queries[0], 10)
    assert alike([found, again], [before, held])
    assert (found, again) == (before, held) or kernel_name == "numpy"
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


def test_files_shorter_than_the_catalogue_says_are_an_error(make: Callable[..., EmbeddedIndex]):
    index = make()
    index.upsert([a_page(1)])
    file = segments.files(index.folder, 1)[0]
    file.write_bytes(file.read_bytes()[:-DIM])
    with pytest.raises(CorpusError, match="index again"):
        index.search(a_query(1), 1)


def test_an_index_of_the_first_format_goes_on_and_compaction_brings_it_to_this_one(
    make: Callable[..., EmbeddedIndex], tmp_path: Path
):
    """There pooled vectors were int8, and the catalogue said nothing of it."""
    pages, index = [a_page(number) for number in range(30)], make()
    index._bits = 8
    index.upsert(pages[:20])
    index.close()
    with closing(sqlite3.connect(index.folder / "vectors.sqlite")) as db:
        db.executescript("ALTER TABLE segments DROP COLUMN bits; PRAGMA user_version = 1")
    assert pooled_files(index.folder) == ["pool-000001.i8"]
    upgraded = make(candidates=10)
    queries = [a_query(seed, page) for seed, page in enumerate(pages[:20])]
    assert [upgraded.search(query, 1)[0].page_id for query in queries] == [page.id for page in pages[:20]]
    upgraded.upsert(pages[20:])
    assert pooled_files(index.folder) == ["pool-000001.i8", "pool-000002.u4"]
    queries += [a_query(seed, page) for seed, page in enumerate(pages[20:])]
    found = [[hit.page_id for hit in upgraded.search(query, 3)] for query in queries]
    assert [first for first, *_ in found] == [page.id for page in pages]
    upgraded.snapshot(tmp_path / "copy")
    upgraded.compact()
    assert pooled_files(index.folder) == ["pool-000003.u4"]
    with closing(EmbeddedIndex.open(tmp_path / "copy", candidates=10)) as copy:
        for one in (upgraded, make(candidates=10), copy):
            assert [one.search(query, 1)[0].page_id for query in queries] == [page.id for page in pages]


def pooled_files(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.glob("pool-*") if file.suffix != ".u16")


# ---------------------------------------------------------------------------------------- parts of it


@pytest.mark.parametrize("name", ["numba", "numpy", "torch"])
@pytest.mark.parametrize("tokens", [1, 26, 32, 33, 70])
@pytest.mark.parametrize("bits", [4, 8])
def test_a_kernel_gives_what_the_formula_gives(name: KernelName, tokens: int, bits: Bits):
    kernel = KernelChoice(name).load()
    rng = np.random.default_rng(tokens)
    vectors = unit(rng.standard_normal((301, DIM)))
    ends = np.array([1, 4, 9, 100, 101, 301])
    starts = np.array([0, 1, 4, 9, 100, 101])
    query, stored = unit(rng.standard_normal((tokens, DIM))), quantize(vectors, bits)
    plain = dequantize(stored) @ query.T
    truth = [plain[first:last].max(axis=0).sum() for first, last in zip(starts, ends, strict=True)]
    scored = kernel(stored, starts, ends, query)
    np.testing.assert_allclose(scored, truth, rtol=1e-4, atol=1e-4)
    order = np.array([5, 0, 3])
    again = kernel(stored, starts[order], ends[order], query)
    np.testing.assert_allclose(again, np.array(truth)[order], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("in_int8", [True, False], ids=["vnni", "fp32"])
@pytest.mark.parametrize(
    ("dim", "bits"),
    [(3, 8), (4, 8), (48, 8), (128, 8), (1024, 8), (4096, 8), (6, 4), (8, 4), (48, 4), (128, 4), (4096, 4)],
)
def test_numba_gives_the_same_with_and_without_products_of_int8(
    dim: int, bits: Bits, in_int8: bool, monkeypatch: pytest.MonkeyPatch
):
    if in_int8 and not maxsim_vnni.is_supported(quantize(np.eye(48))):
        pytest.skip("this CPU has no AVX-512 VNNI")
    for odd in (3, 12):
        assert not maxsim_vnni.is_supported(quantize(np.eye(odd))), "halves of its rows aren't whole groups of four"
    if not in_int8:
        monkeypatch.setattr(maxsim_vnni, "is_supported", lambda _: False)
    rng = np.random.default_rng(dim)
    rows = rng.standard_normal((37, dim))
    rows[:4] = [np.ones(dim), -np.ones(dim), np.eye(dim)[0], np.ones(dim)]  # as large as sums of products become
    query = unit(np.concatenate([rows[[0, 1, 2, 20, 30]], rng.standard_normal((30, dim))]))
    rows[3] = 0
    stored = quantize(rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-9), bits)
    starts, ends, query[-1] = np.array([0, 4, 36]), np.array([4, 36, 37]), 0
    truth = maxsim.maxsim(stored, starts, ends, query)
    np.testing.assert_allclose(maxsim_numba.maxsim(stored, starts, ends, query), truth, rtol=1e-4, atol=3e-4)
    np.testing.assert_allclose(maxsim_numba.maxsim(stored, starts, ends, query, rough=True), truth, atol=0.05)


def test_numpy_scores_in_chunks_as_at_once(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(0)
    stored, query = quantize(unit(rng.standard_normal((90, DIM)))), unit(rng.standard_normal((4, DIM)))
    starts, ends = np.array([0, 10, 30, 60]), np.array([10, 30, 60, 90])
    whole = kernel("numpy")(stored, starts, ends, query)
    monkeypatch.setattr("vrag.index.maxsim._CHUNK", 31 * DIM)
    np.testing.assert_allclose(kernel("numpy")(stored, starts, ends, query), whole, rtol=1e-6)


@pytest.mark.parametrize(("bits", "largest"), [(8, 127), (4, 7)])
def test_codes_keep_a_vector_to_half_a_step(bits: Bits, largest: int):
    vectors = unit(np.random.default_rng(0).standard_normal((50, 128))) * np.float32(0.9)
    vectors[7] = 0
    stored = quantize(vectors, bits)
    off = np.abs(dequantize(stored) - vectors)
    assert (off <= np.abs(vectors).max(axis=1, keepdims=True) / largest * 0.51 + 1e-5).all()
    assert not stored.integers()[7].any()
    assert stored.codes.nbytes == 50 * 128 * bits // 8 and (stored.bits, stored.dim) == (bits, 128)
    assert (dequantize(stored[10:12]) == dequantize(stored)[10:12]).all()


def test_pooling_means_neighbours_and_keeps_a_short_rest():
    rows = np.arange(10, dtype=np.float32)[:, None]
    np.testing.assert_allclose(pool_page(rows, 4)[:, 0], [1.5, 5.5, 8.5])


@pytest.mark.parametrize(("tokens", "pooled"), [(1, 1), (16, 16), (17, 16), (26, 16), (32, 16), (33, 32), (70, 48)])
def test_of_a_query_what_is_alike_is_summed(tokens: int, pooled: int):
    rng = np.random.default_rng(tokens)
    apart = unit(rng.standard_normal((pooled, DIM)))
    copies = rng.permutation([*range(pooled), *rng.integers(pooled, size=tokens - pooled)])
    found = pool_query(apart[copies])
    wanted = apart * np.bincount(copies)[:, None]
    order = np.lexsort(np.rint(100 * found).T), np.lexsort(np.rint(100 * wanted).T)
    np.testing.assert_allclose(found[order[0]], wanted[order[1]], rtol=1e-5, atol=1e-5)


def test_the_sums_of_a_query_are_those_of_the_closest_one_by_one():
    query = unit(np.random.default_rng(3).standard_normal((26, DIM)))
    sums = list(query.astype(np.float64))
    while len(sums) > 16:
        pairs = list(combinations(range(len(sums)), 2))
        lost = [np.linalg.norm(sums[a]) * np.linalg.norm(sums[b]) - sums[a] @ sums[b] for a, b in pairs]
        first, second = pairs[int(np.argmin(lost))]
        sums[first] = sums[first] + sums.pop(second)
    np.testing.assert_allclose(pool_query(query), sums, atol=1e-5)


def test_the_best_are_sorted_and_of_equal_ones_the_first_come_first():
    scores = np.array([1, 3, -np.inf, 3, 2], np.float32)
    assert best(scores, 3).tolist() == [1, 3, 4]
    assert best(scores, 2).tolist() == [1, 3]
    assert best(scores, 9).tolist() == [1, 3, 4, 0]


def test_an_index_that_another_process_has_just_made_keeps_its_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    token = secrets.token_hex

    def another_is_quicker(size: int) -> str:
        monkeypatch.setattr(secrets, "token_hex", token)
        with closing(EmbeddedIndex.create(tmp_path / "vectors", DIM, "an encoder")) as quicker:
            quicker.upsert([a_page(1)])
        return token(size)

    monkeypatch.setattr(secrets, "token_hex", another_is_quicker)
    with pytest.raises(CorpusError, match="already"):
        EmbeddedIndex.create(tmp_path / "vectors", DIM, "an encoder")
    with closing(EmbeddedIndex.open(tmp_path / "vectors")) as index:
        assert index.ids() == {"page-1"}


def test_files_that_a_compaction_deletes_meanwhile_are_no_error_of_the_figures(
    make: Callable[..., EmbeddedIndex], monkeypatch: pytest.MonkeyPatch
):
    index, is_file = make(), Path.is_file
    index.upsert([a_page(1)])

    def goes_then(path: Path, **options: bool) -> bool:
        found = is_file(path, **options)
        if path.suffix == ".i8":
            path.unlink()
        return found

    monkeypatch.setattr(Path, "is_file", goes_then)
    assert index.stats().pages == 1
