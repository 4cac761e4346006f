"""Several rankings become one."""

from __future__ import annotations

import asyncio

import pytest

from vrag.errors import InfrastructureError, UsageError
from vrag.fusion import RRF, FusedRetriever, Weighted, fuse
from vrag.testing import FixedRetriever, MemoryStore
from vrag.types import Hit, Page, PageRef


def hits(*names: str) -> list[Hit]:
    return [Hit(page_id=name, ref=PageRef(document=name, page=1), score=-n) for n, name in enumerate(names)]


def test_a_page_that_both_find_comes_before_one_that_one_finds_first():
    fused = fuse({"text": hits("a", "b"), "visual": hits("c", "b")}, {"text": 1, "visual": 1})
    assert [hit.page_id for hit in fused] == ["b", "a", "c"]
    assert fused[0].score == pytest.approx(2 / (RRF + 2))
    assert fused[0].ranks == {"text": 2, "visual": 2} and fused[1].ranks == {"text": 1}


def test_weights_decide_between_retrievers():
    fused = fuse({"text": hits("a"), "visual": hits("b")}, {"text": 1, "visual": 1.5})
    assert [hit.page_id for hit in fused] == ["b", "a"]


def test_a_retriever_that_names_a_page_twice_counts_its_better_rank():
    fused = fuse({"text": hits("a", "b", "a")}, {"text": 1})
    assert [(hit.page_id, hit.ranks["text"]) for hit in fused] == [("a", 1), ("b", 2)]


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    for number, word in enumerate(("alpha", "beta", "gamma"), 1):
        store.add("doc.pdf", number, [word], size=(200, 100))
    return store


def pages(store: MemoryStore, *numbers: int) -> list[Page]:
    return [list(store.pages.values())[number] for number in numbers]


def search(store: MemoryStore, retrievers: dict[str, Weighted], k: int = 3, **more: object) -> list[int]:
    fused = FusedRetriever(store, retrievers, **more)  # type: ignore[arg-type]
    return [hit.ref.page for hit in asyncio.run(fused.search("anything", k))]


def test_a_reranker_sorts_the_fused_hits_by_their_text(store: MemoryStore):
    retrievers = {"text": Weighted(FixedRetriever(pages(store, 0, 1, 2)))}
    assert search(store, retrievers) == [1, 2, 3]

    def by_text(query: str, found: object) -> list[float]:
        assert query == "anything"
        return [{"alpha": 0.0, "beta": 2.0, "gamma": 1.0}[page.text.strip()] for page in found]  # type: ignore[attr-defined]

    assert search(store, retrievers, reranker=by_text) == [2, 3, 1]
    assert search(store, retrievers, 1, reranker=by_text) == [2]


def test_one_that_fails_fails_the_search(store: MemoryStore):
    broken = Weighted(FixedRetriever(error=InfrastructureError("down")))
    with pytest.raises(InfrastructureError, match="down"):
        search(store, {"text": Weighted(FixedRetriever(pages(store, 0))), "visual": broken})


@pytest.mark.parametrize("retrievers", [{}, {"text": Weighted(FixedRetriever(), 0)}])
def test_fusion_of_nothing_or_without_weight_is_refused(store: MemoryStore, retrievers: dict[str, Weighted]):
    with pytest.raises(UsageError, match="at least one"):
        search(store, retrievers)
