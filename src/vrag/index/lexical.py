"""BM25 over page text: an FTS5 table inside the corpus catalogue, in the same transactions as the pages.

The text is tokenised by `vrag.index.tokens`; SQLite only splits at the spaces between tokens (its `ascii`
tokeniser keeps every non-ASCII character), so indexing doesn't depend on SQLite's version of Unicode. Rows
are found by the page's row id, which is ordered by document and page: equal scores come in that order.
"""

from __future__ import annotations

import difflib
import re
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from vrag.index.tokens import page_tokens, query_tokens

SCHEMA = "CREATE VIRTUAL TABLE page_words USING fts5(name, body, tokenize = 'ascii')"
VERSION = 1  # of the tokens: other tokens need another index
QUERY_TOKENS = 64  # of one query: bounds the time of any search
_QUERY_CHARACTERS = 100_000  # of a query that are read
_MISSPELT = 5  # letters: of a shorter word too many others are alike
_ALIKE = 0.8  # ratio of difflib
_NAME_WEIGHT, _BODY_WEIGHT = 0.5, 1.0

Rows = tuple[int, int]  # the first and the last


@dataclass(frozen=True)
class Scored:
    """One page's row and its BM25 score; larger is better."""

    rowid: int
    score: float


def index_text(text: str) -> str:
    """What is stored in the index for a text."""
    return " ".join(page_tokens(text))


def add(db: sqlite3.Connection, rowid: int, name: str, body: str) -> None:
    """Index one page; `body` comes from `index_text`."""
    db.execute("INSERT INTO page_words(rowid, name, body) VALUES (?, ?, ?)", (rowid, index_text(name), body))


def replace_body(db: sqlite3.Connection, rowid: int, body: str) -> None:
    db.execute("UPDATE page_words SET body = ? WHERE rowid = ?", (body, rowid))


def rename(db: sqlite3.Connection, first: int, last: int, name: str) -> None:
    """Give the rows of one document (`first`..`last`) another name."""
    db.execute("UPDATE page_words SET name = ? WHERE rowid BETWEEN ? AND ?", (index_text(name), first, last))


def remove(db: sqlite3.Connection, first: int, last: int) -> None:
    db.execute("DELETE FROM page_words WHERE rowid BETWEEN ? AND ?", (first, last))


def search(db: sqlite3.Connection, query: str, k: int, rows: Rows | None = None) -> list[Scored]:
    """The `k` best pages that hold any word of `query`; no words, no pages. Safe for any text. `rows`: only pages of
    these; what a word weighs is still that of the whole corpus.

    Words of more than half of the pages are left out at first: BM25 as FTS5 has it weighs them a millionth, and most of
    the time is spent on them. Where the others don't find `k` pages, all words are searched.
    """
    wanted = terms(query)
    if not wanted or k <= 0:
        return []
    telling = _telling(db, wanted)
    found = _best(db, telling, k, rows)
    return found if len(found) == k or telling == wanted else _best(db, wanted, k, rows)


def terms(query: str) -> list[str]:
    """The first different tokens of a query, as `query_tokens` has them: what any text index is asked for."""
    return list(islice(dict.fromkeys(query_tokens(query[:_QUERY_CHARACTERS])), QUERY_TOKENS))


def misspelt(db: sqlite3.Connection, query: str) -> dict[str, str]:
    """The words of a query that no page holds, and of the most similar ones with the same first letter that on most
    pages.
    """
    _vocabulary(db)
    found: dict[str, str] = {}
    for token in terms(query):
        if not token.isalpha() or len(token) < _MISSPELT or _pages_with(db, token):
            continue
        span = (token[0], token[0] + chr(0x10FFFF), len(token) - 2, len(token) + 2)
        rows = db.execute(
            "SELECT term, doc FROM temp.page_terms WHERE term BETWEEN ? AND ? AND length(term) BETWEEN ? AND ?", span
        )
        pages = {term: count for term, count in rows if term.isalpha()}
        near = difflib.get_close_matches(token, pages, cutoff=_ALIKE)
        if near:
            found[token] = max(near, key=lambda term: pages[term])
    return found


def match_expression(tokens: Sequence[str]) -> str:
    """An FTS5 expression: each token quoted, joined by OR."""
    return " OR ".join(f'"{token[:-1]}"*' if token.endswith("*") else f'"{token}"' for token in tokens)


def _telling(db: sqlite3.Connection, tokens: Sequence[str]) -> list[str]:
    """Those of at most half of the pages, and beginnings, of which that isn't known."""
    _vocabulary(db)
    half = db.execute("SELECT count(*) FROM page_words_docsize").fetchone()[0] / 2
    return [token for token in tokens if _pages_with(db, token) <= half]


def _vocabulary(db: sqlite3.Connection) -> None:
    db.execute("CREATE VIRTUAL TABLE IF NOT EXISTS temp.page_terms USING fts5vocab(main, page_words, row)")


def _pages_with(db: sqlite3.Connection, token: str) -> int:
    row = db.execute("SELECT doc FROM temp.page_terms WHERE term = ?", (token,)).fetchone()
    return row[0] if row else 0


def _best(db: sqlite3.Connection, tokens: Sequence[str], k: int, rows: Rows | None) -> list[Scored]:
    if not tokens:
        return []
    within = "" if rows is None else " AND rowid BETWEEN ? AND ?"
    found = db.execute(
        f"SELECT rowid, -bm25(page_words, ?, ?) AS score FROM page_words WHERE page_words MATCH ?{within}"
        " ORDER BY score DESC, rowid LIMIT ?",
        (_NAME_WEIGHT, _BODY_WEIGHT, match_expression(tokens), *(rows or ()), k),
    )
    return [Scored(rowid, score) for rowid, score in found]


def snippet(text: str, query: str, width: int = 160) -> str:
    """The stretch of `text` of about `width` characters that holds most of the query's different words."""
    asked = matcher(query)
    words = [match.span() for match in re.finditer(r"\S+", text)]
    if not words:
        return ""
    held_by = {word: asked(word) for word in {text[start:end] for start, end in words}}
    found = [held_by[text[start:end]] for start, end in words]
    best, best_count = 0, -1
    for index, (start, _) in enumerate(words):
        if not found[index] and best_count >= 0:
            continue
        held: set[str] = set()
        for (_, end), tokens in zip(words[index:], found[index:], strict=True):
            if end - start > width:
                break
            held |= tokens
        if len(held) > best_count:
            best, best_count = index, len(held)
    start = words[max(0, best - 2)][0]
    cut = " ".join(text[start : start + width].split())
    return ("…" if start > words[0][0] else "") + cut + ("…" if start + width < words[-1][1] else "")


def matcher(query: str) -> Callable[[str], set[str]]:
    """Says of a stretch of text which of the query's tokens it holds, as the index matches them."""
    tokens = terms(query)
    whole = {token for token in tokens if not token.endswith("*")}
    starts = {token[:-1] for token in tokens if token.endswith("*")}

    def held(text: str) -> set[str]:
        # letters of ASCII are a token as they stand: most words needn't be tokenised
        if text.isascii() and text.isalpha() and text.lower() not in whole:
            return set()
        found = page_tokens(text)
        return whole.intersection(found) | {start for start in starts if any(one.startswith(start) for one in found)}

    return held
