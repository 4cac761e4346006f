"""Where to look while writing: at what a text repeats."""

from vrag.data.glances import Glance, corner, echoes, spelled, where

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


def test_the_first_corner_of_a_box_ends_before_its_second_comma() -> None:
    pieces = ["<bbox>", "[", "1", ",", " ", "2", "0", ",", " 3", ",", " 4", "]", "</bbox>"]
    ids = list(range(len(pieces)))
    assert corner(ids, 0, len(ids), pieces.__getitem__) == 7
    assert corner(ids, 0, 6, pieces.__getitem__) == 6, "one that was cut off is all corner"


def test_the_tokens_that_spell_a_value_know_where_along_it_they_stand() -> None:
    pieces = ["it is", " ", "4", "7", "</think>", "<answer>", "47", "</answer>"]
    ids = list(range(len(pieces)))
    found = list(spelled(ids, (0, 8), "47", pieces.__getitem__))
    assert found == [(2, 0.25), (3, 0.75), (6, 0.5)]
    assert list(spelled(ids, (3, 8), "47", pieces.__getitem__)) == [(6, 0.5)], "whole, and within the span"
    assert list(spelled(ids, (0, 8), "", pieces.__getitem__)) == []


def test_a_token_that_is_more_than_the_value_stands_where_its_part_of_it_does() -> None:
    pieces = ["x12", "34y"]
    assert list(spelled([0, 1], (0, 2), "1234", pieces.__getitem__)) == [(0, 0.25), (1, 0.75)]
