"""Jobs to the machines of a Ray, and what comes of them back, in any order.

Ray Data hands out jobs that are there when it starts, so jobs go in rounds: those that come up during one (the later
pages of a long document, the rest of a chunk whose reader crashed) make the next.

Ray starts a job again when its process or machine is gone, without end. So each try is noted in the corpus's folder
first, and after `MAX_TRIES` the job is given back as one that kills whoever does it.
"""

from __future__ import annotations

import json
import platform
import secrets
import shutil
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from vrag.corpus.pool import NoWorker
from vrag.errors import CheckpointError, ConfigError, CorpusError, InfrastructureError, UsageError

J = TypeVar("J")
Stage = Callable[[str], tuple[str, bytes]]  # does one job: from what is asked to what is said, and bytes beside it

MAX_TRIES = 3
ROUND = 1 << 14  # jobs: bounds what the driver holds
_LEFT = 86_400.0  # seconds without a change after which notes of tries are a killed run's
_SHARES = 4  # blocks a process gets, at least, so that none waits long for the last one
_RAISED = {one.__name__: one for one in (CheckpointError, ConfigError, CorpusError, NoWorker, UsageError)}


@dataclass(frozen=True)
class Work:
    """What each process makes once, `make()`, and then does jobs with; at most `processes`, each with so many CPUs or
    GPUs. `block`: jobs that one gets at once, at most. `corpus`: its folder, which all machines share.
    """

    make: Callable[[], Stage]
    processes: int
    corpus: Path
    cpus: float = 1
    gpus: float = 0
    block: int = 1


@dataclass(frozen=True)
class Reply:
    """What a stage said to a job."""

    said: str
    data: bytes


def deadly() -> str:
    """What a job without a reply did."""
    return f"ended the process that did it, {MAX_TRIES} times"


def spread(work: Work, jobs: deque[J], ask: Callable[[J], str]) -> Generator[tuple[J, Reply | None]]:
    """Do all jobs, also those appended meanwhile; None instead of a reply for a job whose process died `MAX_TRIES`
    times. Close it to leave what isn't done. Raises what a stage raised, with the name of its machine before it, and
    `InfrastructureError` when Ray itself fails.
    """
    while jobs:
        drawn = [jobs.popleft() for _ in range(min(ROUND, len(jobs)))]
        with closing(_round(work, [ask(job) for job in drawn])) as rows:
            for row in rows:
                if row["fault"]:
                    kind, reason = json.loads(row["fault"])
                    raise _RAISED.get(kind, InfrastructureError)(reason)
                yield drawn[row["job"]], None if row["died"] else Reply(row["said"], row["data"])


def _round(work: Work, asks: list[str]) -> Generator[dict[str, Any]]:
    import ray.data  # pyright: ignore[reportMissingImports]
    from ray.exceptions import RayError  # pyright: ignore[reportMissingImports]

    rows = [{"job": number, "ask": ask} for number, ask in enumerate(asks)]
    size = max(1, min(work.block, len(rows) // (_SHARES * work.processes)))
    with _notes(work.corpus / "ray") as tries:
        data = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // size)).map(
            Doer,  # pyright: ignore[reportArgumentType]  Ray declares functions alone
            fn_constructor_args=(work.make, str(tries), MAX_TRIES),
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=min(work.processes, len(rows))),
            num_cpus=work.cpus or None,
            num_gpus=work.gpus or None,
        )
        try:
            yield from data.iter_rows()
        except RayError as error:
            reason = "".join(str(error).strip().splitlines()[-1:])
            raise InfrastructureError(
                f"Ray failed ({type(error).__name__}: {reason}): run the command again; what was committed is kept"
            ) from error


@contextmanager
def _notes(folder: Path) -> Generator[Path]:
    """A folder of its own for a round's notes of tries."""
    tries = folder / secrets.token_hex(4)
    try:
        tries.mkdir(parents=True)
        for left in folder.iterdir():
            with suppress(FileNotFoundError):  # another run's, which ends
                if time.time() - left.stat().st_mtime > _LEFT:
                    shutil.rmtree(left, ignore_errors=True)
    except OSError as error:
        raise CorpusError(f"{tries} can't be made: {error.strerror or error}") from error
    try:
        yield tries
    finally:
        shutil.rmtree(tries, ignore_errors=True)
        with suppress(OSError):  # others are at work
            folder.rmdir()


class Doer:
    """What runs in a process of Ray: row after row of jobs."""

    def __init__(self, make: Callable[[], Stage], tries: str, most: int) -> None:
        """`tries`: the folder of notes; `most`: how often a job is tried."""
        self._make, self._tries, self._most = make, Path(tries), most
        self._stage: Stage | None = None

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        reply: dict[str, Any] = {"job": row["job"], "said": "", "data": b"", "fault": "", "died": False}
        note = self._tries / str(row["job"])
        try:
            if _count(note) > self._most:
                return {**reply, "died": True}
            if self._stage is None:
                self._stage = self._make()
            said, data = self._stage(row["ask"])
        except Exception as error:  # noqa: BLE001  the boundary: the driver raises it, or what it stands for
            return {**reply, "fault": json.dumps(_fault(error))}
        note.unlink(missing_ok=True)
        return {**reply, "said": said, "data": data}


def _count(note: Path) -> int:
    """Which try of a job this is. Raises `CorpusError` on a machine that lacks the folder."""
    try:
        with note.open("ab") as file:
            file.write(b".")
            return file.tell()
    except OSError as error:
        folder = note.parent.parent.parent
        raise CorpusError(
            f"can't write in {folder} ({error.strerror or error}): mount it on all machines of the Ray, under the same"
            " name"
        ) from error


def _fault(error: Exception) -> tuple[str, str]:
    kind = type(error).__name__
    known = kind in _RAISED or kind == InfrastructureError.__name__
    return kind, f"machine {platform.node()}: {error}" if known else f"machine {platform.node()}: {kind}: {error}"
