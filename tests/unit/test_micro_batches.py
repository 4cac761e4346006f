"""How a step's episodes are split so that they fit into memory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vrag.training.batch import PADDING, micro_batches


@given(st.lists(st.integers(1, 300), max_size=30), st.integers(1, 1000))
def test_every_episode_is_in_one_bounded_micro_batch_and_the_longest_come_first(lengths: list[int], most: int) -> None:
    groups = list(micro_batches(lengths, most))
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    for group in groups:
        padded = len(group) * max(lengths[i] for i in group)
        assert len(group) == 1 or padded <= most
        assert padded - sum(lengths[i] for i in group) <= PADDING * padded
    assert [lengths[i] for group in groups for i in group] == sorted(lengths, reverse=True)
