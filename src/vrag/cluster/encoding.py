"""Encoding on the machines of a Ray: each process loads the encoder once, and encodes batches of stored page images."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image
from pydantic import TypeAdapter

from vrag.cluster.rounds import ROUND, Reply, Stage, Work, deadly, spread
from vrag.cluster.session import Session
from vrag.corpus.store import Corpus, Failure, page_image
from vrag.embed import Encoded, Encoding, check_place, encoded, failed, make_index, open_index, place_of
from vrag.encoders.load import load_encoder
from vrag.errors import CorpusError, InvariantError
from vrag.index.qdrant_place import QdrantPlace
from vrag.index.vectors import EncoderName, PageRecord, VectorIndex
from vrag.types import Page, PageVectors, PatchGrid

_PAGES = TypeAdapter(list[Page])
_FAILURES = TypeAdapter(list[Failure])


@dataclass(frozen=True)
class Identity:
    """What an index keeps of an encoder that is loaded elsewhere."""

    dim: int
    fingerprint: str


class RayEncoder:
    """The encoder of that name on the machines of a Ray, for the pages of `corpus`. What it makes of them is stored by
    the machines where the corpus's vectors are on a Qdrant server, and by the caller where they are in its folder.
    """

    def __init__(self, session: Session, corpus: Corpus, name: EncoderName) -> None:
        """Raises as `Session.encoder`."""
        self._corpus, self._name = corpus, name
        self._processes, self._cpus, self._gpus = session.encoder()

    def make_index(self, place: QdrantPlace | None = None) -> VectorIndex:
        """As `vrag.embed.make_index`; of an index that is there, `encoding` checks the encoder. For one that is to be
        made, a machine loads it to say what it is.
        """
        check_place(self._corpus, place)
        known = place_of(self._corpus)
        if self._corpus.has_vectors and (known is None or known.exists()):
            return open_index(self._corpus)
        [reply] = [reply for _, reply in spread(self._work(partial(Teller, self._name), 1), deque([""]), str)]
        if reply is None:
            raise CorpusError(f"loading encoder {self._name.name} {deadly()}")
        return make_index(self._corpus, Identity(**json.loads(reply.said)), self._name, place)

    def encoding(self, index: VectorIndex) -> Encoding:
        """For `embed_by`. Its machines raise `CorpusError` when another encoder made `index`."""
        place, folder = place_of(self._corpus), self._corpus.folder.absolute()
        make = partial(Encoder, folder, self._name, index.fingerprint, place)
        return partial(_encode, self._work(make, self._processes))

    def _work(self, make: Callable[[], Stage], processes: int) -> Work:
        return Work(make, processes, self._corpus.folder.absolute(), cpus=self._cpus, gpus=self._gpus)


def _encode(work: Work, batches: Iterator[list[Page]]) -> Generator[Encoded]:
    """Pages whose batch ends the process that encodes it are tried again one by one."""
    asks = map(_ask, batches)
    while jobs := deque(islice(asks, ROUND)):
        with closing(spread(work, jobs, str)) as replies:
            for ask, reply in replies:
                if reply is not None:
                    yield _taken(reply)
                    continue
                pages = _PAGES.validate_json(ask)
                if len(pages) > 1:
                    jobs.extend(_ask([page]) for page in pages)
                else:
                    failure = failed(pages[0], "UnreadableDocument", f"encoding the page {deadly()}")
                    yield Encoded(failure.document, [], [failure])


class Teller:
    """A stage: who an encoder is."""

    def __init__(self, name: EncoderName) -> None:
        self._encoder = load_encoder(name.name, **name.settings)

    def __call__(self, ask: str) -> tuple[str, bytes]:
        return json.dumps({"dim": self._encoder.dim, "fingerprint": self._encoder.fingerprint}), b""


class Encoder:
    """A stage: pages of the corpus in `folder` to vectors, which go to `place` if there is one, and else back."""

    def __init__(self, folder: Path, name: EncoderName, fingerprint: str, place: QdrantPlace | None) -> None:
        """Raises what loading the encoder and opening the index raise, and `CorpusError` for an encoder of another
        fingerprint.
        """
        self._images = _Images(folder)
        self._encoder = load_encoder(name.name, **name.settings)
        found = self._encoder.fingerprint
        if found != fingerprint:
            raise CorpusError(
                f"encoder {name.name} is another one here ({found}) than that of the vectors ({fingerprint}):"
                " use that one, the same on all machines"
            )
        self._index = None if place is None else place.open(fingerprint)

    def __call__(self, ask: str) -> tuple[str, bytes]:
        done = encoded(self._images, self._encoder, _PAGES.validate_json(ask))
        records: Sequence[PageRecord] = done.records
        if self._index is not None:
            self._index.upsert(records)
            stored, records = len(records), []
        else:
            stored = 0
        said = {
            "document": done.document,
            "stored": stored,
            "failures": [one.model_dump() for one in done.failures],
            "records": [_described(record) for record in records],
        }
        vectors = (np.ascontiguousarray(record.vectors.vectors, dtype="<f4") for record in records)
        return json.dumps(said), b"".join(map(np.ndarray.tobytes, vectors))


@dataclass(frozen=True)
class _Images:
    """The page images of a corpus whose catalogue is another machine's to open."""

    folder: Path

    def image(self, page_id: str) -> Image:
        return page_image(self.folder, page_id)


def _ask(pages: Sequence[Page]) -> str:
    """Pages without their text, which no encoder reads."""
    return _PAGES.dump_json([page.model_copy(update={"text": ""}) for page in pages]).decode()


def _described(record: PageRecord) -> dict[str, Any]:
    grid = record.vectors.grid
    return {
        "id": record.id,
        "document": record.document,
        "shape": record.vectors.vectors.shape,
        "grid": None if grid is None else [grid.first, grid.rows, grid.columns],
    }


def _taken(reply: Reply) -> Encoded:
    """The inverse of what `Encoder` says."""
    said, at, records = json.loads(reply.said), 0, list[PageRecord]()
    for one in said["records"]:
        rows, dim = one["shape"]
        vectors = np.frombuffer(reply.data, "<f4", rows * dim, at).reshape(rows, dim)
        at += vectors.nbytes
        grid = PatchGrid(*one["grid"]) if one["grid"] else None
        records.append(PageRecord(one["id"], one["document"], PageVectors(vectors, grid)))
    if at != len(reply.data):
        raise InvariantError(f"{len(reply.data)} bytes of vectors for shapes of {at}")
    return Encoded(said["document"], records, _FAILURES.validate_python(said["failures"]), said["stored"])
