"""What a page takes: figures that were measured once, in the files named, or those of a corpus that is there."""

from __future__ import annotations

import itertools
from contextlib import closing
from pathlib import Path

from vrag.corpus.paths import catalog_file, pages_folder, tantivy_folder
from vrag.corpus.store import Corpus
from vrag.sizes import bytes_below
from vrag.types import Frozen

_SAMPLE = 500  # page images that are looked at


class Figures(Frozen):
    """Bytes a page, None where nothing was measured; `source` says where they are from."""

    text: float  # catalogue and text index
    images: float | None
    vectors: float  # on disk
    resident: float  # of them, in memory
    source: str


class Times(Frozen):
    """Of this project's benchmarks. How long a model takes was measured nowhere."""

    read_slow: float = 32  # pages/s of a core at 200 dpi: text and image of a page (benchmarks/rendering), dense pages
    read_quick: float = 123  # the same, slides
    search_text: float = 0.029  # s, 95 % of searches are quicker, 16,000 pages (benchmarks/text_search)
    search_vectors: float = 0.0154  # s, median, 10,000 pages, two cores (benchmarks/vector_index)


# 107 MB for 16,000 pages; 720 vectors of 128 dimensions a page
MEASURED = Figures(
    text=107e6 / 16_000,
    images=None,
    vectors=100.0e3,
    resident=5.9e3,
    source="benchmarks/text_search, benchmarks/vector_index (720 vectors of 128 dimensions a page)",
)


class Held(Frozen):
    """A corpus: its pages, and how many of them have vectors."""

    name: str
    pages: int
    with_vectors: int
    figures: Figures


def held(name: str) -> Held:
    """A corpus and what its pages take. Raises `CorpusError` when there is none."""
    with Corpus.open(name) as corpus:
        pages = corpus.count()
        with_vectors, vectors = _vectors(corpus)
        text = catalog_file(corpus.folder).stat().st_size + bytes_below(tantivy_folder(corpus.folder))
        figures = Figures(
            text=text / pages if pages else MEASURED.text,
            images=_mean_image(pages_folder(corpus.folder)),
            vectors=vectors / with_vectors if with_vectors else MEASURED.vectors,
            resident=MEASURED.resident * (vectors / with_vectors / MEASURED.vectors if with_vectors else 1),
            source=f"corpus {name}" + ("" if with_vectors else "; vectors: benchmarks/vector_index"),
        )
    return Held(name=name, pages=pages, with_vectors=with_vectors, figures=figures)


def _vectors(corpus: Corpus) -> tuple[int, int]:
    """(pages that have some, bytes of all)."""
    if not corpus.has_vectors:
        return 0, 0
    from vrag.index.embedded import EmbeddedIndex

    with closing(EmbeddedIndex.open(corpus.vectors)) as index:
        stats = index.stats()
    return stats.pages, stats.bytes


def _mean_image(folder: Path) -> float | None:
    sizes = [file.stat().st_size for file in itertools.islice(folder.glob("*/*.jpg"), _SAMPLE)]
    return sum(sizes) / len(sizes) if sizes else None
