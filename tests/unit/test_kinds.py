"""Drawing evenly from kinds, and keeping a few of each."""

from __future__ import annotations

from collections import Counter

import numpy as np

from vrag.data.kinds import ByKind, at_most


def test_a_rare_kind_is_drawn_as_often_as_a_common_one() -> None:
    kinds = ByKind([("common", n) for n in range(98)] + [("rare", 98), ("rare", 99)])
    drawn = Counter(item >= 98 for item in kinds.draw(1000, np.random.default_rng(0)))
    assert 420 < drawn[True] < 580


def test_at_most_so_many_of_a_kind_are_kept_in_their_order() -> None:
    assert at_most(2, [("a", 1), ("b", 2), ("a", 3), ("a", 4), ("b", 5)]) == [1, 2, 3, 5]


def test_nothing_has_no_kinds() -> None:
    assert not ByKind[int]([])
