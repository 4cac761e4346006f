"""Things in portions that fit."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from vrag.portions import portions


@given(st.lists(st.integers(0, 9)), st.integers(1, 20))
def test_portions_keep_the_order_fit_and_could_take_no_more(costs: list[int], limit: int) -> None:
    found = list(portions(costs, lambda cost: cost, limit))
    assert [cost for portion in found for cost in portion] == costs and all(found)
    assert all(sum(portion) <= limit or len(portion) == 1 for portion in found)
    assert all(sum(portion) + after[0] > limit for portion, after in pairwise(found))
