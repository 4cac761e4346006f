"""Who asks when gets the whole date."""

from __future__ import annotations

import pytest

from vrag.policies.dates import asks_when, whole_date
from vrag.policies.passages import passages
from vrag.policies.reading import Question, read
from vrag.types import Box, Word


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("The terminal opens in March 2026.", "March 2026"),
        ("It opened on 12 March 2026, and closed soon.", "12 March 2026"),
        ("Opened: March 12th, 2026 (provisional)", "March 12th, 2026"),
        ("Ab 3. März 2026 geöffnet", "3. März 2026"),
        ("abierto desde el 12 de marzo de 2026", "12 de marzo de 2026"),
        ("Due in Q3 2025", "Q3 2025"),
        ("from Sept. 2024 on", "Sept. 2024"),
        ("12 ships came in 2026", None),
        ("you may 12 times", None),
        ("between March 2024 and May 2026", None),
        ("in May", None),
    ],
)
def test_a_date_is_taken_whole_or_not_at_all(text: str, date: str | None) -> None:
    assert whole_date(text) == date


@pytest.mark.parametrize(
    ("question", "asked"),
    [("When does it open?", True), ("What date is it?", True), ("Wann öffnet es?", True), ("How many in 2026?", False)],
)
def test_questions_about_a_date_are_told(question: str, asked: bool) -> None:
    assert asks_when(question) is asked


def line(text: str) -> list[Word]:
    words = text.split()
    return [Word(text=word, box=Box(x1=60 * i, y1=10, x2=60 * i + 50, y2=30)) for i, word in enumerate(words)]


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("When does the new terminal in Gdansk open?", "March 2026"),
        (
            "Which month of March 2026 does the new terminal in Gdansk open?",
            "The new terminal in Gdansk opens in March 2026.",
        ),
    ],
)
def test_the_answer_is_the_date_and_not_the_year_alone(question: str, answer: str) -> None:
    found = read(
        passages(line("The new terminal in Gdansk opens in March 2026.")),
        Question.of(question),
        Box(x1=0, y1=0, x2=900, y2=99),
    )
    assert found is not None and found.answer == answer
