"""Reading and OCR on the machines of a Ray: on each, the killable processes that read documents on one machine."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from vrag.cluster.rounds import Work, deadly, spread
from vrag.cluster.session import Session
from vrag.corpus.files import absolute
from vrag.corpus.pool import Answer, Job, Lost, Message, WorkerPool
from vrag.errors import CorpusError

_BLOCK = 8


class RayReaders:
    """Makes pools of a Ray in place of `WorkerPool`, for `ingest` and `recognise`. `paths`: those that are indexed."""

    def __init__(self, session: Session, paths: Sequence[str | Path] = ()) -> None:
        self._session = session
        self._paths = [absolute(path) for path in paths if Path(absolute(path)).exists()]

    def __call__(self, settings: Message, size: int, timeout: float) -> AbstractContextManager[RayPool]:
        """`size` is that of a pool on this machine; here the session says how many."""
        threads = min(int(settings.get("threads", 1)), self._session.node_cpus)
        if "threads" in settings:
            settings = {**settings, "threads": threads}
        make = partial(Reader, settings, timeout, self._paths)
        processes, folder = max(1, self._session.readers // threads), Path(settings["folder"])
        return nullcontext(RayPool(Work(make, processes, folder, cpus=threads, block=_BLOCK)))


class RayPool:
    """Implements `vrag.corpus.pool.Pool`."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def run(self, jobs: deque[Job]) -> Generator[Answer | Lost]:
        """As `Pool.run`; raises as `spread`, too."""
        with closing(spread(self._work, jobs, lambda job: json.dumps(job.request))) as replies:
            for job, reply in replies:
                if reply is None:
                    yield Lost(job, deadly())
                    continue
                for event in json.loads(reply.said):
                    if "lost" in event:
                        yield Lost(job, event["lost"], overdue=event["overdue"])
                    else:
                        yield Answer(job, event)


class Reader:
    """A stage: one process that reads documents, under supervision, on the machine where it is made."""

    def __init__(self, settings: Message, timeout: float, paths: Sequence[str]) -> None:
        """Raises `CorpusError` when the machine lacks one of the paths."""
        for path in map(Path, paths):
            if not path.exists():
                raise CorpusError(f"{path} isn't there: mount it on all machines of the Ray, under the same name")
        self._pool = WorkerPool(settings, 1, timeout)

    def __call__(self, ask: str) -> tuple[str, bytes]:
        events: list[Any] = [
            {"lost": event.reason, "overdue": event.overdue} if isinstance(event, Lost) else event.message
            for event in self._pool.run(deque([Job(json.loads(ask), None)]))
        ]
        return json.dumps(events), b""

    def close(self) -> None:
        """End the process that reads, which else ends with this one."""
        self._pool.close()
