"""Whatever a model writes, the parser answers: it never raises, stays linear, and reads back what it
renders."""

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vrag.actions import ACTIONS, parse, render
from vrag.types import Action, Answer, Box, Crop, Search

fragments = st.sampled_from(
    [
        *(f"<{slash}{name}>" for name in ("think", "search", "bbox", "answer") for slash in ("", "/")),
        "< search >",
        "< /answer >",
        "<SEARCH>",
        "<tool_call>",
        "<|im_end|>",
        "<|image_pad|>",
        "[1, 2, 30, 40]",
        "[1,2,3,4,5]",
        "[NaN, 1, 2, 3]",
        "[1e400, 0, 1, 1]",
        "[40, 30, 2, 1]",
        "[-1, -1, -1, -1]",
        "sales 2020",
        " ",
        "\n",
        "<",
        ">",
        "\x00",
        "\ud800",
        "答",
    ]
)
generations = st.lists(fragments | st.text(max_size=8), max_size=10).map("".join)

# the shapes that checkpoints of this kind were seen to write, valid or not: text, kind of action or reason
RECORDED = [
    ("<think>I need the chart.</think>\n<search>revenue chart 2019</search>", "search"),
    ("<think>\nI should zoom in.\n</think>\n\n<bbox>[112, 340, 560, 512]</bbox>", "bbox"),
    ("<think>Done.</think><answer> 42 % </answer><|im_end|>", "answer"),
    ("I need the chart. <search>revenue chart 2019</search>", "search"),
    ("The answer is 42.", "no action"),
    ("<think>a</think><search>b</search><answer>c</answer>", "exactly one action"),
    ("<search><search>b</search></search>", "exactly one action"),
    ("<think>a <search>b", "isn't closed"),
    ("<think>a</think><search>b", "isn't closed"),
    ("<think>a</think><bbox>[NaN, 1, 2, 3]</bbox>", "four numbers"),
    ("<think>a</think><bbox>[1, 2, 3, 4, 5]</bbox>", "four numbers"),
    ("<think>a</think><bbox>[[1, 2, 3, 4]]</bbox>", "four numbers"),
    ('<think>a</think><bbox>{"bbox_2d": [1, 2, 3, 4]}</bbox>', "four numbers"),
    ("<think>a</think><region>[1, 2, 3, 4]</region>", "no action"),
    ("<think>" + "so " * 5000, "no action"),
]


def test_no_generation_makes_the_parser_raise(full: bool) -> None:
    @settings(max_examples=50_000 if full else 5_000, suppress_health_check=list(HealthCheck))
    @given(generations)
    def check(text: str) -> None:
        parsed = parse(text)
        assert (parsed.action is None) != (parsed.error is None)
        if parsed.action is not None:
            assert parse(render(parsed.action)).action == parsed.action

    check()


@pytest.mark.parametrize(("text", "expected"), RECORDED)
def test_recorded_outputs_get_their_action_or_their_reason(text: str, expected: str) -> None:
    parsed = parse(text)
    if expected in ACTIONS:
        assert parsed.action is not None and parsed.action.name == expected
    else:
        assert parsed.error is not None and expected in parsed.error


numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)
plain = st.text(st.characters(exclude_characters="<>"), min_size=1, max_size=60).map(str.strip).filter(bool)


def test_what_is_rendered_is_read_back(full: bool) -> None:
    boxes = st.builds(Box, x1=numbers, y1=numbers, x2=numbers, y2=numbers)
    actions = st.one_of(plain.map(lambda q: Search(query=q)), plain.map(lambda a: Answer(text=a)))

    @settings(max_examples=20_000 if full else 1_000, suppress_health_check=list(HealthCheck))
    @given(actions | boxes.map(lambda box: Crop(box=box)), plain)
    def check(action: Action, thought: str) -> None:
        parsed = parse(render(action, thought))
        assert (parsed.action, parsed.thought) == (action, thought)

    check()


LONG = 100_000


@pytest.mark.parametrize(
    "unit",
    [
        "<think>",
        "</think>",
        "<search>",
        "</search>",
        "<bbox>",
        "<",
        "< ",
        "<" + " " * 5,
        "</ ",
        "<think></think>",
        "<search>a</search>",
        "<bbox>[1,",
        "1",
        " ",
        "a<b>c ",
    ],
)
def test_a_hundred_kilobytes_are_read_within_20_ms(unit: str) -> None:
    texts = [unit * (LONG // len(unit)), f"<bbox>{unit * (LONG // len(unit))}</bbox>"]
    for text in texts:
        assert min(_seconds(text) for _ in range(5)) <= 0.02


def _seconds(text: str) -> float:
    started = time.perf_counter()
    parse(text)
    return time.perf_counter() - started
