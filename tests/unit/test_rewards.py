"""Retrieval, pattern, and their combination with the answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrag.rewards.combine import AFTER_SFT, RewardWeights, score
from vrag.rewards.pattern import pattern_reward
from vrag.rewards.retrieval import mrr, ndcg, recall, retrieval_reward
from vrag.types import (
    Action,
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


def ref(page: int, document: str = "a.pdf") -> PageRef:
    return PageRef(document=document, page=page)


def view(page: int) -> View:
    return View(page_id=str(page), ref=ref(page), region=Box(x1=0, y1=0, x2=9, y2=9), width=28, height=28)


def search(shown: int, *found: int) -> Turn:
    hits = [Hit(page_id=str(page), ref=ref(page), score=1) for page in found]
    observation = Observation(kind="page", view=view(shown), hits=hits)
    return Turn(text="", action=Search(query="q"), thought="t", observation=observation)


def crop(page: int) -> Turn:
    action = Crop(box=Box(x1=0, y1=0, x2=5, y2=5))
    return Turn(text="", action=action, thought="t", observation=Observation(kind="crop", view=view(page)))


def turn(action: Action | None, error: str | None = None) -> Turn:
    return Turn(text="", action=action, error=error)


ANSWER = turn(Answer(text="42"))
TASK = Task(id="t", question="?", answers=["42"], gold=[Evidence(ref=ref(1)), Evidence(ref=ref(2))])

refs = st.lists(st.builds(ref, st.integers(1, 6)), max_size=8)


@given(refs, refs)
def test_ranking_metrics_lie_in_bounds_whatever_the_lists_hold(found: list[PageRef], gold: list[PageRef]) -> None:
    for metric in (ndcg, recall, mrr):
        assert 0 <= metric(found, gold) <= 1
        assert metric(found + found, gold) == metric(found, gold)
    if gold:
        assert ndcg(gold, gold) == pytest.approx(1)


@given(refs, refs.filter(bool))
def test_ranking_metrics_agree_with_ir_measures(found: list[PageRef], gold: list[PageRef]) -> None:
    ir = pytest.importorskip("ir_measures")
    ranked = list(dict.fromkeys(found))
    qrels = [ir.Qrel("q", str(item.page), 1) for item in set(gold)]
    run = [ir.ScoredDoc("q", str(item.page), -rank) for rank, item in enumerate(ranked)]
    if not run:
        return
    measured = ir.calc_aggregate([ir.nDCG @ 10, ir.R @ 10, ir.RR @ 10], qrels, run)
    assert ndcg(found, gold) == pytest.approx(measured[ir.nDCG @ 10])
    assert recall(found, gold) == pytest.approx(measured[ir.R @ 10])
    assert mrr(found, gold) == pytest.approx(measured[ir.RR @ 10])


def test_the_retrieval_reward_counts_what_was_shown_and_not_what_was_only_found() -> None:
    gold = [ref(1)]
    assert retrieval_reward([search(1, 1, 2)], gold) == 1.0
    assert retrieval_reward([search(2, 2, 1)], gold) == 0.0
    late = retrieval_reward([search(2, 2, 1), search(1, 2, 1)], gold)
    assert late == pytest.approx(0.6309297535714575)


def test_pages_after_the_gold_ones_and_crops_cost_nothing() -> None:
    gold = [ref(1)]
    assert retrieval_reward([search(1), crop(1), search(2), search(3)], gold) == 1.0


def test_the_same_page_number_of_another_document_is_another_page() -> None:
    assert recall([ref(1, "b.pdf")], [ref(1, "a.pdf")]) == 0.0


def test_the_pattern_is_all_turns_valid_with_a_search_and_an_answer() -> None:
    assert pattern_reward([search(1), crop(1), ANSWER]) == 1.0
    assert pattern_reward([search(1), turn(None, "no action"), ANSWER]) == 0.0
    assert pattern_reward([ANSWER]) == 0.0
    assert pattern_reward([search(1), crop(1)]) == 0.0
    assert pattern_reward([]) == 0.0


def test_thoughts_are_asked_for_only_on_demand() -> None:
    turns = [search(1), ANSWER]  # the answer has no thought
    assert pattern_reward(turns) == 1.0
    assert pattern_reward(turns, require_think=True) == 0.0


def test_a_perfect_episode_earns_one_and_every_part_is_logged() -> None:
    reward = score([search(1), search(2), ANSWER], "42", StopReason.ANSWER, TASK)
    assert reward is not None and reward.total == pytest.approx(1.0)
    assert reward.parts == {"answer": 1.0, "pattern": 1.0, "retrieval": 1.0}


def test_the_default_weights_are_the_reference_codes() -> None:
    reward = score([search(1), search(2), ANSWER], "41", StopReason.ANSWER, TASK)
    assert reward is not None and reward.total == pytest.approx(0.3)
    after = score([search(3), ANSWER], "42", StopReason.ANSWER, TASK, AFTER_SFT)
    assert after is not None and after.total == pytest.approx(0.8)


def test_the_gate_takes_everything_from_an_answer_without_a_search() -> None:
    gated = score([ANSWER], "42", StopReason.ANSWER, TASK)
    free = score([ANSWER], "42", StopReason.ANSWER, TASK, RewardWeights(gated=False))
    assert gated is not None and gated.total == 0.0 and gated.parts["answer"] == 1.0
    assert free is not None and free.total == pytest.approx(0.7)


def test_an_unfinished_episode_earns_nothing_when_gated() -> None:
    reward = score([search(1)], None, StopReason.TURNS, TASK)
    assert reward is not None and reward.total == 0.0 and reward.parts["retrieval"] > 0


def test_a_failure_of_infrastructure_is_never_scored() -> None:
    assert score([search(1)], None, StopReason.ERROR, TASK) is None


def test_a_task_without_gold_pages_has_no_retrieval_part() -> None:
    bare = Task(id="b", question="?", answers=["42"])
    reward = score([search(1), ANSWER], "42", StopReason.ANSWER, bare)
    assert reward is not None and "retrieval" not in reward.parts and reward.total == pytest.approx(0.8)
