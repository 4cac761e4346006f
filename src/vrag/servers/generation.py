"""A corpus as it is on disk now, opened: what one request searches from beginning to end."""

from __future__ import annotations

from collections.abc import Generator, Hashable
from contextlib import contextmanager
from pathlib import Path

from vrag.corpus.paths import catalog_file, vectors_marker
from vrag.corpus.store import Corpus
from vrag.errors import UsageError
from vrag.protocols import Retriever
from vrag.retriever import VisualRetriever, Way

Inode = tuple[int, int]
Identity = tuple[Inode, Inode | None]  # of the catalogue, and of the vectors


def identity(folder: Path, by: Way) -> Identity | None:
    """Which files a corpus is made of; None where there is none. While someone holds them open, no other file can have
    the same identity.
    """
    catalog = _inode(catalog_file(folder))
    marker = None if by == "text" else vectors_marker(folder)
    vectors = None if marker is None else _inode(marker)
    return None if catalog is None else (catalog, vectors)


def _inode(file: Path) -> Inode | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


class Generation:
    """A corpus and what searches it, open until it is retired and its last user is gone. Only for the event loop."""

    def __init__(self, version: str, identity: Identity, corpus: Corpus, ways: dict[Way, Retriever], by: Way) -> None:
        self.version, self.identity, self.corpus = version, identity, corpus
        self.ways = ways
        self._by: Way = by
        self._users, self._retired, self.closed = 0, False, False

    def retriever(self, by: Way | None) -> Retriever:
        """Raises `UsageError` for a way to search that isn't open here."""
        way: Way = by or self._by
        if way not in self.ways:
            raise UsageError(f"no search by {way!r} here: this server has {', '.join(sorted(self.ways))}")
        return self.ways[way]

    def lane(self, retriever: Retriever) -> Hashable:
        """What its searches wait for, together with others that do: an encoder, or nothing but the corpus."""
        visual = self.ways.get("visual")
        if not isinstance(visual, VisualRetriever) or retriever is self.ways.get("text"):
            return self
        return visual.encoder

    @contextmanager
    def used(self) -> Generator[Generation]:
        """Keeps it open meanwhile."""
        self._users += 1
        try:
            yield self
        finally:
            self._users -= 1
            self._close_if_done()

    def retire(self) -> None:
        self._retired = True
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._retired and not self._users and not self.closed:
            self.closed = True
            visual = self.ways.get("visual")
            if isinstance(visual, VisualRetriever):
                visual.close()
            self.corpus.close()
