"""BM25 in the catalogue: ranking, ties, renaming, and queries that nobody should be able to break."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrag.index import lexical

PAGES = {
    1: ("report.pdf", "The revenue of the harbour grew to 1,234 million"),
    2: ("report.pdf", "The harbour was built in 1890"),
    3: ("manual.pdf", "How to season a cast iron pan; pan, pan and pan"),
    4: ("手册.pdf", "北京的收入增长了百分之十"),
}


def make(pages: dict[int, tuple[str, str]]) -> sqlite3.Connection:
    db = sqlite3.connect(":memory:")
    db.execute(lexical.SCHEMA)
    for rowid, (name, text) in pages.items():
        lexical.add(db, rowid, name, lexical.index_text(text))
    return db


@pytest.fixture(scope="module")
def db() -> Iterator[sqlite3.Connection]:
    connection = make(PAGES)
    yield connection
    connection.close()


def rows(db: sqlite3.Connection, query: str, k: int = 10) -> list[int]:
    return [one.rowid for one in lexical.search(db, query, k)]


def test_the_page_with_more_of_the_words_comes_first(db: sqlite3.Connection):
    assert rows(db, "What was the revenue of the harbour?") == [1, 2]


def test_any_word_is_enough_and_scores_fall(db: sqlite3.Connection):
    found = lexical.search(db, "pan harbour unheard", 10)
    assert found[0].rowid == 3
    assert {one.rowid for one in found} == {1, 2, 3}
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)


def test_a_word_of_no_page_is_told_with_the_nearest_of_one(db: sqlite3.Connection):
    assert lexical.misspelt(db, "the harbor revnue") == {"harbor": "harbour", "revnue": "revenue"}
    assert lexical.misspelt(db, "harbour Revenue") == {}, "these are there"
    assert lexical.misspelt(db, "giraffe pam 12345") == {}, "unlike any, short, a number"


def test_chinese_is_found_by_a_part_of_a_sentence_and_by_one_character(db: sqlite3.Connection):
    assert rows(db, "收入增长") == [4]
    assert rows(db, "京") == [4]


def test_the_name_of_the_document_counts(db: sqlite3.Connection):
    assert rows(db, "manual") == [3]
    assert rows(db, "手册") == [4]


def test_equal_pages_come_in_the_order_of_the_corpus():
    db = make(dict.fromkeys((9, 3, 7, 1), ("a.pdf", "same words")))
    assert rows(db, "words") == [1, 3, 7, 9]
    assert rows(db, "words", 2) == [1, 3]
    db.close()


def test_renaming_and_removing_take_effect():
    db = make(PAGES)
    lexical.rename(db, 1, 2, "annual.pdf")
    assert set(rows(db, "annual")) == {1, 2}
    lexical.remove(db, 1, 1)
    assert rows(db, "annual") == [2]
    lexical.replace_body(db, 2, lexical.index_text("a lighthouse"))
    assert rows(db, "lighthouse") == [2]
    db.close()


@pytest.mark.parametrize("query", ["", "   ", "?!", '"', "*", "\x00", "NEAR", "🙂"])
def test_a_query_without_words_of_the_corpus_finds_nothing(db: sqlite3.Connection, query: str):
    assert rows(db, query) == []


@pytest.mark.parametrize("query", ['pan"', "pan OR", "name: pan", "NEAR(pan)", "pan*", "-pan", "{pan}: x", "(pan"])
def test_operators_are_words_like_others(db: sqlite3.Connection, query: str):
    assert 3 in rows(db, query)


def test_a_query_of_100_kilobytes_is_answered(db: sqlite3.Connection):
    assert rows(db, "harbour " + "x1 y2 z3 " * 12_000) == [2, 1]
    assert lexical.terms(" ".join(f"w{i}" for i in range(50_000))) == [f"w{i}" for i in range(64)]


def test_words_of_more_than_half_of_the_pages_change_neither_what_is_found_nor_its_order():
    texts = {row: ("a.pdf", f"the {'rare ' * (row % 3 == 1)} w{row} {'the ' * (row % 7)}") for row in range(1, 41)}
    db = make(texts)
    found = rows(db, "the rare w7", 40)
    assert len(found) == 40, "pages that hold nothing but the common word are found, behind the others"
    assert rows(db, "the rare w7", 10) == found[:10] == rows(db, "rare w7", 10)
    assert len(rows(db, "the", 40)) == 40
    db.close()


def test_no_pages_are_asked_for_and_none_come(db: sqlite3.Connection):
    assert rows(db, "pan", 0) == []


@given(st.text())
def test_any_text_is_a_safe_query(text: str):
    db = make({1: PAGES[1]})
    lexical.search(db, text, 3)
    db.close()


def test_a_snippet_shows_the_words_that_were_looked_for():
    text = "filler " * 100 + "the revenue of the harbour grew " + "filler " * 100
    shown = lexical.snippet(text, "harbour revenue")
    assert "revenue of the harbour" in shown
    assert shown.startswith("…") and shown.endswith("…")
    assert len(shown) <= 162
    assert lexical.snippet("short text", "nothing") == "short text"
    assert lexical.snippet("", "x") == ""


@pytest.mark.parametrize(
    ("query", "text", "held"),
    [
        ("Angles polar", "(angles,", {"angles"}),
        ("angles", "angle", set()),
        ("Überblick", "UBERBLICK:", {"uberblick"}),
        ("1234", "1,234", {"1234"}),
        ("京", "東京都", {"京"}),
        ("東京", "京東", set()),
        ("", "anything", set()),
    ],
)
def test_a_matcher_finds_in_a_word_what_the_index_finds_on_its_page(query: str, text: str, held: set[str]):
    assert lexical.matcher(query)(text) == held
