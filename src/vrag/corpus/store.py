"""A corpus as everyone else sees it: pages by id, their pixels and words, and what couldn't be read.

Readable from any number of threads and processes, also while `vrag.corpus.ingest` writes to it.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

from vrag import database
from vrag.corpus import catalog, paths
from vrag.corpus.fulltext import TextIndex, TextSearch, chosen
from vrag.corpus.text import unpack
from vrag.errors import CorpusError
from vrag.index import lexical, tantivy_text
from vrag.suggest import did_you_mean
from vrag.types import Frozen, Hit, Page, PageRef, Word

if TYPE_CHECKING:
    from PIL.Image import Image

DPI = 150  # of rendered pages, unless the corpus was made with another
_PAGE = (
    "SELECT pages.rowid, pages.id, documents.id, documents.name, width, height, text, text_source"
    " FROM pages JOIN documents ON documents.seq = pages.rowid >> 20"
)

_REF = (
    "SELECT pages.rowid, pages.id, documents.name FROM pages JOIN documents ON documents.seq = pages.rowid >> 20"
    " WHERE pages.rowid = ?"
)


class Document(Frozen):
    """One content. `names` are all the files that hold it; `pages` is None until it has been opened."""

    id: str
    name: str
    names: list[str]
    kind: str | None
    pages: int | None
    stored: int  # pages that can be read


class Failure(Frozen):
    """Something that couldn't be read: a file (`page` None) or one page of it."""

    document: str
    page: int | None
    stage: str  # read, ocr, encode
    kind: str  # the name of an error class
    reason: str


class Corpus:
    """An open corpus; implements `vrag.protocols.PageStore`. Use as a context manager or `close` it."""

    def __init__(self, folder: Path) -> None:
        """Prefer `Corpus.open` and `Corpus.create`, which check the folder."""
        self.folder = folder
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._closed = False
        self._text = TextSearch(folder)
        with self._reader() as db:
            self.dpi = int(database.setting(db, "dpi"))
            if int(database.setting(db, "tokens")) != lexical.VERSION:
                raise CorpusError(f"corpus {folder} has the search index of another version: index it anew")

    @classmethod
    def open(cls, name_or_path: str | Path) -> Corpus:
        """Open an existing corpus by name (in the home) or path."""
        folder = paths.corpus_folder(name_or_path)
        if not paths.is_corpus(folder):
            raise CorpusError(
                f"no corpus {str(name_or_path)!r} ({alternatives(str(name_or_path))}): make it with"
                f" `vrag index PATH --corpus {name_or_path}`"
            )
        return cls(folder)

    @classmethod
    def create(cls, name_or_path: str | Path, *, dpi: int = DPI) -> Corpus:
        """Make an empty corpus. Raises `CorpusError` when there is one, or the folder has others' files in the
        places of a corpus's own.
        """
        folder = paths.corpus_folder(name_or_path)
        try:
            if paths.catalog_file(folder).exists():
                raise CorpusError(f"corpus {folder} exists already")
            _check_new(folder)
            paths.unfinished_pages(folder).mkdir(parents=True, exist_ok=True)
            catalog.create(folder, dpi)
        except OSError as error:
            if isinstance(error, FileExistsError) and paths.is_corpus(folder):
                raise CorpusError(f"corpus {folder} exists already") from error  # another process has just made it
            raise database.write_error(error)(f"corpus {folder} can't be made: {error.strerror or error}") from error
        return cls(folder)

    def __enter__(self) -> Corpus:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            while self._idle:
                self._idle.pop().close()

    @property
    def vectors(self) -> Path:
        """The folder of its page vectors, or of the file that says where they are."""
        return paths.vectors_file(self.folder).parent

    @property
    def has_vectors(self) -> bool:
        return paths.vectors_marker(self.folder) is not None

    @contextmanager
    def _reader(self) -> Generator[sqlite3.Connection]:
        """A connection of one's own for a moment; as many exist as there were readers at once."""
        with self._lock:
            if self._closed:
                raise CorpusError(f"corpus {self.folder} is closed")
            db = self._idle.pop() if self._idle else None
        db = db or catalog.connect(self.folder)
        try:
            with catalog.translated(self.folder):
                yield db
        finally:
            with self._lock:
                if self._closed or isinstance(db, database.Fixed):
                    db.close()
                else:
                    self._idle.append(db)

    def _all(self, sql: str, *values: Any) -> list[Any]:
        with self._reader() as db:
            return db.execute(sql, values).fetchall()

    # ------------------------------------------------------------------------------------------ pages

    def page(self, page_id: str) -> Page:
        rows = self._all(f"{_PAGE} WHERE pages.id = ?", page_id)
        if not rows:
            raise CorpusError(f"no page {page_id!r} in corpus {self.folder}")
        return _page(rows[0])

    def image(self, page_id: str) -> Image:
        """The stored page image, RGB."""
        return page_image(self.folder, page_id)

    def words(self, page_id: str) -> Sequence[Word]:
        """Words in reading order, boxes in raw pixels; none for a page without text."""
        rows = self._all("SELECT words FROM pages WHERE id = ?", page_id)
        if not rows:
            raise CorpusError(f"no page {page_id!r} in corpus {self.folder}")
        return unpack(rows[0][0]) if rows[0][0] else []

    def pages(self, document: str | None = None, *, text_source: str | None = None) -> Iterator[Page]:
        """Pages by document and number; only of the document with that name or id, or that source of text."""
        where, values = ["1"], list[Any]()
        if document is not None:
            where.append("pages.rowid >> 20 = ?")
            values.append(self._sequence(document))
        if text_source is not None:
            where.append("text_source = ?")
            values.append(text_source)
        last = -1
        while True:  # in portions: no read transaction stays open while the caller works
            sql = f"{_PAGE} WHERE {' AND '.join(where)} AND pages.rowid > ? ORDER BY pages.rowid LIMIT 256"
            rows = self._all(sql, *values, last)
            if not rows:
                return
            for row in rows:
                yield _page(row)
            last = rows[-1][0]

    def refs(self, page_ids: Sequence[str]) -> dict[str, PageRef]:
        """What these pages are called, by id; without those that the corpus doesn't hold."""
        sql = (
            "SELECT pages.id, documents.name, pages.rowid FROM pages"
            " JOIN documents ON documents.seq = pages.rowid >> 20"
            " WHERE pages.id IN (SELECT value FROM json_each(?))"
        )
        rows = self._all(sql, json.dumps(list(page_ids)))
        return {id: PageRef(document=name, page=catalog.split_row(row)[1]) for id, name, row in rows}

    def resolve(self, ref: PageRef) -> str:
        """The id of the page that people and datasets call `ref`, by any of the document's names."""
        row = catalog.page_row(self._sequence(ref.document), ref.page)
        found = self._all("SELECT id FROM pages WHERE rowid = ?", row)
        if not found:
            raise CorpusError(f"no page {ref.page} of {ref.document!r} in corpus {self.folder}")
        return found[0][0]

    def _sequence(self, document: str) -> int:
        # a file's name may be composed otherwise than what people type: macOS takes é for e and an accent
        for name in dict.fromkeys((document, *(normalize(form, document) for form in ("NFC", "NFD")))):
            found = self._all(
                "SELECT document FROM sources WHERE name = ?1 AND document IS NOT NULL"
                " UNION ALL SELECT seq FROM documents WHERE id = ?1",
                name,
            )
            if found:
                return found[0][0]
        raise CorpusError(f"no document {document!r} in corpus {self.folder}")

    # -------------------------------------------------------------------------------------- documents

    def document_id(self, name: str) -> str:
        """The id of the document with that name or id. Raises `CorpusError` when there is none."""
        return self._all("SELECT id FROM documents WHERE seq = ?", self._sequence(name))[0][0]

    def documents(self) -> list[Document]:
        """All documents in the order they came in, also those of which nothing could be read."""
        held: dict[int, list[str]] = {}
        for name, document in self._all("SELECT name, document FROM sources WHERE document IS NOT NULL ORDER BY path"):
            held.setdefault(document, []).append(name)
        stored = dict(self._all("SELECT rowid >> 20, count(*) FROM pages GROUP BY 1"))
        rows = self._all("SELECT seq, id, name, kind, pages FROM documents ORDER BY seq")
        return [
            Document(id=id, name=name, names=held[seq], kind=kind, pages=pages, stored=stored.get(seq, 0))
            for seq, id, name, kind, pages in rows
            if seq in held
        ]

    def files(self) -> dict[str, list[Path]]:
        """The files that hold each document, by its id, as they were indexed."""
        held: dict[str, list[Path]] = {}
        sql = "SELECT id, path FROM documents JOIN sources ON sources.document = seq ORDER BY path"
        for id, path in self._all(sql):
            held.setdefault(id, []).append(Path(os.fsdecode(path)))
        return held

    def holders(self, document: str) -> dict[str, Path]:
        """The files that hold the document with that id, by name; none when there is no such document."""
        sql = "SELECT name, path FROM sources WHERE document = (SELECT seq FROM documents WHERE id = ?) ORDER BY path"
        return {name: Path(os.fsdecode(path)) for name, path in self._all(sql, document)}

    def page_count(self, document: str) -> int | None:
        """Pages of the document with that name or id, also those that couldn't be read; None until it was opened.
        Raises `CorpusError` when there is none.
        """
        return self._all("SELECT pages FROM documents WHERE seq = ?", self._sequence(document))[0][0]

    def failures(self) -> list[Failure]:
        """What couldn't be read, by file and page; a content that two files hold is named twice."""
        rows = self._all(
            "SELECT sources.name, page, stage, kind, reason FROM failures JOIN sources"
            " ON sources.path = failures.path OR sources.document = failures.document"
            " ORDER BY sources.name, page"
        )
        return [Failure(document=d, page=p, stage=s, kind=k, reason=r) for d, p, s, k, r in rows]

    def page_ids(self) -> set[str]:
        """Of all stored pages, without reading their text."""
        return {id for (id,) in self._all("SELECT id FROM pages")}

    def count(self) -> int:
        """Stored pages."""
        return self._all("SELECT count(*) FROM pages")[0][0]

    # ----------------------------------------------------------------------------------------- search

    @property
    def text_index(self) -> TextIndex:
        """What searches its text."""
        with self._reader() as db:
            return chosen(db)

    def check_search(self) -> None:
        """Raises `UsageError` when its text is searched by tantivy, and that isn't installed."""
        if self.text_index == "tantivy":
            tantivy_text.require()

    def search(self, query: str, k: int, document: str | None = None) -> list[Hit]:
        """The `k` best pages by BM25 over their text; see `vrag.corpus.fulltext`. Raises as `check_search`. `document`:
        only pages of the one with that name or id; raises `CorpusError` when there is none.
        """
        rows = None if document is None else catalog.row_span(self._sequence(document))
        with self._reader() as db:
            db.execute("BEGIN")  # one state of the corpus for both questions
            try:
                scored = self._text.search(db, query, k, rows)
                hits = [(one.score, db.execute(_REF, (one.rowid,)).fetchone()) for one in scored]
            finally:
                db.execute("COMMIT")  # of the connection's temporary tables: nothing else was written
        return [
            Hit(page_id=row[1], ref=PageRef(document=row[2], page=catalog.split_row(row[0])[1]), score=score)
            for score, row in hits
            if row is not None
        ]

    def misspelt(self, query: str) -> dict[str, str]:
        """The words of a query that stand on no page, and what may be meant, in lower case."""
        with self._reader() as db:
            return lexical.misspelt(db, query)


def _check_new(folder: Path) -> None:
    """Raises `CorpusError` when a new corpus would take files of somebody else's for its own, which leave with it."""
    for own in paths.own_folders(folder):
        holds = any(not file.is_dir() for file in own.rglob("*")) if own.is_dir() else own.exists()
        if holds and not paths.is_corpus(folder):  # else another process has just made it
            raise CorpusError(f"{own} holds other things already: name an empty or a new folder for the corpus")


def page_image(folder: Path, page_id: str) -> Image:
    """The stored image of a page of the corpus in `folder`, RGB, without a look into the catalogue."""
    from PIL import Image

    if not paths.is_page_id(page_id):
        raise CorpusError(f"{page_id!r} is no page id")
    file = paths.page_file(folder, page_id)
    try:
        with Image.open(file, formats=["JPEG"]) as image:
            image.load()
            return image if image.mode == "RGB" else image.convert("RGB")
    except FileNotFoundError:
        raise CorpusError(f"no page {page_id!r} in corpus {folder}") from None
    except OSError as error:
        raise CorpusError(f"page image {file} is damaged ({error}): delete the corpus and index again") from error


def names() -> list[str]:
    """The named corpora of the home."""
    found = (folder.name for folder in paths.corpora_folder().glob("*") if paths.is_corpus(folder))
    return sorted(filter(paths.is_corpus_name, found))  # without what a killed snapshot leaves


def alternatives(name: str) -> str:
    """What a name that no corpus has may stand for: a folder of that name here, or one of the corpora there are."""
    if paths.is_corpus(Path(name)):
        return f"did you mean ./{name}?"
    known = names()
    near = did_you_mean(name, known)
    return f"{near}{' ' if near else ''}corpora: {', '.join(known) or 'none yet'}"


def _page(row: Any) -> Page:
    rowid, id, document_id, name, width, height, text, source = row
    ref = PageRef(document=name, page=catalog.split_row(rowid)[1])
    return Page(id=id, document_id=document_id, ref=ref, width=width, height=height, text=text, text_source=source)
