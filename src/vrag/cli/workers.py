"""Who does the work of `vrag index`: processes of this machine, or the machines of a Ray; and where vectors go."""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from vrag.cli.progress import Reporter
from vrag.corpus.options import IngestOptions
from vrag.corpus.pool import MakePool, WorkerPool
from vrag.corpus.store import Corpus
from vrag.errors import UsageError

if TYPE_CHECKING:
    from vrag.cluster.session import RaySettings, Session
    from vrag.embed import EmbedReport
    from vrag.index.qdrant_place import QdrantPlace
    from vrag.index.vectors import EncoderName


@dataclass(frozen=True)
class Workers:
    """`session`: the Ray, if it is one."""

    make_pool: MakePool = WorkerPool
    session: Session | None = None

    def check(self, store: Corpus, name: EncoderName | None, place: QdrantPlace | None) -> None:
        """Raises, before anything is done, what `encode` would raise after pages are read."""
        if name is None and not store.has_vectors:
            return
        from vrag.embed import check_place

        check_place(store, place)
        if self.session is not None:
            self.session.encoder()

    def encode(
        self, store: Corpus, name: EncoderName | None, place: QdrantPlace | None, console: Console
    ) -> EmbedReport | None:
        """Bring the vectors of a corpus in line with its pages: with the named encoder, or with the one that made those
        that are there. None for a corpus without vectors.
        """
        if name is None and not store.has_vectors:
            return None
        if self.session is None:
            return _encode_here(store, name, place, console)
        from vrag.cluster.encoding import RayEncoder
        from vrag.embed import embed_by, open_index

        if name is None:
            with closing(open_index(store)) as index:
                name = index.encoder
        encoder = RayEncoder(self.session, store, name)
        with closing(encoder.make_index(place)) as index, Reporter(console) as reporter:
            return embed_by(encoder.encoding(index), store, index, reporter.update)


def _encode_here(store: Corpus, name: EncoderName | None, place: QdrantPlace | None, console: Console) -> EmbedReport:
    from vrag.embed import check_place, embed, index_encoder, make_index, open_index
    from vrag.encoders.load import load_encoder

    check_place(store, place)
    if name is None:
        index = open_index(store)
        encoder = index_encoder(index)
    else:
        encoder = load_encoder(name.name, **name.settings)
        index = make_index(store, encoder, name, place)
    with closing(index), Reporter(console) as reporter:
        return embed(store, encoder, index, reporter.update)


@contextmanager
def workers(
    address: str | None, changes: list[str] | None, options: IngestOptions, paths: Sequence[Path]
) -> Generator[Workers]:
    """What `--ray` and `--ray-set` say together. With a Ray, stdout is stderr meanwhile.
    Raises `UsageError` for settings of no Ray, and as `session`.
    """
    if address is None:
        if changes:
            raise UsageError("--ray-set changes a run on the Ray that --ray names: give both")
        yield Workers()
        return
    from vrag.cluster.reading import RayReaders
    from vrag.cluster.session import session

    with (
        redirect_stdout(sys.stderr),  # where Ray says what fails over there
        session(address, _settings(changes or []), options.workers, options.processes) as joined,
    ):
        yield Workers(RayReaders(joined, paths), joined)


def _settings(changes: list[str]) -> RaySettings:
    from pydantic import ValidationError

    from vrag.cluster.session import RaySettings
    from vrag.config import changes as parsed
    from vrag.errors import ConfigError

    try:
        return RaySettings(**parsed(changes))
    except ValidationError as failure:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in failure.errors())
        raise ConfigError(f"--ray-set {wrong}; the settings are {', '.join(RaySettings.model_fields)}") from failure


def vector_place(
    corpus: str, url: str | None, collection: str | None, encoder: EncoderName | None
) -> QdrantPlace | None:
    """What `--qdrant` and `--collection` say together; None: where the vectors are, or the corpus's folder. Raises
    `UsageError` for one without what it needs.
    """
    if url is None:
        if collection is not None:
            raise UsageError("--collection is one on the server that --qdrant names: give both")
        return None
    if encoder is None:
        raise UsageError("--qdrant keeps the vectors that --encoder makes: give both")
    from vrag.index.qdrant_place import QdrantPlace

    return QdrantPlace(url=url, collection=collection or Path(corpus).name)
