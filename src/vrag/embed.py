"""Pages of a corpus → vectors of an encoder, in the corpus's own index or on a Qdrant server. A run does only what is
owed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from vrag.corpus import paths
from vrag.corpus.ingest import Progress
from vrag.corpus.store import Corpus, Failure
from vrag.encoders.load import load_encoder
from vrag.errors import CorpusError, DocumentError, UsageError
from vrag.index.embedded import EmbeddedIndex
from vrag.index.vectors import EncoderName, Filter, PageRecord, VectorIndex
from vrag.kernels import KernelChoice
from vrag.protocols import PageEncoder
from vrag.types import Frozen, Page, PageVectors

if TYPE_CHECKING:
    from PIL.Image import Image

    from vrag.index.qdrant_place import QdrantPlace

BATCH = 32  # pages that are encoded and committed together: what a kill can cost
_WASTE = 0.25  # share of dead vectors from which on the index is compacted


class EmbedReport(Frozen):
    """What a run did; `pages` are in the index after it."""

    added: int
    removed: int
    pages: int
    failures: list[Failure]
    seconds: float


@dataclass(frozen=True)
class Encoded:
    """What became of some pages: `records` are still to be stored, `stored` pages are in the index already. `document`
    names one of theirs, to show it.
    """

    document: str
    records: Sequence[PageRecord]
    failures: Sequence[Failure]
    stored: int = 0


Encoding = Callable[[Iterator[list[Page]]], Generator[Encoded]]  # of batches of pages; they may come in any order


class Made(Protocol):
    """What an index keeps of an encoder."""

    @property
    def dim(self) -> int: ...
    @property
    def fingerprint(self) -> str: ...


class Images(Protocol):
    """Page images by id; raises `CorpusError`."""

    def image(self, page_id: str) -> Image: ...


def open_index(corpus: Corpus, kernel: KernelChoice | None = None) -> VectorIndex:
    """The vectors of a corpus, wherever they are, to search them with the chosen kernel (None: `auto`). Raises
    `CorpusError` when it has none, `UsageError` for a kernel where Qdrant compares them, and as `KernelChoice.load` and
    `QdrantPlace.open` do.
    """
    kernel, place = kernel or KernelChoice(), place_of(corpus)
    if place is None:
        return EmbeddedIndex.open(corpus.vectors, kernel=kernel.load())
    if kernel != KernelChoice():
        raise UsageError(
            f"the vectors of corpus {corpus.folder} are compared by Qdrant: choose no kernel and no device"
        )
    return place.open()


def place_of(corpus: Corpus) -> QdrantPlace | None:
    """Where its vectors are, if it has some and they aren't in its folder."""
    file = paths.vectors_elsewhere(corpus.folder)
    if not file.exists():
        return None
    from vrag.index.qdrant_place import read_place

    return read_place(file)


def index_encoder(index: VectorIndex, name: EncoderName | None = None) -> PageEncoder:
    """The encoder that an index was made with, loaded anew, or found at another place: by `name`. Raises `CorpusError`
    when it isn't the same.
    """
    chosen = name or index.encoder
    encoder = load_encoder(chosen.name, **chosen.settings)
    index.check(encoder.fingerprint)
    return encoder


def make_index(corpus: Corpus, encoder: Made, name: EncoderName, place: QdrantPlace | None = None) -> VectorIndex:
    """The corpus's index of this encoder, made when there is none: at `place`, or (None) where its vectors are, which
    is its folder at first. Raises `CorpusError` for another encoder's, for vectors that are at another place, and for a
    collection with pages that the corpus doesn't know of: they may be another corpus's.
    """
    known = place_of(corpus)
    if known is None and place is None:
        if corpus.has_vectors:
            return EmbeddedIndex.open(corpus.vectors, encoder.fingerprint)
        return EmbeddedIndex.create(corpus.vectors, encoder.dim, encoder.fingerprint, name)
    check_place(corpus, place)
    if known is None and place is not None:
        from vrag.index.qdrant_place import write_place

        write_place(paths.vectors_elsewhere(corpus.folder), place)
    chosen = known or place
    assert chosen is not None
    if chosen.exists():
        return chosen.open(encoder.fingerprint)
    return chosen.make(encoder.dim, encoder.fingerprint, name)


def check_place(corpus: Corpus, place: QdrantPlace | None) -> None:
    """Raises `CorpusError` when vectors of `corpus` can't be put at `place`, as `make_index` says."""
    known = place_of(corpus)
    if known is not None and known.shared:
        raise CorpusError(
            f"corpus {corpus.folder} is a copy, and its vectors in collection {known.collection!r} on Qdrant are those"
            f" of the corpus that it was copied from: index there, or delete {paths.vectors_elsewhere(corpus.folder)}"
        )
    if place is None or place == known:
        return
    if known is not None or corpus.has_vectors:
        held = corpus.vectors if known is None else f"collection {known.collection!r} on Qdrant at {known.url}"
        raise CorpusError(f"the vectors of corpus {corpus.folder} are in {held}: leave the other place out")
    if place.holds_pages():
        raise CorpusError(
            f"collection {place.collection!r} on Qdrant at {place.url} holds pages, and corpus {corpus.folder} doesn't"
            " know of it: choose another name"
        )


def embed(
    corpus: Corpus,
    encoder: PageEncoder,
    index: VectorIndex,
    progress: Callable[[Progress], None] = lambda _: None,
    batch: int = BATCH,
) -> EmbedReport:
    """Bring `index` in line with the pages of `corpus`. A page that can't be encoded is named in the report, and tried
    again by the next run. Raises `CorpusError` when the index can't be written.
    """

    def here(batches: Iterator[list[Page]]) -> Generator[Encoded]:
        for pages in batches:
            yield encoded(corpus, encoder, pages)

    return embed_by(here, corpus, index, progress, batch)


def embed_by(
    encoding: Encoding,
    corpus: Corpus,
    index: VectorIndex,
    progress: Callable[[Progress], None] = lambda _: None,
    batch: int = BATCH,
) -> EmbedReport:
    """As `embed`, whoever encodes."""
    began = time.monotonic()
    known, present = index.ids(), corpus.page_ids()
    gone, owed = known - present, present - known
    removed = index.delete(Filter(pages=sorted(gone))) if gone else 0
    added, failures = 0, list[Failure]()
    pages_owed = (page for page in corpus.pages() if page.id in owed) if owed else iter(())
    with closing(encoding(_batches(pages_owed, batch))) as outcomes:
        for done in outcomes:
            index.upsert(done.records)
            added += done.stored + len(done.records)
            failures += done.failures
            progress(Progress("encode", added + len(failures), len(owed), len(failures), done.document))
    _tidy(index)
    seconds = round(time.monotonic() - began, 2)
    return EmbedReport(added=added, removed=removed, pages=index.stats().pages, failures=failures, seconds=seconds)


def _tidy(index: VectorIndex) -> None:
    if not isinstance(index, EmbeddedIndex):
        return
    index.empty_trash()
    stats = index.stats()
    if stats.dead > _WASTE * (stats.vectors + stats.dead):
        index.compact()


def _batches(pages: Iterator[Page], size: int) -> Iterator[list[Page]]:
    while batch := list(islice(pages, size)):
        yield batch


def encoded(store: Images, encoder: PageEncoder, pages: Sequence[Page]) -> Encoded:
    """Records of the pages that can be encoded, and the reasons of those that can't."""
    outcomes: list[tuple[Page, PageVectors | DocumentError | CorpusError]] = []
    images = [(page, _image(store, page)) for page in pages]
    readable = [(page, image) for page, image in images if not isinstance(image, CorpusError)]
    outcomes += [(page, image) for page, image in images if isinstance(image, CorpusError)]
    made = encoder.encode_pages([image for _, image in readable])
    outcomes += zip((page for page, _ in readable), made, strict=True)
    records, failures = list[PageRecord](), list[Failure]()
    for page, outcome in outcomes:
        if isinstance(outcome, PageVectors):
            records.append(PageRecord(page.id, page.document_id, outcome))
        else:
            failures.append(failed(page, type(outcome).__name__, str(outcome)))
    return Encoded(pages[-1].ref.document, records, failures)


def failed(page: Page, kind: str, reason: str) -> Failure:
    """A page that wasn't encoded."""
    return Failure(document=page.ref.document, page=page.ref.page, stage="encode", kind=kind, reason=reason)


def _image(store: Images, page: Page) -> Image | CorpusError:
    try:
        return store.image(page.id)
    except CorpusError as error:
        return error
