"""Terms of the reward: alone, against siblings, over training, by source; and what can't be said."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from tests.fabricated import answer_turn, episode, make_task, search_turn
from vrag.episode import Episode
from vrag.errors import ConfigError, InfrastructureError, UsageError
from vrag.rewards.combine import RewardWeights, paper_rubric, paper_terms, score_episode, searched
from vrag.rewards.rubric import GroupScore, Rubric, Term, Value, per_episode, reward_all
from vrag.rewards.weights import BySource, Linear, weigh
from vrag.types import StopReason, Task


def made(answer: str = "42", searches: int = 1, task: Task | None = None, sample: int = 0) -> Episode:
    record = episode(task or make_task(), *[search_turn(3)] * searches, answer_turn(answer))
    return Episode(task=record.task, turns=record.turns, stop=record.stop, answer=answer, tokens=None, sample=sample)


def rewarded(rubric: Rubric, group: Sequence[Episode], progress: float = 1.0) -> list[float | None]:
    asyncio.run(rubric.reward([group], progress))
    return [e.reward.total if e.reward else None for e in group]


def test_a_researcher_adds_a_term_of_ones_own_in_a_few_lines() -> None:
    """Fewer searches than the siblings need, which counts for more towards the end of training."""

    def brevity(group: Sequence[Episode]) -> list[float]:
        longest = max(len(e.turns) for e in group)
        return [1 - len(e.turns) / longest for e in group]

    rubric = Rubric([*paper_terms(), Term("brevity", brevity, weight=Linear(start=0, end=0.5))], gate=searched)
    group = [made(searches=1), made(searches=3)]
    assert rewarded(rubric, group, progress=0.0) == pytest.approx([1.0, 1.0])
    assert rewarded(rubric, group, progress=1.0) == pytest.approx([1.25, 1.0])
    assert group[0].reward is not None and group[0].reward.parts["brevity"] == 0.5, "logged apart and unweighted"


@pytest.mark.parametrize("weights", [RewardWeights(), RewardWeights(answer=0.3, gated=False, require_think=True)])
@pytest.mark.parametrize("answer", ["42", "about 42 or so", "17"])
def test_the_rubric_of_the_paper_gives_what_its_function_gives(weights: RewardWeights, answer: str) -> None:
    scored = made(answer)
    asyncio.run(paper_rubric(weights).reward([[scored]], progress=0.3))
    assert scored.reward is not None and scored.reward == score_episode(made(answer), weights)


def test_a_weight_may_differ_by_source_and_over_training() -> None:
    weight = BySource(default=1.0, sources={"charts": Linear(start=0, end=2, after=0.5)})
    chart, other = Task(id="a", question="?", source="charts"), Task(id="b", question="?")
    assert [weigh(weight, chart, at) for at in (0, 0.5, 0.75, 1)] == [0, 0, 1, 2]
    assert [weigh(weight, other, at) for at in (0, 1)] == [1, 1]
    assert weigh(lambda task, progress: len(task.id) + progress, chart, 0.5) == 1.5, "or any function"


def test_the_weights_of_the_paper_may_do_so_too() -> None:
    weights = RewardWeights(answer=Linear(start=0.2, end=0.6), retrieval=BySource(default=0.2, sources={"text": 0.4}))
    rubric = paper_rubric(weights)
    group = [made(), made(task=make_task().model_copy(update={"source": "text"}))]
    assert rewarded(rubric, group, progress=0.5) == pytest.approx([0.4 + 0.1 + 0.2, 0.4 + 0.1 + 0.4])


def test_weights_come_from_a_recipe(tmp_path_factory: pytest.TempPathFactory) -> None:
    from vrag.config import resolve

    file = tmp_path_factory.mktemp("recipe") / "r.toml"
    file.write_text("pattern = 0\n[answer]\nstart = 0.2\nend = 0.8\n[retrieval]\ndefault = 0.2\nsources.text = 0\n")
    weights = resolve(RewardWeights, file, ["require_think=true"])
    assert weights.answer == Linear(start=0.2, end=0.8) and weights.require_think
    assert weights.retrieval == BySource(default=0.2, sources={"text": 0})
    with pytest.raises(ConfigError, match="after must be less"):
        resolve(RewardWeights, None, ["answer={start = 0, end = 1, after = 1}"])


def test_the_gate_takes_penalties_too() -> None:
    rubric = Rubric([per_episode("cost", lambda e: -1.0)], gate=searched)
    assert rewarded(rubric, [made(), made(searches=0)]) == [-1.0, 0.0]


def test_a_term_applies_to_the_tasks_that_it_is_for() -> None:
    rubric = paper_rubric()
    bare = made(task=make_task().model_copy(update={"gold": []}))
    assert rewarded(rubric, [bare, made()]) == pytest.approx([0.8, 1.0])
    assert bare.reward is not None and "retrieval" not in bare.reward.parts


# ---------------------------------------------------------------------------- what can't be said


def values(*given: Value) -> GroupScore:
    return lambda group: list(given)


def test_a_term_that_cannot_say_masks_its_sample_alone() -> None:
    group = [made(), made(), made()]
    rubric = Rubric([*paper_terms(), Term("x", values(1.0, None, InfrastructureError("the judge timed out")))])
    assert rewarded(rubric, group) == [pytest.approx(2.0), None, None]
    assert [e.error for e in group] == [None, "x: no value", "x: the judge timed out"]


def test_a_failure_of_infrastructure_in_a_term_masks_what_it_was_asked_for() -> None:
    def fails(episode: Episode) -> float:
        if episode.answer == "17":
            raise InfrastructureError("lost")
        return 1.0

    def all_fail(group: Sequence[Episode]) -> list[Value]:
        raise InfrastructureError("down")

    assert rewarded(Rubric([per_episode("x", fails)]), [made(), made("17")]) == [1.0, None]
    assert rewarded(Rubric([Term("x", all_fail)]), [made(), made("17")]) == [None, None]


def test_an_episode_that_failed_is_no_sibling_and_keeps_its_error() -> None:
    failed = made()
    failed.stop, failed.error = StopReason.ERROR, "the index is locked"
    seen: list[int] = []

    def count(group: Sequence[Episode]) -> list[float]:
        seen.append(len(group))
        return [1.0] * len(group)

    assert rewarded(Rubric([Term("n", count)]), [made(), failed, made()]) == [1.0, None, 1.0]
    assert seen == [2] and failed.error == "the index is locked"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_finite_number_names_term_and_sample(value: float) -> None:
    with pytest.raises(UsageError, match=r"'x' is .* task t1, sample 3: give a finite number"):
        rewarded(Rubric([Term("x", values(value))]), [made(sample=3)])
    with pytest.raises(UsageError, match=r"weight of 'x' is .* task t1"):
        rewarded(Rubric([Term("x", values(1.0), lambda task, progress: value)]), [made()])


def test_a_term_with_another_number_of_values_is_named() -> None:
    with pytest.raises(UsageError, match="'x' gave 1 values for 2 episodes"):
        rewarded(Rubric([Term("x", values(1.0))]), [made(), made()])


def test_two_terms_of_one_name_are_refused() -> None:
    with pytest.raises(UsageError, match=r"two terms .* 'answer'"):
        Rubric([*paper_terms(), per_episode("answer", lambda e: 0.0)])


def test_groups_and_asynchronous_terms_are_scored_together() -> None:
    meeting: list[asyncio.Event] = []

    async def meets(group: Sequence[Episode]) -> list[Value]:
        meeting.append(asyncio.Event())
        if len(meeting) == 6:
            for event in meeting:
                event.set()
        await asyncio.wait_for(meeting[-1].wait(), 10)
        return [1.0] * len(group)

    async def score() -> None:
        rubric = Rubric([Term("a", meets), Term("b", meets)])
        await rubric.reward([[made()], [made()], [made()]])

    asyncio.run(score())
    with pytest.raises(UsageError, match="'a' is asynchronous"):
        Rubric([Term("a", meets)]).now(made())


def test_a_plain_function_of_an_episode_is_enough() -> None:
    def plain(episode: Episode) -> None:
        raise InfrastructureError("no")

    group = [made(), made("17")]
    asyncio.run(reward_all(score_episode, [group]))
    assert [e.reward.parts["answer"] for e in group if e.reward] == [1.0, 0.0]
    asyncio.run(reward_all(plain, [group]))
    assert [(e.reward, e.error) for e in group] == [(None, "no")] * 2


# ------------------------------------------------------------------------------- terms by name

SHORT = per_episode("short", lambda e: -float(len(e.turns)), weight=0.1)


def test_a_recipe_names_terms_of_ones_own_beside_the_papers() -> None:
    rubric = paper_rubric(RewardWeights(terms=("tests.unit.test_rubric:SHORT",)))
    scored = made()
    assert rewarded(rubric, [scored]) == pytest.approx([0.8])
    assert scored.reward is not None and scored.reward.parts["short"] == -2.0 and len(rubric.terms) == 4


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("no_such_module:term", "No module named 'no_such_module'.*PYTHONPATH"),
        ("tests.unit.test_rubric:gone", "has no attribute 'gone'"),
        ("os.system", "write module:attribute"),
        ("tests.unit.test_rubric:made", "is a function; make a Term of it"),
    ],
)
def test_a_name_that_is_no_term_is_an_error_that_says_why(name: str, why: str) -> None:
    with pytest.raises(UsageError, match=f"reward term .?{name}.*{why}"):
        paper_rubric(RewardWeights(terms=(name,)))


def test_a_run_without_terms_is_written_as_before_there_were_any() -> None:
    assert "terms" not in RewardWeights().model_dump()
    named = RewardWeights(terms=("a:b",))
    assert RewardWeights.model_validate_json(named.model_dump_json()) == named
