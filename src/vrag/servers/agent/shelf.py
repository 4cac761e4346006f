"""The corpora of a server by name, opened when they are first asked for."""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path

from vrag.corpus.paths import corpora_folder, corpus_folder, is_corpus, is_corpus_name
from vrag.corpus.store import Corpus, names
from vrag.errors import CorpusError, UsageError
from vrag.servers.engine import Engine

OPEN = 32  # corpora that are kept open


class UnknownCorpus(UsageError):
    """This server has no corpus of that name."""


class Shelf:
    """All corpora of the home, also those that come later, or those in `chosen` alone. Only for the event loop."""

    def __init__(
        self, open_engine: Callable[[Path], Engine], chosen: Mapping[str, Path] | None, keep: int = OPEN
    ) -> None:
        self._open_engine, self.chosen, self._keep = open_engine, chosen, keep
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._opening: dict[str, asyncio.Task[Engine]] = {}

    def names(self) -> list[str]:
        return names() if self.chosen is None else list(self.chosen)

    @property
    def creates(self) -> bool:
        """Whether it can make corpora: not one of chosen ones, nor one whose home can't be written."""
        return self.chosen is None and _is_writable(corpora_folder())

    def folder(self, name: str) -> Path:
        """Raises `UnknownCorpus`; no other name than that of a corpus ever becomes part of a path."""
        if self.chosen is not None:
            found = self.chosen.get(name)
        else:
            found = corpus_folder(name) if is_corpus_name(name) else None
            found = found if found is not None and is_corpus(found) else None
        if found is None:
            raise UnknownCorpus("this server has no corpus of that name; GET /v1/corpora lists them")
        return found

    async def engine(self, name: str) -> Engine:
        """Raises `UnknownCorpus`, and what opening the corpus and its encoder raises, a `UsageError` as `CorpusError`.
        One that takes long to open holds up those alone who ask for it.
        """
        folder = self.folder(name)
        engine = self._engines.get(name)
        if engine is None:
            if name not in self._opening:
                self._opening[name] = asyncio.create_task(self._open(name, folder))
            return await asyncio.shield(self._opening[name])  # others may wait for it, too
        self._engines.move_to_end(name)
        return engine

    async def _open(self, name: str, folder: Path) -> Engine:
        try:
            engine = self._engines[name] = await asyncio.to_thread(self._open_engine, folder)
        except UsageError as error:  # in how the server was started: nothing in a request is wrong
            raise CorpusError(f"corpus {name} can't be opened: {error}") from error
        finally:
            del self._opening[name]
        self._make_room(engine)
        return engine

    def _make_room(self, newest: Engine) -> None:
        """Close those that were asked for the longest ago, but none that a question waits for."""
        spare = [name for name, engine in self._engines.items() if engine is not newest and not engine.held]
        for name in spare[: max(0, len(self._engines) - self._keep)]:
            self._engines.pop(name).close()  # after its last request

    def create(self, name: str) -> None:
        """An empty corpus in the home. Raises `UsageError` for a bad name or a server of chosen corpora, `CorpusError`
        when there is one, or it can't be made.
        """
        if self.chosen is not None:
            raise UsageError("this server was started with the corpora that it has: make others with `vrag index`")
        if not is_corpus_name(name):
            raise UsageError(
                "a corpus name has letters, digits, '.', '_' and '-', at most 100 of them, and of other alphabets fewer"
            )
        Corpus.create(name).close()

    async def watch(self, seconds: float) -> None:
        """Look for ever what was replaced on disk."""
        while True:
            await asyncio.sleep(seconds)
            for engine in list(self._engines.values()):
                await engine.refresh()

    def close(self) -> None:
        while self._engines:
            self._engines.popitem()[1].close()


def _is_writable(folder: Path) -> bool:
    """Also of one that isn't there yet."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    return os.access(there, os.W_OK | os.X_OK)


def chosen_corpora(names_or_paths: list[str]) -> dict[str, Path] | None:
    """The corpora that a command line names, by what they are called in URLs: a path by its last part. None where it
    names none. Raises `UsageError` for two of one name, and `CorpusError` for one that isn't there.
    """
    chosen: dict[str, Path] = {}
    for given in names_or_paths:
        Corpus.open(given).close()
        folder = corpus_folder(given).absolute()
        name = folder.resolve().name
        if not is_corpus_name(name):
            raise UsageError(f"corpus {given}: {name!r} can't stand in a URL; rename the folder")
        if name in chosen:
            raise UsageError(f"two corpora are called {name!r}: {chosen[name]} and {folder}")
        chosen[name] = folder
    return chosen or None
