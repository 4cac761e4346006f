"""What the one driver of `vrag index --ray` does itself, in time of its core a page: it takes what readers and encoders
send, and commits it. So many pages a second are the most that any number of machines can add.

    PYTHONPATH=. python benchmarks/cluster/driver.py [--pages N]

Pages are of a made-up report; their vectors are noise of the size that ColQwen2 makes.
"""

from __future__ import annotations

import argparse
import resource
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL.Image import Image

from tests.papers import write_report
from vrag.cluster.encoding import RayEncoder
from vrag.cluster.reading import RayReaders
from vrag.cluster.session import RaySettings, session
from vrag.corpus.ingest import ingest
from vrag.corpus.options import IngestOptions
from vrag.corpus.store import Corpus
from vrag.embed import embed_by
from vrag.errors import DocumentError
from vrag.index.vectors import EncoderName
from vrag.types import PageVectors

VECTORS, DIM = 735, 128


class Noise:
    """Takes no time, so that the driver is what is measured."""

    dim, fingerprint = DIM, "noise"

    def __init__(self) -> None:
        rows = np.random.default_rng(0).standard_normal((VECTORS, DIM)).astype(np.float32)
        self._rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def encode_pages(self, images: Sequence[Image]) -> list[PageVectors | DocumentError]:
        return [PageVectors(self._rows) for _ in images]

    def encode_queries(self, queries: Sequence[str]) -> list[np.ndarray]:
        return [self._rows[:20] for _ in queries]


def core_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=960)
    pages = parser.parse_args().pages
    with (
        TemporaryDirectory() as folder,
        session("local", RaySettings(), cores=2) as joined,
        Corpus.create(Path(folder) / "corpus") as corpus,
    ):
        file, began = write_report(Path(folder) / "report.pdf", 1, pages), core_seconds()
        ingest([file], corpus, IngestOptions(ocr="off"), make_pool=RayReaders(joined, [file]))
        read = core_seconds()
        encoder = RayEncoder(joined, corpus, EncoderName(name="benchmarks.cluster.driver:Noise"))
        index = encoder.make_index()
        made = core_seconds()
        assert embed_by(encoder.encoding(index), corpus, index).added == pages
        index.close()
        stored = core_seconds()
    for name, seconds in (("reading", read - began), ("vectors", stored - made)):
        print(f"{name}: {1000 * seconds / pages:.2f} ms of the driver's core a page, {pages / seconds:.0f} pages/s")


if __name__ == "__main__":
    main()
