"""Pages of a corpus → vectors of an encoder, in the corpus's own index. A run does only what is owed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from vrag.corpus.ingest import Progress
from vrag.corpus.store import Corpus, Failure
from vrag.encoders.load import load_encoder
from vrag.errors import CorpusError, DocumentError
from vrag.index.embedded import EmbeddedIndex
from vrag.index.vectors import EncoderName, Filter, PageRecord, VectorIndex
from vrag.kernels import KernelChoice
from vrag.protocols import PageEncoder
from vrag.types import Frozen, Page, PageVectors

if TYPE_CHECKING:
    from PIL.Image import Image

BATCH = 32  # pages that are encoded and committed together: what a kill can cost
_WASTE = 0.25  # share of dead vectors from which on the index is compacted


class EmbedReport(Frozen):
    """What a run did; `pages` are in the index after it."""

    added: int
    removed: int
    pages: int
    failures: list[Failure]
    seconds: float


def open_index(corpus: Corpus, kernel: KernelChoice | None = None) -> EmbeddedIndex:
    """The vectors of a corpus, to search them with the chosen kernel (None: `auto`). Raises `CorpusError` when it has
    none, and as `KernelChoice.load` does.
    """
    return EmbeddedIndex.open(corpus.vectors, kernel=(kernel or KernelChoice()).load())


def index_encoder(index: VectorIndex, name: EncoderName | None = None) -> PageEncoder:
    """The encoder that an index was made with, loaded anew, or found at another place: by `name`. Raises `CorpusError`
    when it isn't the same.
    """
    chosen = name or index.encoder
    encoder = load_encoder(chosen.name, **chosen.settings)
    index.check(encoder.fingerprint)
    return encoder


def make_index(corpus: Corpus, encoder: PageEncoder, name: EncoderName) -> EmbeddedIndex:
    """The corpus's index of this encoder, made when there is none. Raises `CorpusError` for another encoder's."""
    if not corpus.has_vectors:
        return EmbeddedIndex.create(corpus.vectors, encoder.dim, encoder.fingerprint, name)
    return EmbeddedIndex.open(corpus.vectors, encoder.fingerprint)


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
    began = time.monotonic()
    known, present = index.ids(), corpus.page_ids()
    gone, owed = known - present, present - known
    removed = index.delete(Filter(pages=sorted(gone))) if gone else 0
    added, failures = 0, list[Failure]()
    pages_owed = (page for page in corpus.pages() if page.id in owed) if owed else iter(())
    for pages in _batches(pages_owed, batch):
        records, failed = _encoded(corpus, encoder, pages)
        index.upsert(records)
        added += len(records)
        failures += failed
        progress(Progress("encode", added + len(failures), len(owed), len(failures), str(pages[-1].ref.document)))
    _tidy(index)
    seconds = round(time.monotonic() - began, 2)
    return EmbedReport(added=added, removed=removed, pages=index.stats().pages, failures=failures, seconds=seconds)


def _tidy(index: VectorIndex) -> None:
    stats = index.stats()
    if isinstance(index, EmbeddedIndex) and stats.dead > _WASTE * (stats.vectors + stats.dead):
        index.compact()


def _batches(pages: Iterator[Page], size: int) -> Iterator[list[Page]]:
    while batch := list(islice(pages, size)):
        yield batch


def _encoded(corpus: Corpus, encoder: PageEncoder, pages: Sequence[Page]) -> tuple[list[PageRecord], list[Failure]]:
    """Records of the pages that can be encoded, and the reasons of those that can't."""
    outcomes: list[tuple[Page, PageVectors | DocumentError | CorpusError]] = []
    images = [(page, _image(corpus, page)) for page in pages]
    readable = [(page, image) for page, image in images if not isinstance(image, CorpusError)]
    outcomes += [(page, image) for page, image in images if isinstance(image, CorpusError)]
    made = encoder.encode_pages([image for _, image in readable])
    outcomes += zip((page for page, _ in readable), made, strict=True)
    records, failures = list[PageRecord](), list[Failure]()
    for page, outcome in outcomes:
        if isinstance(outcome, PageVectors):
            records.append(PageRecord(page.id, page.document_id, outcome))
        else:
            reason, kind = str(outcome), type(outcome).__name__
            failures.append(
                Failure(document=page.ref.document, page=page.ref.page, stage="encode", kind=kind, reason=reason)
            )
    return records, failures


def _image(corpus: Corpus, page: Page) -> Image | CorpusError:
    try:
        return corpus.image(page.id)
    except CorpusError as error:
        return error
