"""The grammar: what is read, what is refused and why."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrag.actions import ACTIONS, complete, parse, render
from vrag.errors import UsageError
from vrag.types import Action, Answer, Box, Crop, Search

texts = st.text(min_size=1, max_size=40).map(str.strip).filter(bool)
numbers = st.floats(allow_nan=False, allow_infinity=False, width=64) | st.integers(-3000, 3000).map(float)
boxes = st.builds(Box, x1=numbers, y1=numbers, x2=numbers, y2=numbers)
actions = st.one_of(st.builds(Search, query=texts), st.builds(Crop, box=boxes), st.builds(Answer, text=texts))


@given(actions, st.text(max_size=40).map(str.strip))
def test_what_is_rendered_is_read_back(action: Action, thought: str) -> None:
    try:
        text = render(action, thought)
    except UsageError:
        return  # a text that holds a tag; asserted below
    parsed = parse(text)
    assert (parsed.action, parsed.thought, parsed.error) == (action, thought, None)


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("<think>look</think><search>sales 2020</search>", Search(query="sales 2020")),
        ("<think>\nlook\n</think>\n\n<search> sales 2020 </search>\n", Search(query="sales 2020")),
        ("I will.<think>look</think> So: < answer >Beijing</ answer > Done.", Answer(text="Beijing")),
        ("look</think><answer>Beijing</answer>", Answer(text="Beijing")),
        ("<think>a</think><bbox>[1, 2, 30, 40.5]</bbox>", Crop(box=Box(x1=1, y1=2, x2=30, y2=40.5))),
        ("<think>a</think><bbox> 1, 2,3 ,4 </bbox>", Crop(box=Box(x1=1, y1=2, x2=3, y2=4))),
        ("<think>a</think><bbox>(1 2 3 4)</bbox>", Crop(box=Box(x1=1, y1=2, x2=3, y2=4))),
        ("<think>not <search>this</search></think><search>that</search>", Search(query="that")),
        ("<search>q</search></think></answer>", Search(query="q")),
        ("<answer>a < b, c > d</answer>", Answer(text="a < b, c > d")),
    ],
)
def test_the_forms_that_checkpoints_write_are_read(text: str, action: Action) -> None:
    assert parse(text).action == action
    assert parse(text).error is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no action"),
        ("I don't know.", "no action"),
        ("<think>still thinking", "no action"),
        ("<search>a</search><answer>b</answer>", "exactly one action"),
        ("<search>a</search><search>a</search>", "exactly one action"),
        ("<search>a <answer>b</answer></search>", "exactly one action"),
        ("<search>a <think>b</think></search>", "isn't closed before <think>"),
        ("<answer>b", "isn't closed by </answer>"),
        ("<answer>b</search>", "isn't closed before </search>"),
        ("<search>  </search>", "empty"),
        ("<answer></answer>", "empty"),
        ("<bbox></bbox>", "four numbers"),
        ("<bbox>[]</bbox>", "four numbers"),
        ("<bbox>[1, 2, 3]</bbox>", "four numbers"),
        ("<bbox>[1, 2, 3, 4, 5]</bbox>", "four numbers"),
        ("<bbox>[1, 2, 3, NaN]</bbox>", "four numbers"),
        ("<bbox>[1, 2, 3, Infinity]</bbox>", "four numbers"),
        ("<bbox>[1, 2, 3, 1e999]</bbox>", "four numbers"),
        ("<bbox>[1, 2, 3, 1.2.3]</bbox>", "four numbers"),
        ("<bbox>[1_0, 2, 3, 4]</bbox>", "four numbers"),
        ("<bbox>[[1, 2], [3, 4]]</bbox>", "four numbers"),
        ("<bbox>" + "1" * 5000 + "</bbox>", "four numbers"),
    ],
)
def test_what_is_no_action_is_refused_with_the_reason(text: str, reason: str) -> None:
    parsed = parse(text)
    assert parsed.action is None
    assert parsed.error is not None and reason in parsed.error


def test_a_thought_that_is_not_closed_does_not_hide_the_action_but_is_no_thought() -> None:
    parsed = parse("<think>look for it <search>it</search>")
    assert parsed.action == Search(query="it")
    assert not parsed.has_think


def test_several_thoughts_are_joined_and_a_missing_one_is_noted() -> None:
    assert parse("<think>a</think>x<think>b</think><answer>c</answer>").thought == "a\nb"
    assert parse("<answer>c</answer>").has_think is False
    assert parse("<think> </think><answer>c</answer>").has_think is False


def test_an_action_that_is_not_declared_is_refused_by_name() -> None:
    allowed = {name: spec for name, spec in ACTIONS.items() if name != "bbox"}
    parsed = parse("<bbox>[1, 2, 3, 4]</bbox>", allowed)
    assert parsed.error == "<bbox> can't be used here: write one of <search>, <answer>"
    assert parse("<answer>a</answer>", allowed).action == Answer(text="a")


@pytest.mark.parametrize(
    ("action", "thought"),
    [
        (Search(query="a</search>"), ""),
        (Search(query="<answer>x</answer>"), ""),
        (Answer(text=" "), ""),
        (Answer(text="a"), "b</think>"),
        (Crop(box=Box(x1=math.nan, y1=0, x2=1, y2=1)), ""),
        (Crop(box=Box(x1=0, y1=0, x2=math.inf, y2=1)), ""),
    ],
)
def test_content_that_the_grammar_cannot_carry_is_not_rendered(action: Action, thought: str) -> None:
    with pytest.raises(UsageError):
        render(action, thought)


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("<think>t</think><search>q", "<think>t</think><search>q</search>"),
        ("<think>I could <search>", "<think>I could <search></search>"),
        ("< answer >4", "< answer >4</answer>"),
        ("<answer>4</answer>", "<answer>4</answer>"),
        ("<think>thinking", "<think>thinking"),
        ("<think>of <search></think>", "<think>of <search></think>"),
        ("", ""),
    ],
)
def test_the_closing_tag_that_a_server_left_out_is_put_back(text: str, whole: str) -> None:
    assert complete(text) == whole == complete(whole)
