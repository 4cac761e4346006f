"""Labels and their values on slides, tables and charts, by layout alone."""

from vrag.policies.fields import Field, find_field
from vrag.policies.reading import Question, read_page
from vrag.types import Box, Word

PAGE = Box(x1=0, y1=0, x2=2000, y2=2000)


def block(text: str, x: float, y: float, line: int) -> list[Word]:
    """Words of 10 px a letter and 20 px a line."""
    found: list[Word] = []
    for part in text.split():
        found.append(Word(text=part, box=Box(x1=x, y1=y, x2=x + 10 * len(part), y2=y + 20), line=line))
        x += 10 * (len(part) + 1)
    return found


def page(*blocks: tuple[str, float, float]) -> list[Word]:
    """Blocks at (x, y); those of one y are on one line."""
    heights = sorted({y for _, _, y in blocks})
    return [word for text, x, y in blocks for word in block(text, x, y, heights.index(y))]


def find(words: list[Word], question: str, region: Box = PAGE) -> Field | None:
    return find_field(words, Question.of(question).terms, question, region)


def value(words: list[Word], question: str, region: Box = PAGE) -> str | None:
    field = find(words, question, region)
    return field.value.text if field else None


TABLE = page(
    ("Hours by quarter", 0, 0),
    ("Q1", 300, 100), ("Q2", 500, 100), ("Q3", 700, 100),
    ("Repairs", 0, 200), ("52", 300, 200), ("45", 500, 200), ("75", 700, 200),
    ("Visits", 0, 300), ("41", 300, 300), ("40", 500, 300), ("73", 700, 300),
)  # fmt: skip


def test_in_a_table_the_cell_is_where_the_row_and_the_column_of_the_question_cross() -> None:
    assert value(TABLE, "How many repairs were there in Q3?") == "75"
    assert value(TABLE, "How many visits were there in Q2?") == "40"


def test_a_cell_comes_with_both_of_its_labels() -> None:
    field = find(TABLE, "How many repairs were there in Q3?")
    assert field is not None and [label.text for label in field.labels] == ["Repairs", "Q3"]


def test_a_value_belongs_to_the_label_beside_below_or_above_it() -> None:
    beside = page(("Tickets", 0, 100), ("48", 900, 100), ("Returns", 0, 300), ("90", 900, 300))
    below = page(("Tickets", 0, 100), ("48", 20, 150), ("Returns", 500, 100), ("90", 520, 150))
    above = page(("48", 20, 100), ("Tickets", 0, 500), ("90", 520, 300), ("Returns", 500, 500))
    for words in (beside, below, above):
        assert value(words, "How many tickets?") == "48"
        assert value(words, "How many returns?") == "90"


def test_of_several_values_in_line_the_nearest_is_the_label_s() -> None:
    words = page(("17", 0, 20), ("Tickets", 0, 300), ("48", 0, 350), ("90", 0, 900))
    assert value(words, "How many tickets?") == "48"


def test_a_year_is_a_label_where_the_question_names_a_year() -> None:
    words = page(("60", 0, 100), ("34", 200, 150), ("2021", 0, 400), ("2022", 200, 400), ("2023", 400, 400))
    assert value(words, "How many tickets were there in 2022?") == "34"


def test_a_title_whose_words_stand_all_over_the_page_is_no_label_of_a_value_under_it() -> None:
    words = page(
        ("Acme Union", 0, 0),
        ("12", 0, 300),
        ("34", 300, 200),
        ("West", 0, 700),
        ("East", 300, 700),
        ("Acme Union will report on all of its tickets again.", 0, 1000),
    )
    assert value(words, "How many tickets has Acme Union in region West?") == "12"
    assert value(words, "How many tickets has Acme Union in region East?") == "34"


def test_the_last_line_of_a_paragraph_is_no_label() -> None:
    words = page(("The office of the company counts what it calls", 0, 100), ("tickets", 0, 125), ("48", 0, 300))
    assert find(words, "How many tickets?") is None


def test_only_what_stands_in_the_region_is_read() -> None:
    left = Box(x1=0, y1=0, x2=400, y2=2000)
    assert value(TABLE, "How many repairs were there in Q1?", left) == "52"
    assert value(TABLE, "How many repairs were there in Q3?", Box(x1=600, y1=0, x2=900, y2=90)) is None


def test_prose_that_says_more_of_the_question_than_the_labels_is_preferred() -> None:
    words = page(("Tickets", 0, 0), ("48", 200, 0), ("The office in Bern sold 17 tickets on the first Monday.", 0, 300))
    whole = read_page(words, Question.of("How many tickets did the office in Bern sell on Monday?"), PAGE)
    assert whole is not None and "17" in whole.answer
    short = read_page(words, Question.of("How many tickets?"), PAGE)
    assert short is not None and short.answer == "48"
