"""Where the words stand that a query asks for: in a snippet, and on a page."""

from __future__ import annotations

from collections.abc import Sequence

from vrag.index.lexical import matcher
from vrag.policies.terms import content_words
from vrag.types import Box, Frozen, Page, Word


class FoundWord(Frozen):
    """A word as it stands on a page; `box` in fractions of the page."""

    text: str
    box: Box


def found_words(page: Page, words: Sequence[Word], query: str) -> list[FoundWord]:
    """Those of a page's words that the query asks for, in reading order; not what carries no content in a question."""
    asked = matcher(" ".join(content_words(query)))
    return [
        FoundWord(text=word.text, box=word.box.scaled(1 / page.width, 1 / page.height))
        for word in words
        if asked(word.text)
    ]


def found_in(text: str, query: str) -> list[str]:
    """The same of a text: its words as they stand between spaces, each once."""
    asked = matcher(" ".join(content_words(query)))
    return [word for word in dict.fromkeys(text.split()) if asked(word)]
