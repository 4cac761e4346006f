"""Dynamic sampling: which groups are kept, how many are drawn in their place, and when it ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count, islice

import pytest

from vrag.episode import Episode, Reward
from vrag.training.draws import Draw, draw, further_tasks
from vrag.types import StopReason, Task

SIZE = 2


def world(rewards: Callable[[int], Sequence[float | None]]) -> Callable[[Sequence[int], list[Episode]], list[Episode]]:
    """Rollouts that only have rewards, a function of the task."""

    def roll_out(picked: Sequence[int], before: list[Episode]) -> list[Episode]:
        episodes = []
        for task in picked:
            for total in rewards(task):
                reward = None if total is None else Reward(total=total, parts={})
                question = Task(id=str(task), question="?")
                episodes.append(Episode(question, [], StopReason.TURNS, None, None, reward=reward))
        return episodes

    return roll_out


def tasks(episodes: Sequence[Episode]) -> list[int]:
    return [int(e.task.id) for e in episodes[::SIZE]]


def drawn(rewards: Callable[[int], Sequence[float | None]], groups: int, extra_rounds: int) -> Draw:
    return draw(range(groups), count(groups), world(rewards), SIZE, extra_rounds)


def test_flat_and_unscored_groups_are_replaced_until_none_is_missing() -> None:
    flat, unscored = {0, 2, 4}, {3}
    result = drawn(lambda t: (1, 1) if t in flat else (None, 1) if t in unscored else (0, 1), 4, extra_rounds=5)
    assert tasks(result.kept) == [1, 5, 6, 7]
    assert tasks(result.drawn) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert result.metrics(SIZE) == {"rollout_rounds": 3, "groups_drawn": 8, "groups_kept": 4}


def test_the_bound_on_rounds_holds_and_the_step_goes_on_with_what_there_is() -> None:
    result = drawn(lambda t: (0, 1) if t == 1 else (0, 0), 3, extra_rounds=2)
    assert tasks(result.kept) == [1]
    assert result.metrics(SIZE) == {"rollout_rounds": 3, "groups_drawn": 3 + 2 + 2, "groups_kept": 1}


def test_nothing_more_is_drawn_when_all_groups_have_variance() -> None:
    assert drawn(lambda _: (0, 1), 3, extra_rounds=5).metrics(SIZE) == {
        "rollout_rounds": 1,
        "groups_drawn": 3,
        "groups_kept": 3,
    }


def test_without_extra_rounds_flat_groups_stay() -> None:
    result = drawn(lambda _: (1, 1), 3, extra_rounds=0)
    assert tasks(result.kept) == tasks(result.drawn) == [0, 1, 2]


@pytest.mark.parametrize("chosen", [[1, 3], [0, 1, 2, 3, 4]])
def test_further_tasks_are_first_those_not_drawn_and_repeat_with_seed_and_step(chosen: list[int]) -> None:
    found = list(islice(further_tasks(chosen, 5, seed=0, step=4), 12))
    rest = 5 - len(chosen)
    assert sorted(found[:rest]) == sorted({0, 1, 2, 3, 4} - set(chosen))
    assert sorted(found[rest : rest + 5]) == [0, 1, 2, 3, 4]
    assert found == list(islice(further_tasks(chosen, 5, seed=0, step=4), 12))
    assert found != list(islice(further_tasks(chosen, 5, seed=0, step=5), 12))
