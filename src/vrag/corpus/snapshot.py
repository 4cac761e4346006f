"""A copy of a corpus with its vectors, made while others search it and index into it."""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path

from vrag import database
from vrag.corpus import catalog, paths
from vrag.corpus.store import Corpus
from vrag.errors import CorpusError
from vrag.index.embedded import EmbeddedIndex
from vrag.killpoints import killpoint
from vrag.staging import link_or_copy, whole_folder
from vrag.types import Frozen

_RETRIES = 5


class SnapshotReport(Frozen):
    """`pages` of the copy, how many of them have vectors in its folder, and the ids of those whose image the corpus
    itself lacks.
    """

    pages: int
    vectors: int
    without_image: list[str]


def snapshot(corpus: Corpus, target: Path) -> SnapshotReport:
    """Make a folder that opens as a corpus, whole or not at all. Page images and vectors get a second name where the
    file system allows it, and are copied elsewhere; vectors on a Qdrant server are searched there by both. Raises
    `UsageError` when `target` is there and isn't an empty folder, `CorpusError` when it can't be written, or documents
    leave the corpus faster than it is copied.
    """
    for _ in range(_RETRIES):
        with suppress(_PageLeft), whole_folder(target) as folder:
            vectors = _vectors(corpus, folder)  # first: each page that has some is in the catalogue by then
            pages, without = _pages(corpus, folder)
            killpoint("snapshot.before-done")
            return SnapshotReport(pages=pages, vectors=vectors, without_image=without)
    raise CorpusError(f"documents leave corpus {corpus.folder} while it is copied: wait for `vrag index` to end")


class _PageLeft(Exception):
    """A page's image was deleted with the page since the catalogue was copied."""


def _vectors(corpus: Corpus, folder: Path) -> int:
    if not corpus.has_vectors:
        return 0
    copy = paths.vectors_file(folder).parent
    if not paths.vectors_file(corpus.folder).is_file():
        _share(paths.vectors_elsewhere(corpus.folder), paths.vectors_elsewhere(folder))
        return 0
    with closing(EmbeddedIndex.open(corpus.vectors)) as index:
        index.snapshot(copy)
    with closing(EmbeddedIndex.open(copy)) as index:
        return index.stats().pages


def _share(held: Path, copy: Path) -> None:
    """Let the copy search the vectors of the corpus that are on a server."""
    from vrag.index.qdrant_place import read_place, write_place

    place = read_place(held)
    if place is not None:
        write_place(copy, place.model_copy(update={"shared": True}))


def _pages(corpus: Corpus, folder: Path) -> tuple[int, list[str]]:
    """The catalogue and the images of its pages; how many pages, and which of them have no image."""
    paths.unfinished_pages(folder).mkdir(parents=True)
    without = list[str]()
    with (
        closing(catalog.connect(corpus.folder)) as db,
        database.copied(db, paths.catalog_file(folder)) as copy,
    ):
        ids = [id for (id,) in copy.execute("SELECT id FROM pages ORDER BY rowid")]
        for id in ids:
            if not _image(corpus, folder, id):
                without.append(id)
        copy.execute("DELETE FROM trash")
    return len(ids), without


def _image(corpus: Corpus, folder: Path, page_id: str) -> bool:
    """Whether the page has one. Raises `_PageLeft`."""
    target = paths.page_file(folder, page_id)
    target.parent.mkdir(exist_ok=True)
    try:
        link_or_copy(paths.page_file(corpus.folder, page_id), target)
    except FileNotFoundError:
        if not corpus.refs([page_id]):
            raise _PageLeft from None
        return False
    killpoint("snapshot.image-shared")
    return True
