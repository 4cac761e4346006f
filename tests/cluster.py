"""Ray without Ray: what would run over there does its jobs in this process, in an order that nobody would guess. And an
encoder that ends the process it is in.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from PIL.Image import Image

from tests.colours import ColourEncoder
from vrag.cluster import rounds
from vrag.cluster.reading import Reader
from vrag.cluster.session import RaySettings, Session
from vrag.errors import DocumentError
from vrag.types import PageVectors

ONE = Session(RaySettings(), cpus=2, node_cpus=2, gpus=0, node_gpus=0, workers=1)


class ProcessDied(BaseException):
    """What a process that dies looks like here."""


def do_here(work: rounds.Work, asks: list[str]) -> Generator[dict[str, Any]]:
    """In place of `rounds._round`. A process that died is replaced, and its job done again, as Ray does."""
    made = list[rounds.Doer]()

    def another() -> rounds.Doer:
        made.append(rounds.Doer(pickle.loads(pickle.dumps(work.make)), str(tries), rounds.MAX_TRIES))
        return made[-1]

    with rounds._notes(work.corpus / "ray") as tries:
        try:
            doer = another()
            for job, ask in reversed(list(enumerate(asks))):
                reply = None
                while reply is None:
                    with suppress(ProcessDied):
                        reply = doer({"job": job, "ask": ask})
                    doer = doer if reply else another()
                yield reply
        finally:
            for one in made:
                if isinstance(one._stage, Reader):
                    one._stage.close()


@contextmanager
def here(address: str, settings: RaySettings, workers: int = 0, cores: int = 1) -> Iterator[Session]:
    """In place of `session`."""
    yield ONE


class FragileEncoder(ColourEncoder):
    """Dies of pages of the colour `deadly`, and once of any page, which `once`, a file, says. `process`: of the pytest
    that runs it; elsewhere it takes the whole process with it.
    """

    def __init__(self, deadly: str, once: str, process: int) -> None:
        super().__init__(deadly)
        self._once, self._process = Path(once), process

    def encode_pages(self, images: Sequence[Image]) -> list[PageVectors | DocumentError]:
        if not self._once.exists():
            self._once.touch()
            self._die()
        outcomes = super().encode_pages(images)
        if any(isinstance(outcome, DocumentError) for outcome in outcomes):
            self._die()
        return outcomes

    def _die(self) -> None:
        if os.getpid() != self._process:
            os._exit(1)
        raise ProcessDied
