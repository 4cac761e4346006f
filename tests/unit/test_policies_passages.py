"""Words of a page, cut into what can answer: sentences of running text, lines of a list."""

from __future__ import annotations

import pytest

from tests.layouts import line
from vrag.policies.passages import passages
from vrag.policies.reading import Question, read
from vrag.types import Box, Word

PAGE = Box(x1=0, y1=0, x2=2000, y2=2000)
SIGN = [
    "Open Monday to Friday 8 am to 6 pm",
    "Saturday 9 am to 4 pm",
    "Closed on Sundays and on",
    "public holidays",
    "Phone 030 5550 1234",
    "Password: bluebird42",
]


def close(lines: list[str]) -> list[Word]:
    """Lines of 20 px, 8 px apart."""
    return [word for number, text in enumerate(lines) for word in line(28 * number, (0, text))]


def test_the_dot_of_a_day_ends_no_sentence() -> None:
    lease = ["Das Mietverhältnis beginnt am 1. April 2023 und endet am 31. März 2030.", "Die Miete beträgt 900 Euro."]
    assert [item.text for item in passages(close([" ".join(lease)]))] == lease
    counted = ["Er zählte nur bis 31.", "Marzipan gab es nicht."]
    assert [item.text for item in passages(close([" ".join(counted)]))] == counted
    reading = read(passages(close([" ".join(lease)])), Question.of("Wann endet das Mietverhältnis?"), PAGE)
    assert reading is not None and "31. März 2030" in reading.answer


def test_lines_of_a_sign_are_no_running_text() -> None:
    found = [item.text for item in passages(close(SIGN))]
    assert found == [*SIGN[:2], "Closed on Sundays and on public holidays", *SIGN[4:]]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What is the password?", "Password: bluebird42"),
        ("When is it open on Saturday?", "Saturday 9 am to 4 pm"),
        ("When is it closed?", "Closed on Sundays and on public holidays"),
    ],
)
def test_the_line_that_answers_is_the_answer(question: str, expected: str) -> None:
    reading = read(passages(close(SIGN)), Question.of(question), PAGE)
    assert reading is not None and reading.answer == expected


@pytest.mark.parametrize(
    "lines",
    [
        ["The password of the guest network is", "bluebird42, and it changes each Monday;", "ask at the", "desk"],
        ["The guest network is called Aurora", "Guests, and its password changes each", "Monday at noon"],
        ["One line that is rather long", "Two"],
    ],
    ids=["goes on in lower case", "no room for the next word", "two lines"],
)
def test_running_text_goes_on_over_its_lines(lines: list[str]) -> None:
    assert [item.text for item in passages(close(lines))] == [" ".join(lines)]


def test_lines_with_labels_are_each_their_own() -> None:
    contact = ["Telephone: 0131 555 0184", "E-mail: desk@lakeside.example", "Address: 12 Mill Lane,", "Brackley"]
    assert [item.text for item in passages(close(contact))] == [*contact[:2], "Address: 12 Mill Lane, Brackley"]
