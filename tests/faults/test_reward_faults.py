"""Rewards stay finite and in bounds whatever an episode holds: duplicates, no references, absurd numbers."""

import math

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vrag.rewards.combine import RewardWeights, score
from vrag.types import (
    Answer,
    Box,
    Crop,
    Evidence,
    Hit,
    Observation,
    PageRef,
    Search,
    StopReason,
    Task,
    Turn,
    View,
)

refs = st.builds(PageRef, document=st.sampled_from(["a.pdf", "b.pdf"]), page=st.integers(1, 4))
region = Box(x1=0, y1=0, x2=9, y2=9)
views = st.builds(View, page_id=st.just("p"), ref=refs, region=st.just(region), width=st.just(28), height=st.just(28))
hits = st.lists(st.builds(Hit, page_id=st.just("p"), ref=refs, score=st.floats()), max_size=4)
observations = st.builds(
    Observation, kind=st.sampled_from(["page", "crop", "message"]), view=views | st.none(), hits=hits
)
answers = st.text(max_size=30) | st.sampled_from(["nan", "inf", "-", "1e999", "٣", "½", "²", "1,2,3", "9" * 400])
actions = st.one_of(
    st.none(),
    st.just(Search(query="q")),
    st.just(Crop(box=region)),
    answers.map(lambda text: Answer(text=text)),
)
turns = st.lists(
    st.builds(
        Turn,
        text=st.just(""),
        action=actions,
        thought=st.sampled_from(["", "t"]),
        error=st.none() | st.just("bad"),
        observation=observations | st.none(),
    ),
    max_size=6,
)
tasks = st.builds(
    Task,
    id=st.just("t"),
    question=st.just("?"),
    answers=st.lists(answers, max_size=3),
    gold=st.lists(st.builds(Evidence, ref=refs), max_size=4),
)
weights = st.builds(
    RewardWeights,
    answer=st.floats(0, 1),
    pattern=st.floats(0, 1),
    retrieval=st.floats(0, 1),
    gated=st.booleans(),
    require_think=st.booleans(),
)


def test_every_part_lies_in_bounds_and_the_total_is_their_weighted_sum(full: bool) -> None:
    @settings(max_examples=10_000 if full else 1_000, suppress_health_check=list(HealthCheck))
    @given(turns, answers | st.none(), st.sampled_from(list(StopReason)), tasks, weights)
    def check(turns: list[Turn], answer: str | None, stop: StopReason, task: Task, weights: RewardWeights) -> None:
        reward = score(turns, answer, stop, task, weights)
        if stop is StopReason.ERROR:
            assert reward is None
            return
        assert reward is not None
        assert all(0 <= part <= 1 for part in reward.parts.values())
        assert math.isfinite(reward.total) and reward.total >= 0
        most = sum(getattr(weights, name) * part for name, part in reward.parts.items())
        assert reward.total in (0.0, most)

    check()
