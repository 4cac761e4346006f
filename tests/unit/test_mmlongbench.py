"""MMLongBench-Doc's own scores, worked out by hand from its published rules, quirks included."""

from __future__ import annotations

import pytest

from vrag.episode import EpisodeRecord, Reward
from vrag.evaluation.metrics import summarize
from vrag.evaluation.table import summary_table
from vrag.rewards.mmlongbench import form_of, score
from vrag.types import StopReason, Task


@pytest.mark.parametrize(
    ("form", "gold", "answer", "expected"),
    [
        ("Int", "8", "8", 1),
        ("Int", "8", "8.9", 1),  # what is behind the point is dropped
        ("Int", "8", "7.99", 0),
        ("Int", "8", "There are 8 charts", 1),  # what the extraction step gives
        ("Int", "1500", "1,500", 1),
        ("Int", "21%", "21%", 0),  # no answer is right where the gold one isn't of its format
        ("Int", "8", "inf", 0),
        ("Float", "18.29%", "18.29", 1),
        ("Float", "18.29%", "0.1829", 1),  # a hundred times too little is right
        ("Float", "18.29%", "1829", 1),
        ("Float", "18.29%", "18.4", 1),  # within 1 %
        ("Float", "18.29%", "18.6", 0),
        ("Float", "0", "0.004", 1),  # equal at two places
        ("Float", "$49.99", "about $49.99", 1),
        ("Float", "2.5", "two and a half", 0),
        ("Str", "Less well-off", "less well off", 12 / 13),
        ("Str", "abcd", "abxx", 0),  # a similarity of 0.5 is nothing
        ("Str", "abcde", "abcxx", 0.6),
        ("Str", "Berlin (Germany)", "Berlin", 1),  # parentheses go
        ("Str", "0-375 miles", "0-375", 0),  # "miles" stays, though the published code means to drop it
        ("Str", "2015-2016", "2015-2017", 0),  # numbers, dates, addresses and pages have to be equal
        ("Str", "Page 12", "Page 13", 0),
        ("Str", "10:30 a.m.", "10:31 a.m.", 0),
        ("Str", "https://w.example/6gb", "https://w.example/6gc", 0),
        ("Str", "ann@example.org", "anna@example.org", 0),
        ("None", "Not answerable", "not answerable.", 1),
        ("None", "Not answerable", "Paris", 0),
        ("Str", "Paris", "Not answerable", 0),
        ("List", "['White', 'Black']", "['Black', 'White']", 1),
        ("List", "['White', 'Black']", "white and black", 1),
        ("List", "['White', 'Black']", "- White\n- Black", 1),
        ("List", "['White', 'Black']", "White", 0),  # as many items, or nothing
        ("List", "['White', 'Black']", "['Whyte', 'Black']", 0.8),  # the worst pair counts
        ("List", "['White', '10%']", "White; 10.1%", 0),  # sorted, "10" comes first: all have to be equal
        ("List", "[3, 5]", "3, 5", 1),
        ("List", "[]", "[]", 0),
        ("Str", "x", None, 0),
        ("Str", "x", "  ", 0),
        ("Str", "x", "x" * 10_001, 0),
    ],
)
def test_an_answer_scores_by_the_format_of_the_gold_one(form: str, gold: str, answer: str | None, expected: float):
    assert score(answer, gold, form) == pytest.approx(expected)


def test_what_no_parser_can_read_is_a_wrong_answer_and_no_error():
    assert score("[" * 5000, "['a', 'b']", "List") == 0
    assert score("[__import__('os')]", "['a']", "List") == 0
    assert score("[{{1}}]", "['a', 'b']", "List") == 0


def test_a_gold_answer_that_is_no_list_is_a_list_of_one():
    assert score("Red", "Red", "List") == 1 and score("Red, Blue", "Red", "List") == 0


def test_a_column_of_the_same_name_makes_nobodys_questions_those_of_the_benchmark():
    task = Task(id="a", question="?", answers=["x"], source="mine", meta={"answer_format": "Str", "answer": "x"})
    assert form_of(task) is None and form_of(task.model_copy(update={"source": "mmlongbench"})) == "Str"


def record(id: str, gold: str, form: str, answer: str | None, pages: list[int], sources: list[str]) -> EpisodeRecord:
    meta = {"answer": gold, "answer_format": form, "evidence_pages": pages, "evidence_sources": sources}
    task = Task(id=id, question="?", answers=[gold], source="mmlongbench", meta=meta)
    return EpisodeRecord(
        task=task, turns=[], stop=StopReason.ANSWER, answer=answer, reward=Reward(total=0, parts={"answer": 0})
    )


def test_accuracy_and_f1_are_those_of_the_benchmark():
    records = [
        record("a", "8", "Int", "8", [2], ["Chart"]),
        record("b", "abcde", "Str", "abcxx", [1, 3], ["Chart", "Table"]),
        record("c", "Paris", "Str", "Not answerable", [4], ["Table"]),
        record("d", "Not answerable", "None", "Rome", [], []),
        record("e", "Not answerable", "None", "Not answerable", [], []),
    ]
    own = summarize(records).mmlongbench
    assert own is not None and own.episodes == 5
    assert own.accuracy == pytest.approx((1 + 0.6 + 0 + 0 + 1) / 5)
    recall, precision = 1.6 / 3, 1.6 / 3  # three can be answered; three weren't declined
    assert own.f1 == pytest.approx(2 * recall * precision / (recall + precision))
    assert own.by_pages == pytest.approx({"single": 0.5, "cross": 0.6, "unanswerable": 0.5})
    assert own.by_source == pytest.approx({"Chart": 0.8, "Table": 0.3})


def test_precision_counts_what_was_answered_though_nothing_could_be():
    declined = record("a", "Not answerable", "None", "Not answerable", [], [])
    right, wrong = record("b", "8", "Int", "8", [1], []), record("c", "Not answerable", "None", "9", [], [])
    own = summarize([declined, right, wrong]).mmlongbench
    assert own is not None and own.f1 == pytest.approx(2 / 3)  # recall 1, precision 1/2


def test_failed_episodes_and_other_datasets_enter_no_figure():
    other = record("a", "8", "Int", "8", [1], [])
    other = other.model_copy(update={"task": other.task.model_copy(update={"meta": {}})})
    failed = record("b", "8", "Int", None, [1], []).model_copy(update={"reward": None, "stop": StopReason.ERROR})
    assert summarize([other, failed]).mmlongbench is None
    table = summary_table(summarize([record("c", "8", "Int", "8", [1], ["Chart"])]), "run")
    cells = [str(cell) for cell in table.columns[0].cells]
    assert "MMLongBench-Doc's own accuracy" in cells and "  Chart" in cells
