"""The corpus that a verb which only reads is about."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from vrag.corpus.store import Corpus, names
from vrag.errors import CorpusError, UsageError
from vrag.policies.terms import content_words

Asked = Annotated[
    str | None,
    typer.Option("--corpus", "-c", help="Name of the corpus, or a path.", show_default="the only one that there is"),
]


def open_to_read(corpus: str | None) -> Corpus:
    """Open it; raises as `asked_name`, and `CorpusError` for a corpus without pages, as a run of `vrag index` leaves it
    that could read nothing.
    """
    name = asked_name(corpus)
    store = Corpus.open(name)
    if store.count():
        return store
    store.close()
    raise CorpusError(f"corpus {name!r} has no pages: `vrag index PATH --corpus {name}` adds some")


def hint_spelling(store: Corpus, words: str) -> None:
    """Which words no page has, and what may be meant, to stderr."""
    found = store.misspelt(" ".join(content_words(words)))
    hints = [f"{word} (did you mean {near}?)" for word, near in found.items()]
    if hints:
        Console(stderr=True).print(f"on no page: {', '.join(hints)}", markup=False, highlight=False, soft_wrap=True)


def asked_name(corpus: str | None) -> str:
    """That name, or that of the only corpus of the home. Raises `UsageError` where there isn't just one."""
    if corpus:
        return corpus
    known = names()
    if not known:
        raise UsageError("there is no corpus yet: make one with `vrag index PATH --corpus NAME`")
    if len(known) > 1:
        raise UsageError(f"which corpus? Name one as --corpus: {', '.join(known)}")
    return known[0]
