"""Tables as people write them, found by white space, and the cell that a question names."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest

from tests.layouts import line
from vrag.policies.reading import Question, read_page
from vrag.policies.tables import Table, find_cell, find_tables
from vrag.types import Box, Word

PAGE = Box(x1=0, y1=0, x2=2000, y2=2000)


def report() -> list[Word]:
    """Headers centred over numbers that stand at the left of their columns; text above and below."""
    return [
        *line(0, (0, "Revenue by region")),
        *line(60, (140, "Region"), (568, "2021"), (797, "2022"), (1035, "2023")),
        *line(95, (0, "Nordics"), (482, "12.1"), (711, "14.0"), (940, "16.8")),
        *line(130, (0, "Iberia"), (481, "7.5"), (710, "9.3"), (940, "11.9")),
        *line(165, (0, "Total"), (482, "19.6"), (710, "23.3"), (940, "28.7")),
        *line(200, (0, "Figures are in million euros and they are rounded to one place of ten.")),
    ]


def sheet() -> list[Word]:
    """Numbers at the right of columns that stand as close as a few words, without a header over the first."""
    return [
        *line(0, (340, "P-200"), (440, "P-250")),
        *line(40, (0, "Max. pressure"), (340, "8 bar"), (432, "10 bar")),
        *line(80, (0, "Power consumption"), (334, "1.1 kW"), (424, "1,500 W")),
    ]


def text(table: Table) -> list[list[str | None]]:
    return [[cell.text if cell else None for cell in row] for row in table.rows]


def answer(words: Sequence[Word], question: str, region: Box = PAGE) -> str | None:
    cell = find_cell(find_tables(words), Question.of(question).terms, region)
    return cell.value.text if cell else None


def test_a_header_belongs_to_the_values_that_it_doesnt_stand_over() -> None:
    assert [text(table) for table in find_tables(report())] == [
        [
            ["Region", "2021", "2022", "2023"],
            ["Nordics", "12.1", "14.0", "16.8"],
            ["Iberia", "7.5", "9.3", "11.9"],
            ["Total", "19.6", "23.3", "28.7"],
        ]
    ]


def test_titles_at_the_left_of_values_at_the_right_arent_the_titles_of_the_column_before() -> None:
    words = [
        *line(0, (446, "2018"), (691, "2019"), (936, "2020")),
        *line(42, (0, "Energy use"), (597, "38 EUR"), (823, "48.3 EUR"), (1065, "7,955 EUR")),
        *line(84, (0, "Headcount"), (578, "90.2 EUR"), (811, "7,932 EUR"), (1089, "9.5 EUR")),
    ]
    assert answer(words, "headcount 2018") == "90.2 EUR"
    assert answer(words, "energy use 2020") == "7,955 EUR"


@pytest.mark.parametrize("seed", range(40))
def test_each_cell_of_a_table_is_found_however_it_is_aligned(seed: int) -> None:
    random = Random(seed)
    rows, columns = random.randint(2, 8), random.randint(2, 6)
    names = ["Sales staff", "Engineers", "Net revenue", "Gross margin", "Costs", "Energy use", "Rent", "Visits"][:rows]
    years = [str(2015 + j) for j in range(columns)]
    values = [
        [f"{random.choice([7, 88, 999, 1234, 56789]) + i * 10 + j:,}" for j in range(columns)] for i in range(rows)
    ]
    titles, cells = random.choice(["left", "middle", "right"]), random.choice(["left", "middle", "right"])
    width, pitch = random.choice([90, 130, 220]), random.choice([26, 40, 60])
    corner = random.choice(["", "Item"])

    def row(y: float, first: str, rest: Sequence[str], align: str) -> list[Word]:
        blocks = [(0.0, first)] if first else []
        for j, text in enumerate(rest):
            room = width - 15 - 10 * len(text)
            blocks.append((150 + width * j + {"left": 0, "middle": room / 2, "right": room}[align], text))
        return line(y, *blocks)

    words = row(0, corner, years, titles)
    for i, (name, held) in enumerate(zip(names, values, strict=True)):
        words += row(pitch * (i + 1), name, held, cells)
    region = Box(x1=-10, y1=-10, x2=3000, y2=3000)
    found = [[answer(words, f"{name} {year}", region) for year in years] for name in names]
    assert found == values


def test_cells_as_close_as_words_are_told_apart_by_the_other_rows() -> None:
    assert [text(table) for table in find_tables(sheet())] == [
        [
            [None, "P-200", "P-250"],
            ["Max. pressure", "8 bar", "10 bar"],
            ["Power consumption", "1.1 kW", "1,500 W"],
        ]
    ]


def test_a_space_that_other_rows_dont_have_is_no_column() -> None:
    """The unit of the first row happens to stand apart from its number; those below are wider."""
    words = [
        *line(0, (0, "City"), (300, "Elevation"), (600, "Rain days")),
        *line(40, (0, "Rome"), (300, "21"), (333, "m"), (600, "78")),
        *line(80, (0, "Madrid"), (300, "667 m"), (600, "62")),
        *line(120, (0, "Oslo"), (300, "23 m"), (600, "113")),
    ]
    assert answer(words, "How many rain days does Oslo have?") == "113"
    assert answer(words, "What is the elevation of Madrid?") == "667 m"


def test_rows_far_below_each_other_are_one_table_and_the_heading_of_the_next_is_none() -> None:
    words = [
        *line(0, (150, "2022"), (250, "2023")),
        *line(76, (0, "Revenue"), (146, "151.2"), (246, "164.8")),
        *line(152, (0, "Employees"), (146, "1,098"), (246, "1,161")),
    ]
    heading = [
        w.model_copy(update={"box": w.box.model_copy(update={"y2": w.box.y2 + 14})})
        for w in line(240, (0, "By region"))
    ]
    more = [
        *line(310, (0, "Region"), (146, "Sensors"), (246, "Valves")),
        *line(386, (0, "Germany"), (146, "31.4"), (246, "22.8")),
        *line(462, (0, "Asia"), (146, "14.5"), (246, "8.8")),
    ]
    assert answer([*words, *heading, *more], "employees in 2022") == "1,098"
    assert answer([*words, *heading, *more], "valves in Asia") == "8.8"


def test_of_two_lines_far_from_each_other_the_first_is_no_title() -> None:
    words = [*line(0, (150, "2022"), (250, "2023")), *line(90, (0, "Acme revenue"), (246, "Page 2 of 6"))]
    assert find_tables(words) == []


def test_a_footer_isnt_the_value_of_a_table() -> None:
    words = [*report()[:-13], *line(200, (0, "Revenue | Iberia"), (1035, "Page 2 of 6"))]
    assert answer(words, "What was the revenue of Iberia in 2023?") == "11.9"


def test_other_words_are_values_where_both_labels_are_needed() -> None:
    words = [
        *line(0, (0, "Part"), (100, "Colour"), (200, "Made in")),
        *line(40, (0, "Lamp"), (100, "red"), (200, "Bern")),
        *line(80, (0, "Cable"), (100, "black"), (200, "Basel")),
    ]
    assert answer(words, "What colour is the cable?") == "black"
    assert answer(words[:5], "What colour is the lamp?") is None


def test_the_order_in_which_a_page_was_written_doesnt_matter() -> None:
    assert [text(table) for table in find_tables(report()[::-1])] == [text(table) for table in find_tables(report())]


def test_a_cell_of_two_lines_is_one() -> None:
    words = [
        *line(0, (0, "Item"), (400, "Price")),
        *line(60, (0, "Cable with two"), (400, "14")),
        *line(82, (0, "plugs of brass")),
        *line(140, (0, "Lamp"), (400, "30")),
    ]
    assert [text(table) for table in find_tables(words)] == [
        [["Item", "Price"], ["Cable with two plugs of brass", "14"], ["Lamp", "30"]]
    ]


def test_a_page_of_many_columns_takes_no_time() -> None:
    columns = range(40)
    words = [
        *line(0, *((40 * j, str(j)) for j in columns[:40:2])),
        *(word for i in range(3) for word in line(30 + 30 * i, *((40 * j, "7") for j in columns))),
    ]
    assert [len(table.rows[0]) for table in find_tables(words)] == [40]


@pytest.mark.parametrize("seed", range(200))
def test_whatever_stands_on_a_page_is_read(seed: int) -> None:
    """Boxes without an extent, over each other, in a raster or anywhere."""
    random = Random(seed)

    def word() -> Word:
        x, y = random.choice([(random.uniform(0, 999), random.uniform(0, 999)), (40 * random.randint(0, 30), 300)])
        box = Box(x1=x, y1=y, x2=x + random.choice([0, 5, 30, 300]), y2=y + random.choice([0, 1, 20, 200]))
        return Word(text=random.choice(["a", "7", "x-1", "...", "年", "42 %"]), box=box)

    tables = find_tables([word() for _ in range(random.choice([0, 1, 2, 5, 30, 200]))])
    assert all(len(row) == len(table.rows[0]) >= 2 for table in tables for row in table.rows)
    find_cell(tables, ["a", "x"], PAGE)


def test_prose_is_no_table() -> None:
    words = [
        *line(0, (0, "The daemon listens on port 873 and writes its log to a file that it keeps.")),
        *line(25, (0, "It reads its settings at start, and again when it is told so by a signal.")),
    ]
    assert find_tables(words) == []


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What was the revenue of Iberia in 2023?", "11.9"),
        ("revenue Nordics 2022", "14.0"),
        ("What was the total revenue in 2021?", "19.6"),
        ("What was the revenue of Iberia?", None),  # of which year?
        ("What was the revenue in 2023?", None),  # of which region?
        ("What was the revenue of Iberia in 2020?", None),
    ],
)
def test_the_cell_is_where_the_row_and_the_column_of_the_question_cross(question: str, expected: str | None) -> None:
    assert answer(report(), question) == expected


def test_of_labels_that_share_a_word_the_one_that_says_no_more_than_the_question_is_meant() -> None:
    assert answer(sheet(), "What is the max pressure of the P-250?") == "10 bar"
    assert answer(sheet(), "power consumption of the P-200") == "1.1 kW"
    words = [
        *line(0, (0, "Sales"), (400, "12")),
        *line(40, (0, "Sales abroad"), (400, "5")),
        *line(80, (0, "Tax"), (400, "7")),
    ]
    assert answer([*line(-40, (0, "Item"), (400, "Sum")), *words], "sales abroad") == "5"


def test_what_names_a_row_may_stand_in_its_second_column() -> None:
    words = [
        *line(0, (0, "No"), (100, "Name"), (300, "City"), (500, "Phone")),
        *line(40, (0, "1"), (100, "Miller"), (300, "Bern"), (500, "555 12 34")),
        *line(80, (0, "2"), (100, "Meier"), (300, "Basel"), (500, "555 98 76")),
    ]
    assert answer(words, "What is the phone of Meier?") == "555 98 76"
    assert answer(words, "In which city is Miller?") == "Bern"


def test_what_two_tables_say_alike_isnt_guessed() -> None:
    again = [
        Word(text=w.text, box=w.box.model_copy(update={"y1": w.box.y1 + 600, "y2": w.box.y2 + 600})) for w in report()
    ]
    assert answer([*report(), *again], "What was the revenue of Iberia in 2023?") is None


def test_only_what_stands_in_the_region_is_read() -> None:
    question = "What was the revenue of Iberia in 2023?"
    assert answer(report(), question, Box(x1=0, y1=0, x2=1100, y2=152)) == "11.9"
    assert answer(report(), question, Box(x1=0, y1=90, x2=1100, y2=152)) is None, "its header isn't seen"


def test_a_value_of_a_table_isnt_answered_by_one_of_its_two_labels() -> None:
    """Under 2023 stand three numbers, and which is meant isn't known."""
    reading = read_page(report(), Question.of("What was the revenue of Benelux in 2023?"), PAGE)
    assert reading is None or reading.answer not in {"16.8", "11.9", "28.7"}


def test_a_reading_shows_the_value_and_both_labels() -> None:
    reading = read_page(report(), Question.of("What was the revenue of Iberia in 2023?"), PAGE)
    assert reading is not None and reading.answer == "11.9" and reading.coverage == 1.0
    assert [label.text for label in reading.beside] == ["Iberia", "2023"]
