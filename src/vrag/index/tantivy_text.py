"""BM25 over page text by tantivy, the extra `vrag[tantivy]`: many times as quick as FTS5 where pages are many.

It holds what FTS5 holds, the tokens of `vrag.index.tokens`, so a query finds the same pages. Ranks may differ a little:
a word of a document's name counts as one of the page (in FTS5 as half of one), and lengths of pages are rounded.

One document a page, found by the page's row, and one, of row 0, that says up to where the index follows its catalogue.
Both are committed at once, so what a kill leaves behind is an earlier state and never half of one.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from math import isclose
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vrag.errors import CorpusError, UsageError
from vrag.index.lexical import Rows, Scored, terms
from vrag.index.tokens import beginnings

if TYPE_CHECKING:
    from tantivy import Index, IndexWriter, Query, Schema, Searcher

VERSION = 1  # of the fields below: others need another index
_STATE_ROW = 0
_HEAP = 64 << 20  # bytes that a writer collects in memory before it writes a segment
_SPARE = 16  # hits beyond `k` that are looked at first: equal ones come in the order of the corpus
_CLOSE = 1e-5  # scores, fp32 sums of up to 64 terms in any order, that are equal


@dataclass(frozen=True)
class State:
    """Which catalogue an index follows, up to which of its changes, and how both make tokens and fields."""

    catalogue: str
    change: int
    tokens: int
    fields: int = VERSION


def require() -> None:
    """Raises `UsageError` when tantivy isn't installed."""
    try:
        import tantivy  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ImportError as error:
        raise UsageError(
            "the text of this corpus is searched by tantivy, which isn't installed: pip install 'vrag[tantivy]', or"
            " go back to FTS5 with `vrag index … --text fts5`"
        ) from error


class TantivyText:
    """One committed state of the index in `folder`, for any number of threads; open another to see a later one."""

    def __init__(self, folder: Path, index: Index) -> None:
        """Prefer `open` and `create`."""
        self.folder, self._index, self._schema = folder, index, _schema()
        with _named(folder):
            self._searcher: Searcher = index.searcher()
            self.state = _state(self._searcher, self._schema)

    @classmethod
    def open(cls, folder: Path) -> TantivyText:
        """Raises `CorpusError` when there is none or it is damaged, and `UsageError` without tantivy."""
        require()
        from tantivy import Index

        with _named(folder):
            index = Index.open(str(folder))
            index.config_reader("manual")  # the other policy has a thread watch the folder
        return cls(folder, index)

    @classmethod
    def create(cls, folder: Path) -> TantivyText:
        """Make an empty index, in place of whatever is there."""
        require()
        from tantivy import Index

        try:
            if folder.exists():
                shutil.rmtree(folder)
            folder.mkdir(parents=True)
        except OSError as error:
            raise CorpusError(f"text index {folder}: {error.strerror or error}") from error
        with _named(folder):
            index = Index(_schema(), str(folder))
        return cls(folder, index)

    @property
    def pages(self) -> int:
        """Pages it holds."""
        return self._searcher.num_docs - (self.state is not None)

    @contextmanager
    def writing(self) -> Generator[Changes]:
        """Change the index; nothing changes unless `commit` is called. Open it again to see what did."""
        with _named(self.folder):
            writer = self._index.writer(_HEAP, 1)
            writer.garbage_collect_files()  # of a commit that was killed: the same one again would write those names
            changes = Changes(writer, self._schema)
            try:
                yield changes
            finally:
                changes.finish()

    def search(self, query: str, k: int, rows: Rows | None = None) -> list[Scored]:
        """As `lexical.search`."""
        tokens = terms(query)
        if not tokens or k <= 0:
            return []
        with _named(self.folder):
            telling = [token for token in tokens if self._frequency(token) <= self.pages / 2]
            found = self._best(telling, k, rows)
            return found if len(found) == k or telling == tokens else self._best(tokens, k, rows)

    def _frequency(self, token: str) -> int:
        """How many pages hold a token."""
        return self._searcher.doc_freq(*_term(token))

    def _best(self, tokens: Sequence[str], k: int, rows: Rows | None) -> list[Scored]:
        """Equal pages in the order of the corpus, which isn't that of tantivy: so all that equal the last are seen."""
        query, limit = self._query(tokens, rows), min(k, self.pages) + _SPARE
        while True:
            hits = self._searcher.search(query, limit, count=False).hits
            if len(hits) < limit or not isclose(hits[-1][0], hits[k - 1][0], rel_tol=_CLOSE):
                break
            limit *= 4
        places = self._searcher.fast_field_values("row", [place for _, place in hits])
        found = [Scored(int(row or 0), score) for row, (score, _) in zip(places, hits, strict=True)]
        return _ordered(found)[:k]

    def _query(self, tokens: Sequence[str], rows: Rows | None) -> Query:
        from tantivy import FieldType, Occur, Query

        parts = [Query.term_query(self._schema, *_term(token), "freq") for token in tokens]
        words = Query.boolean_query([(Occur.Should, part) for part in parts])
        if rows is None:
            return words
        inside = Query.range_query(self._schema, "row", FieldType.Integer, *rows)
        return Query.boolean_query([(Occur.Must, words), (Occur.Must, Query.boost_query(inside, 0.0))])


class Changes:
    """What is to change in an index, all at once; see `TantivyText.writing`."""

    def __init__(self, writer: IndexWriter, schema: Schema) -> None:
        self._writer, self._schema = writer, schema

    def put(self, row: int, name: str, body: str) -> None:
        """Add a page, or replace it; its tokens come from `lexical.index_text`."""
        from tantivy import Document

        self.remove(row)
        words = f"{name} {body}"
        page = Document()
        page.add_integer("row", row)
        page.add_text("words", words)
        page.add_text("beginnings", " ".join(beginnings(words)))
        self._writer.add_document(page)

    def remove(self, row: int) -> None:
        """Remove a page, if it is there."""
        self._writer.delete_documents_by_term("row", row)

    def commit(self, state: State) -> None:
        """Make the changes visible and durable, and the index one of `state`."""
        from tantivy import Document

        self.remove(_STATE_ROW)
        said = Document()
        said.add_integer("row", _STATE_ROW)
        said.add_text("state", json.dumps(asdict(state)))
        self._writer.add_document(said)
        self._writer.commit()

    def finish(self) -> None:
        """Let merges end and the lock go; what isn't committed is dropped."""
        self._writer.wait_merging_threads()


def _schema() -> Schema:
    from tantivy import SchemaBuilder

    builder = SchemaBuilder()
    builder.add_integer_field("row", indexed=True, fast=True)  # of unsigned ones tantivy-py deletes nothing
    builder.add_text_field("words", tokenizer_name="whitespace", index_option="freq")
    builder.add_text_field("beginnings", tokenizer_name="whitespace", index_option="freq")
    builder.add_text_field("state", stored=True, tokenizer_name="raw", index_option="basic")
    return builder.build()


def _term(token: str) -> tuple[str, str]:
    """The field and the value that a query token asks for."""
    return ("beginnings", token[:-1]) if token.endswith("*") else ("words", token)


def _state(searcher: Searcher, schema: Schema) -> State | None:
    """What the index says of itself; None when it was never committed, or by a version that says something else."""
    from tantivy import Query

    hits = searcher.search(Query.term_query(schema, "row", _STATE_ROW), 1, count=False).hits
    if not hits:
        return None
    said: dict[str, Any] = json.loads(searcher.doc(hits[0][1]).get_first("state") or "{}")
    return State(**said) if said.keys() == State.__dataclass_fields__.keys() else None


def _ordered(found: list[Scored]) -> list[Scored]:
    """By score, best first; of equal ones, which have one score then, by row."""
    equal: list[Scored] = []
    for one in found:
        same = equal and isclose(one.score, equal[-1].score, rel_tol=_CLOSE)
        equal.append(Scored(one.rowid, equal[-1].score if same else one.score))
    return sorted(equal, key=lambda one: (-one.score, one.rowid))


@contextmanager
def _named(folder: Path) -> Generator[None]:
    """What tantivy says of a missing or damaged index, as `CorpusError`. It panics, too: that is no `Exception`."""
    try:
        yield
    except (CorpusError, UsageError):
        raise
    except BaseException as error:
        if not isinstance(error, (ValueError, OSError)) and type(error).__name__ != "PanicException":
            raise
        reason = (
            f"{str(error)[:300]}: free some space if the disk is full, or delete that folder; then `vrag index` again"
        )
        raise CorpusError(f"text index {folder}: {reason}") from error
