"""Corpora of texts without images or PDFs, written the way an indexing run writes them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from vrag.corpus import following
from vrag.corpus.files import Found
from vrag.corpus.fulltext import TextIndex
from vrag.corpus.owed import Outcome, Owed
from vrag.corpus.store import Corpus
from vrag.corpus.text import Placed, pack
from vrag.corpus.writer import Writer
from vrag.index.lexical import index_text


def content_of(text: str) -> str:
    """The id of a made-up document."""
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def page_message(number: int, text: str, placed: Sequence[Placed], size: tuple[int, int]) -> dict[str, object]:
    """A page as a worker tells it; `size` is its width and height."""
    return {
        "page": number,
        "width": size[0],
        "height": size[1],
        "text": text,
        "words": base64.b64encode(pack(placed)).decode(),
        "index": index_text(text),
        "scanned": False,
        "blank": False,
    }


def put_document(writer: Writer, path: str, name: str, content: str, pages: Sequence[dict[str, object]]) -> None:
    """A new document and its pages, as workers tell them; to be committed."""
    writer.register(Found(path, name, 1, 1), content)
    seq = writer.sources()[path].document
    assert seq is not None
    writer.set_count(seq, "pdf", len(pages))
    for page in pages:
        writer.add_page(seq, page)


class Texts:
    """A corpus under test. Each change is committed; with `follow` false, tantivy's index is left behind."""

    def __init__(self, folder: Path, text: TextIndex) -> None:
        self.corpus = Corpus.create(folder)
        self.folder = folder
        following.choose(folder, text)

    def put(self, name: str, pages: Sequence[str], *, follow: bool = True) -> None:
        """A new document of that name, one text a page."""
        with closing(Writer(self.folder)) as writer:
            content = content_of("\0".join([name, *pages]))
            put_document(writer, f"/docs/{name}", name, content, [self._page(*page) for page in enumerate(pages, 1)])
            writer.commit()
        self._follow(follow)

    def recognise(self, name: str, number: int, text: str, *, follow: bool = True) -> None:
        """OCR reads another text on a page."""
        with closing(Owed(self.folder, lambda path: path == f"/docs/{name}", force=True)) as owed:
            page = next(page for page in owed.pages() if page.number == number)
            owed.store([Outcome(page, read=self._page(number, text))])
        self._follow(follow)

    def rename(self, name: str, other: str, *, follow: bool = True) -> None:
        with closing(Writer(self.folder)) as writer:
            source = writer.sources()[f"/docs/{name}"]
            content = next(one.id for one in self.corpus.documents() if one.name == name)
            writer.register(Found(f"/docs/{other}", other, 1, 1), content)
            writer.forget([source])
            writer.rename_documents()
            writer.commit()
        self._follow(follow)

    def remove(self, name: str, *, follow: bool = True) -> None:
        with closing(Writer(self.folder)) as writer:
            writer.forget([writer.sources()[f"/docs/{name}"]])
            writer.drop_orphans()
        self._follow(follow)

    def search(self, query: str, k: int = 10) -> list[tuple[str, int]]:
        """Documents and pages, best first."""
        return [(hit.ref.document, hit.ref.page) for hit in self.corpus.search(query, k)]

    def _follow(self, wanted: bool) -> None:
        if wanted:
            following.follow(self.folder)

    @staticmethod
    def _page(number: int, text: str) -> dict[str, object]:
        return page_message(number, text, [Placed(word, 0, 0, 1, 1, 0) for word in text.split()], (9, 9))
