"""Where to look while writing: at what a text repeats."""

from vrag.data.glances import Glance, echoes, where

QUESTION = "how many routes of kelo works in 2 0 2 2 ?"
WORDS = f"{QUESTION} <think> zoom in on Routes 2 0 2 2 </think> <bbox>".split(" ")


def find(source: tuple[int, int], said: tuple[int, int]) -> list[Glance]:
    return list(echoes(range(len(WORDS)), source, said, lambda token: f" {WORDS[token]}"))


def test_a_token_is_written_by_the_position_before_it() -> None:
    assert Glance.writing(5, 9, 2) == Glance(4, 8, 2, moves=False)


def test_what_is_repeated_is_looked_up_in_the_longest_runs_whatever_its_case() -> None:
    on, close = WORDS.index("on"), WORDS.index("</think>")
    routes, year = find((0, 12), (on + 1, close))
    assert routes == Glance.writing(on + 1, on + 2, WORDS.index("routes"), moves=True)
    assert year == Glance.writing(on + 2, close, WORDS.index("2"), moves=True), "all four digits in one"


def test_what_says_nothing_or_stands_nowhere_is_not_looked_up() -> None:
    assert find((0, 2), (13, 17)) == []
    assert find((11, 12), (11, 12)) == [], "a mark is no word"
    assert find((0, 0), (13, 17)) == []


def test_a_part_is_found_whole_and_within_the_span() -> None:
    ids = [7, 1, 2, 7, 8, 9]
    assert where(ids, [7, 8], (0, 6)) == 3, "not the 7 before it"
    assert where(ids, [7], (1, 6)) == 3
    assert where(ids, [9, 1], (0, 6)) is None
