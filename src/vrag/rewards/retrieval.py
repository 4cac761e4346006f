"""The retrieval reward of the paper (section 3.3), and ranking metrics over lists of pages.

All take pages in retrieval order and the gold pages, relevance 0 or 1; `ndcg` also takes grades. A page counts
once, at its first place; later mentions are dropped before ranks are counted, so every value lies in 0..1
whatever the lists hold. Without gold pages nothing can be found: 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from vrag.types import PageRef, Turn


def retrieval_reward(turns: Iterable[Turn], gold: Iterable[PageRef]) -> float:
    """r_Ret = sum_i (2^s_i - 1) / log2(i + 1) over the ideal sum, i from 1.

    The order is that in which pages were *shown*, as in the reference code, whose list holds the one page
    injected for each search; the rest of the engine's ranking was never seen by the policy. Crops don't
    count. Irrelevant pages cost something only when they come before a relevant one.
    """
    return ndcg(shown_pages(turns), gold)


def shown_pages(turns: Iterable[Turn]) -> list[PageRef]:
    """The pages that the episode was shown, in order."""
    seen = [turn.observation for turn in turns if turn.observation is not None]
    return [page for item in seen if item.kind == "page" for page in item.pages]


def ndcg(found: Iterable[PageRef], gold: Iterable[PageRef] | Mapping[PageRef, int], depth: int | None = None) -> float:
    """nDCG@depth; None: over the whole list. `gold` may map pages to grades: their gains, as in trec_eval."""
    grades = dict(gold) if isinstance(gold, Mapping) else dict.fromkeys(gold, 1)
    pages = list(dict.fromkeys(found))
    gain = _discounted([grades.get(page, 0) for page in pages[:depth]])
    return gain / _discounted(sorted(grades.values(), reverse=True)[:depth]) if grades else 0.0


def _discounted(gains: Iterable[int]) -> float:
    """The sum of gains over log2(rank + 1), ranks from 1."""
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1))


def recall(found: Iterable[PageRef], gold: Iterable[PageRef], depth: int | None = None) -> float:
    """The share of the gold pages among the first `depth` pages that were found; None: among all."""
    wanted, pages = set(gold), list(dict.fromkeys(found))
    return len(wanted.intersection(pages[:depth])) / len(wanted) if wanted else 0.0


def mrr(found: Iterable[PageRef], gold: Iterable[PageRef]) -> float:
    """One over the rank of the first gold page; 0 if there is none."""
    return 1 / next(iter(_ranks(found, set(gold))), math.inf)


def _ranks(found: Iterable[PageRef], wanted: set[PageRef]) -> Sequence[int]:
    """Ranks, from 1, of the wanted pages among the different pages found."""
    return [rank for rank, ref in enumerate(dict.fromkeys(found), start=1) if ref in wanted]
