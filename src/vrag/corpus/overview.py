"""What a corpus holds, in figures."""

from __future__ import annotations

from contextlib import closing

from vrag.corpus import paths
from vrag.corpus.store import Corpus, names
from vrag.errors import VragError
from vrag.sizes import bytes_below
from vrag.types import Frozen


class Overview(Frozen):
    """`documents`: those of which there are pages. `vectors`: pages that have some here; `vectors_at`: the address of
    the server that has them instead. `bytes` on disk. Where the corpus can't be opened, `problem` says why, and nothing
    is counted.
    """

    name: str
    folder: str
    documents: int | None = None
    pages: int | None = None
    vectors: int | None = None
    vectors_at: str | None = None
    bytes: int
    problem: str | None = None


def overviews() -> list[Overview]:
    """Of the corpora of the home, by name; one that is damaged stops no other."""
    return [overview(name) for name in names()]


def overview(name_or_path: str) -> Overview:
    folder = paths.corpus_folder(name_or_path)
    empty = Overview(name=name_or_path, folder=str(folder), bytes=bytes_below(folder))
    try:
        with Corpus.open(name_or_path) as corpus:
            vectors, place = _vectors(corpus)
            documents = sum(document.stored > 0 for document in corpus.documents())
            counts = {"documents": documents, "pages": corpus.count(), "vectors": vectors, "vectors_at": place}
    except VragError as error:
        return empty.model_copy(update={"problem": str(error)})
    return empty.model_copy(update=counts)


def _vectors(corpus: Corpus) -> tuple[int | None, str | None]:
    if paths.vectors_file(corpus.folder).is_file():
        from vrag.index.embedded import EmbeddedIndex

        with closing(EmbeddedIndex.open(corpus.vectors, kernel="numpy")) as index:
            return index.stats().pages, None
    if not corpus.has_vectors:
        return 0, None
    from vrag.index.qdrant_place import read_place

    place = read_place(paths.vectors_elsewhere(corpus.folder))
    return None, place.url if place else None
