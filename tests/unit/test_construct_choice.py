"""Which episodes are kept: filters look at one, the balance at all."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tests.fabricated import GOLD, answer_turn, crop_turn, episode, invalid_turn, make_task, search_turn
from vrag.data.balance import Balance, balanced, group_of
from vrag.data.dataset import StoredMessage, TextContent, Trajectory
from vrag.data.filters import Filters, Refusal, crops, refusal, wrong
from vrag.environment import EnvironmentConfig
from vrag.episode import Reward
from vrag.errors import UsageError
from vrag.types import Box, Task, Turn

ENVIRONMENT = EnvironmentConfig()  # boxes absolute; the fabricated pages are 1240 x 1754, shown as 392 x 560
LAST = answer_turn("42")


def refused(*turns: Turn, task: Task | None = None, **filters: Any) -> str | None:
    found = refusal(episode(task, *turns).episode(), Filters(**filters), ENVIRONMENT)
    return found.reason if found else None


def boxed(box: Box) -> Turn:
    """A crop of `box`, in pixels of the view."""
    turn = crop_turn(3)
    assert turn.action is not None
    return turn.model_copy(update={"action": turn.action.model_copy(update={"box": box})})


def test_an_episode_that_searches_crops_and_answers_is_taken() -> None:
    assert refused(search_turn(3), crop_turn(3), LAST) is None


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ([search_turn(3), invalid_turn(), LAST], "invalid turn"),
        ([LAST], "too few steps"),
        ([search_turn(3), *[crop_turn(3)] * 5, LAST], "too many steps"),
        ([search_turn(4), crop_turn(4), LAST], "gold page not shown"),
        ([search_turn(4, ranked=(4, 3)), LAST], "gold page not shown"),
        ([search_turn(3), boxed(Box(x1=0, y1=0, x2=393, y2=100)), LAST], "box out of range"),
        ([search_turn(3), boxed(Box(x1=-1, y1=0, x2=90, y2=100)), LAST], "box out of range"),
        ([search_turn(3), boxed(Box(x1=90, y1=0, x2=90, y2=100)), LAST], "box out of range"),
        ([search_turn(3), boxed(Box(x1=0, y1=0, x2=2, y2=100)), LAST], "crop too small"),
        ([search_turn(3), boxed(Box(x1=0, y1=0, x2=392, y2=560)), LAST], "crop too large"),
    ],
)
def test_what_is_not_to_be_learned_has_a_reason(turns: list[Turn], reason: str) -> None:
    assert refused(*turns) == reason


@pytest.mark.parametrize(
    ("filters", "turns", "reason"),
    [
        ({"gold": False}, [search_turn(4), LAST], None),
        ({"min_steps": 1, "gold": False}, [LAST], None),
        ({"max_steps": 2}, [search_turn(3), crop_turn(3), LAST], "too many steps"),
        ({"max_page_pixels": 1240 * 1754 - 1}, [search_turn(3), LAST], "page too large"),
        ({"max_page_pixels": 1240 * 1754}, [search_turn(3), LAST], None),
        ({"min_page_pixels": 1240 * 1754 + 1}, [search_turn(3), LAST], "page too small"),
        ({"max_crop_share": 1.0}, [search_turn(3), boxed(Box(x1=0, y1=0, x2=392, y2=560)), LAST], None),
        ({"min_crop_side": 6}, [search_turn(3), boxed(Box(x1=0, y1=0, x2=2, y2=100)), LAST], None),
    ],
)
def test_each_filter_can_be_set(filters: dict[str, Any], turns: list[Turn], reason: str | None) -> None:
    assert refused(*turns, **filters) == reason


@pytest.mark.parametrize("bad", [{"min_steps": 4, "max_steps": 3}, {"min_page_pixels": 9, "max_page_pixels": 8}])
def test_filters_that_nothing_passes_are_refused(bad: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match="is above"):
        Filters(**bad)  # type: ignore[arg-type]


def test_every_gold_page_has_to_be_shown() -> None:
    task = make_task(hops=2)
    assert refused(search_turn(3), LAST, task=task) == "gold page not shown"
    assert refused(search_turn(4), search_turn(3), LAST, task=task) is None
    found = refusal(episode(task, search_turn(3), LAST).episode(), Filters(), ENVIRONMENT)
    assert found == Refusal("gold page not shown", "report.pdf, page 4")


def test_a_crop_is_of_the_image_or_the_page_shown_last() -> None:
    turns = [search_turn(3), crop_turn(3, GOLD), crop_turn(3), LAST]
    assert [view.width for view, _ in crops(turns, "image")] == [392, 224]
    assert [view.width for view, _ in crops(turns, "page")] == [392, 392]
    assert list(crops([crop_turn(3), LAST], "image")) == []


@pytest.mark.parametrize(("answer", "right"), [(1.0, True), (0.5, False), (0.0, False), (None, False)])
def test_only_a_wholly_right_answer_is_right(answer: float | None, right: bool) -> None:
    one = episode().episode()
    one.reward = None if answer is None else Reward(total=1, parts={"answer": answer})
    assert (wrong(one) is None) is right


# ---------------------------------------------------------------------------------------- balance


def made(number: int, turns: list[Turn]) -> Trajectory:
    messages = [StoredMessage(role="user", content=[TextContent(text="?")])]
    plain = [turn.model_copy(update={"observation": None}) for turn in turns]
    messages += [StoredMessage(role="assistant", content=[TextContent(text=turn.text)]) for turn in plain]
    return Trajectory(task=make_task(f"t{number:03}"), messages=messages, turns=plain, answer="42")


def accepted(cropped: int, searched: int, long: int = 0) -> list[Trajectory]:
    kinds = [[search_turn(3), crop_turn(3), LAST]] * cropped
    kinds += [[search_turn(3), search_turn(4), LAST]] * searched + [[search_turn(3), *[crop_turn(3)] * 3, LAST]] * long
    return [made(number, turns) for number, turns in enumerate(kinds)]


def sizes(chosen: list[Trajectory]) -> list[int]:
    groups = [group_of(t) for t in chosen]
    return sorted((groups.count(group) for group in set(groups)), reverse=True)


def test_steps_and_kinds_of_action_make_a_group() -> None:
    assert {group_of(t) for t in accepted(1, 1, 1)} == {
        "3 steps: answer, bbox, search",
        "3 steps: answer, search",
        "5 steps: answer, bbox, search",
    }


@pytest.mark.parametrize(
    ("balance", "kept"),
    [
        (Balance(), [20, 6, 2]),
        (Balance(cap=5), [5, 5, 2]),
        (Balance(share=0.5), [8, 6, 2]),
        (Balance(share=1.0), [20, 6, 2]),
        (Balance(share=0.4), [4, 4, 2]),
        (Balance(cap=3, share=0.5), [3, 3, 2]),
        (Balance(share=1 / 3), [2, 2, 2]),
    ],
)
def test_as_many_are_kept_as_the_limits_allow(balance: Balance, kept: list[int]) -> None:
    assert sizes(balanced(accepted(20, 6, 2), balance)) == kept


def test_a_choice_depends_on_the_episodes_alone() -> None:
    some = accepted(20, 6, 2)
    chosen = balanced(some, Balance(cap=4))
    assert balanced(some[::-1], Balance(cap=4)) == chosen == sorted(chosen, key=lambda t: t.key)
    fewer = balanced(some, Balance(cap=3))
    assert all(one in chosen for one in fewer), "a smaller choice is part of a larger one"
    assert [t.task.id for t in chosen] != [t.task.id for t in some[:4]], "not those that came first"


def test_a_share_that_cannot_be_had_says_which_can() -> None:
    with pytest.raises(UsageError, match=r"balance\.share=0\.3: 2 groups .*below 0\.5; nothing is lost"):
        balanced(accepted(5, 5), Balance(share=0.3))
    assert balanced([], Balance(share=0.3)) == []


@pytest.mark.parametrize("bad", [{"cap": 0}, {"share": 0}, {"share": 1.1}])
def test_a_balance_that_keeps_nothing_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Balance(**bad)
