"""An index of page vectors in one folder: no server, any number of readers, one writer at a time.

FOLDER/
    vectors.sqlite          the catalogue; its commit makes pages visible
    full-<segment>.i8/.u16  codes and scales of all vectors
    pool-<segment>.u4/.u16  of their means over `pool` neighbours, two codes in a byte: 1/32 of the size

A search compares the pooled vectors of all pages, and then all vectors of the best candidates. Vectors are fsynced
before the catalogue commits, so a kill costs what wasn't acknowledged, and never leaves a page half there.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from vrag import database
from vrag.errors import CorpusError, UsageError
from vrag.index import catalog, segments, writing
from vrag.index.maxsim import Kernel, KernelName
from vrag.index.maxsim import kernel as named_kernel
from vrag.index.pooling import pool_page, pool_query
from vrag.index.quantize import Bits, dequantize, quantize
from vrag.index.state import State, best
from vrag.index.vectors import (
    CANDIDATES,
    POOL,
    EncoderName,
    Filter,
    IndexStats,
    Match,
    PageRecord,
    Scored,
    check_page,
    checked_query,
    nearest,
)
from vrag.killpoints import killpoint
from vrag.sizes import bytes_below
from vrag.staging import whole_folder
from vrag.types import PatchGrid

T = TypeVar("T")

SHARE = 50  # with more pages one in so many is a candidate: in a large corpus pooled scores lie closer together
_RETRIES = 10
_FILE = "vectors.sqlite"


class EmbeddedIndex:
    """Implements `vrag.index.vectors.VectorIndex`. Safe to use from several threads and processes; close it."""

    def __init__(self, folder: Path, kernel: KernelName | Kernel = "auto", candidates: int = CANDIDATES) -> None:
        """Prefer `open` and `create`, which check the folder."""
        self.folder = folder
        self._kernel = kernel if callable(kernel) else named_kernel(kernel)
        self._candidates = candidates
        self._reading, self._writing = threading.Lock(), threading.Lock()
        self._reader = database.connect(folder / _FILE, catalog.KIND)
        self._writer = database.connect(folder / _FILE, catalog.KIND)
        self._writer.execute("PRAGMA synchronous = FULL")
        self.dim = int(database.setting(self._reader, "dim"))
        self.fingerprint = database.setting(self._reader, "fingerprint")
        self.encoder = EncoderName.model_validate_json(database.setting(self._reader, "encoder"))
        self._pool = int(database.setting(self._reader, "pool"))
        self._bits: Bits = 8 if self.dim % 2 else 4  # of pooled codes; two of them make a byte
        self._state: tuple[int, State] | None = None

    @classmethod
    def open(
        cls,
        folder: Path,
        fingerprint: str | None = None,
        *,
        kernel: KernelName | Kernel = "auto",
        candidates: int = CANDIDATES,
    ) -> EmbeddedIndex:
        """Open an existing index; `vrag.kernels` has a kernel for GPUs. Raises `CorpusError` when there is none, and as
        `check` does.
        """
        if not (folder / _FILE).is_file():
            raise CorpusError(
                f"no vector index in {folder}: make one with `vrag index PATH --corpus NAME --encoder MODEL`"
            )
        index = cls(folder, kernel, candidates)
        if fingerprint is not None:
            index.check(fingerprint)
        return index

    @classmethod
    def create(
        cls, folder: Path, dim: int, fingerprint: str, encoder: EncoderName | None = None, *, pool: int = POOL
    ) -> EmbeddedIndex:
        """Make an empty index. Raises `CorpusError` when there is one."""
        if dim < 1 or pool < 1:
            raise UsageError(f"an index has at least one dimension and pools at least one vector, not {dim} and {pool}")
        folder.mkdir(parents=True, exist_ok=True)
        made_by = (encoder or EncoderName()).model_dump_json()
        settings = {"dim": dim, "pool": pool, "fingerprint": fingerprint, "encoder": made_by}
        try:
            database.create(folder / _FILE, catalog.KIND, catalog.SCHEMA, settings)
        except FileExistsError as error:
            raise CorpusError(f"there is a vector index in {folder} already") from error
        return cls(folder)

    def check(self, fingerprint: str) -> None:
        """Raises `CorpusError`, and closes, when another encoder than that of `fingerprint` made the vectors."""
        if self.fingerprint != fingerprint:
            self.close()
            raise CorpusError(
                f"the vectors in {self.folder} were made by another encoder ({self.fingerprint}, not {fingerprint}):"
                " use that one, or delete the folder and index again"
            )

    def close(self) -> None:
        with self._reading, self._writing:
            self._reader.close()
            self._writer.close()

    # ----------------------------------------------------------------------------------------- writing

    def upsert(self, pages: Iterable[PageRecord]) -> None:
        """Add pages, or replace those of the same id; durable and visible on return, all or none of them. Costs two
        fsyncs: give a batch, not one page.
        """
        batch = list(pages)
        if not batch:
            return
        for page in batch:
            check_page(page, self.dim)
        full = [quantize(page.vectors.vectors) for page in batch]
        pooled = [quantize(pool_page(page.vectors.vectors, self._pool), self._bits) for page in batch]
        with self._write() as db:
            places = writing.append(db, self.folder, full, pooled)
            for page, place in zip(batch, places, strict=True):
                catalog.put_page(db, page.id, page.document, place, page.vectors.grid, page.meta)
            killpoint("index.before-commit")
        killpoint("index.after-commit")

    def delete(self, where: Filter) -> int:
        """Remove pages; returns how many. Their vectors stay in the files until `compact`."""
        sql, values = catalog.condition(where)
        with self._write() as db:
            return db.execute(f"DELETE FROM pages WHERE {sql}", values).rowcount

    def compact(self) -> None:
        """Write the vectors of live pages anew and drop the rest. Readers go on with what they have open."""
        with self._write() as db:
            old = [segment.id for segment in catalog.segments(db)]
            parts = self._current().parts  # nobody else commits while this writes
            _, places = catalog.places(db)
            db.execute("DELETE FROM segments")
            db.executemany("INSERT INTO trash VALUES (?)", [(segment,) for segment in old])
            catalog.begin_segment(db, self._bits)
            for rows in writing.portions(places):
                full, pooled = writing.stored(parts, rows)
                pooled = [one if one.bits == self._bits else quantize(dequantize(one), self._bits) for one in pooled]
                for row, place in zip(rows[:, 0], writing.append(db, self.folder, full, pooled), strict=True):
                    catalog.move_page(db, int(row), place)
            killpoint("index.before-compacted")
        killpoint("index.compacted")
        self.empty_trash()

    @contextmanager
    def _write(self) -> Generator[sqlite3.Connection]:
        with self._writing, self._named(), database.transaction(self._writer):
            yield self._writer

    def _named(self) -> AbstractContextManager[None]:
        return database.translated(f"vector index {self.folder}")

    def empty_trash(self) -> None:
        """Delete what compactions replaced, and what one that was killed left."""
        with self._write() as db:
            for (segment,) in db.execute("SELECT segment FROM trash").fetchall():
                with suppress(PermissionError):  # Windows keeps what a reader has mapped: next time
                    for file in segments.files(self.folder, segment):
                        file.unlink(missing_ok=True)
                    db.execute("DELETE FROM trash WHERE segment = ?", (segment,))
            known = [segment.id for segment in catalog.segments(db)]
            for file in segments.strays(self.folder, known):  # of nobody: whoever writes a new one holds the lock
                with suppress(PermissionError):
                    file.unlink(missing_ok=True)

    def snapshot(self, path: Path) -> None:
        """Make a folder that opens as an index of what is committed now, whole or not at all. Nobody waits meanwhile.
        Vectors get a second name where the file system allows it, so a snapshot takes next to no room; elsewhere they
        are copied. Raises `UsageError` when `path` is there and isn't an empty folder, `CorpusError` when it can't be
        written.
        """
        self._retried(partial(self._snapshot, path))

    def _snapshot(self, path: Path) -> None:
        with whole_folder(path) as folder, self._named(), ExitStack() as stack:
            with self._reading:
                db = stack.enter_context(database.copied(self._reader, folder / _FILE))
            killpoint("index.snapshot-begun")
            for segment in catalog.segments(db):
                held: list[tuple[str, int, Bits]] = [
                    ("full", segment.vectors, 8),
                    ("pool", segment.pooled, segment.bits),
                ]
                for kind, count, bits in held:
                    if count:
                        segments.share(self.folder, segment.id, kind, count, self.dim, folder, bits)
                        killpoint("index.snapshot-shared")
            db.execute("DELETE FROM trash")
            catalog.begin_segment(db, self._bits)  # this index goes on writing to the files of the others

    # --------------------------------------------------------------------------------------- searching

    def search(self, query: np.ndarray, k: int, *, where: Filter | None = None, exact: bool = False) -> list[Scored]:
        """The `k` best pages for `query` [N, D], best first; of equal ones the older. `exact` compares all vectors of
        all pages.
        """
        query = checked_query(query, self.dim)
        state = self._current()
        among = None
        if where is not None:
            with self._reading, self._named():
                among = np.isin(state.rows, catalog.rows_of(self._reader, where))
        pages = len(state.ids) if among is None else int(among.sum())
        wide = max(self._candidates, k, pages // SHARE)
        if not exact and pages > wide:
            chosen = best(state.scores("pool", pool_query(query), self._kernel, among), wide)
            among = np.zeros(len(state.ids), dtype=bool)
            among[chosen] = True
        scores = state.scores("full", query, self._kernel, among)
        return [Scored(state.ids[place], float(scores[place])) for place in best(scores, k)]

    def matches(self, page_id: str, query: np.ndarray) -> list[Match]:
        """For each vector of the query, where the page matches it best. Raises `UsageError` for an unknown page."""
        query = checked_query(query, self.dim)
        vectors, grid = self._retried(lambda: self._page(page_id))
        return nearest(vectors, query, grid)

    def ids(self) -> set[str]:
        return set(self._current().ids)

    def stats(self) -> IndexStats:
        with self._reading, self._named():
            held = sum(segment.vectors for segment in catalog.segments(self._reader))
            pages, live = self._reader.execute("SELECT count(*), coalesce(sum(last - first), 0) FROM pages").fetchone()
        return IndexStats(
            pages=pages,
            vectors=live,
            dead=held - live,
            bytes=bytes_below(self.folder),
            dim=self.dim,
            fingerprint=self.fingerprint,
        )

    def _current(self) -> State:
        """The newest committed state; as long as nobody commits, always the same."""
        with self._reading, self._named():
            version = self._reader.execute("PRAGMA data_version").fetchone()[0]
            if self._state is None or self._state[0] != version:
                before = self._state[1] if self._state else None
                self._state = version, self._retried(partial(State.read, self._reader, self.folder, self.dim, before))
            return self._state[1]

    def _page(self, page_id: str) -> tuple[np.ndarray, PatchGrid | None]:
        with self._reading, self._named():
            found = catalog.page(self._reader, page_id)
        if found is None:
            raise UsageError(f"no page {page_id!r} in the vector index {self.folder}")
        place, grid = found
        held = segments.load(self.folder, place.segment, "full", place.last, self.dim)
        span = slice(place.first, place.last)
        return dequantize(held[span]), grid

    def _retried(self, read: Callable[[], T]) -> T:
        """A compaction may come between the catalogue and the files."""
        for _ in range(_RETRIES):
            with suppress(FileNotFoundError):
                return read()
        raise CorpusError(f"vector index {self.folder}: its files are gone: delete the folder and index again")
