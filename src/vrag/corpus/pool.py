"""Worker processes under supervision: a job that crashes or hangs its worker costs that job and nothing else. A worker
is killed with all that it started.

Each worker has a thread that only waits for its next line, so that the caller can give up on any worker at
any time. The queue between them is bounded: when the caller is slow, the workers wait, and memory stays flat.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol

from vrag.errors import CorpusError

Message = dict[str, Any]
_START_SECONDS = 60.0
_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Job:
    """What a worker is asked (`request`), and what the caller needs with the answer (`context`)."""

    request: Message
    context: Any


@dataclass(frozen=True)
class Answer:
    """One message of a job."""

    job: Job
    message: Message


@dataclass(frozen=True)
class Lost:
    """The worker died or was killed in the middle of a job, as `overdue`; no more messages of it will come."""

    job: Job
    reason: str
    overdue: bool = False


class NoWorker(CorpusError):
    """A worker doesn't start."""


class Pool(Protocol):
    """Whoever does jobs: the processes of this machine (`WorkerPool`), or of many (`vrag.cluster`)."""

    def run(self, jobs: deque[Job]) -> Generator[Answer | Lost]:
        """Do all jobs, also those appended meanwhile. Raises `NoWorker` if a worker doesn't start. Close it to leave
        what isn't done.
        """
        ...


MakePool = Callable[[Message, int, float], AbstractContextManager[Pool]]  # as `WorkerPool`: settings, size, time-out


@dataclass(eq=False)
class _Worker:
    process: subprocess.Popen[str]
    errors: Any  # a temporary file with the worker's stderr
    job: Job | None = None
    ready: bool = False
    waiting_since: float | None = None  # None while its last message is not yet taken
    killed_after: float | None = None
    thread: threading.Thread | None = field(default=None, repr=False)


class WorkerPool:
    """At most `size` workers, started when there is work. Use as a context manager: leaving kills them."""

    def __init__(self, settings: Message, size: int, timeout: float) -> None:
        self._command = [sys.executable, "-m", "vrag.corpus.worker", json.dumps(settings)]
        self._size = size
        self._timeout = timeout
        self._workers: list[_Worker] = []
        self._events: queue.Queue[tuple[_Worker, Message | None]] = queue.Queue(maxsize=2 * size)
        self._closing = False

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Kill the workers, whatever they are at."""
        self._closing = True
        for worker in list(self._workers):
            _kill(worker.process)
        while self._workers:
            worker, message = self._events.get()
            if message is None:
                self._forget(worker)

    def run(self, jobs: deque[Job]) -> Generator[Answer | Lost]:
        while jobs or any(worker.job for worker in self._workers):
            self._assign(jobs)
            try:
                worker, message = self._events.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                self._kill_overdue()
                continue
            if message is None:
                lost = self._bury(worker)
                if lost is not None:
                    yield lost
            elif "unready" in message:
                raise NoWorker(message["unready"])
            elif "ready" in message:
                worker.ready = True
            elif "done" in message:
                worker.job = None
            elif worker.job is not None:
                yield Answer(worker.job, message)
            self._kill_overdue()

    def _assign(self, jobs: deque[Job]) -> None:
        while jobs:
            worker = next((one for one in self._workers if one.job is None and one.process.poll() is None), None)
            if worker is None:
                if len(self._workers) >= self._size:
                    return
                worker = self._start()
            worker.job = jobs.popleft()
            worker.waiting_since = time.monotonic()
            try:
                assert worker.process.stdin is not None
                worker.process.stdin.write(json.dumps(worker.job.request) + "\n")
                worker.process.stdin.flush()
            except OSError:  # it has died: its thread says so, and the job is reported as lost
                return

    def _start(self) -> _Worker:
        errors = tempfile.TemporaryFile()  # noqa: SIM115  closed by _forget
        process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            encoding="ascii",
            start_new_session=True,  # a process group of its own
        )
        worker = _Worker(process, errors)
        worker.thread = threading.Thread(target=self._listen, args=(worker,), daemon=True)
        self._workers.append(worker)
        worker.thread.start()
        return worker

    def _listen(self, worker: _Worker) -> None:
        stream = worker.process.stdout
        assert stream is not None
        while True:
            worker.waiting_since = time.monotonic()
            try:
                line = stream.readline()
                message: Message | None = json.loads(line) if line.endswith("\n") else None
            except ValueError:  # cut off in the middle, or not of our protocol
                message = None
            worker.waiting_since = None
            self._events.put((worker, message))
            if message is None:
                return

    def _kill_overdue(self) -> None:
        now = time.monotonic()
        for worker in self._workers:
            limit = self._timeout if worker.ready else _START_SECONDS
            since = worker.waiting_since
            if worker.job is not None and since is not None and now - since > limit and not worker.killed_after:
                worker.killed_after = limit
                _kill(worker.process)

    def _bury(self, worker: _Worker) -> Lost | None:
        """Take a dead worker out; its job, if it had one, is lost."""
        _kill(worker.process)
        status = worker.process.wait()
        worker.errors.seek(0)
        said = worker.errors.read()[-2000:].decode(errors="replace").strip()
        self._forget(worker)
        if not worker.ready:
            late = f"took longer than {worker.killed_after:g} s" if worker.killed_after else ""
            raise NoWorker(f"the page worker doesn't start: {said or late or f'exit status {status}'}")
        if worker.job is None:
            return None
        if worker.killed_after:
            return Lost(worker.job, f"took longer than {worker.killed_after:g} s", overdue=True)
        return Lost(worker.job, f"crashed the reader (signal {-status})" if status < 0 else "crashed the reader")

    def _forget(self, worker: _Worker) -> None:
        worker.process.wait()
        if worker.thread is not None:
            worker.thread.join()
        for stream in (worker.process.stdin, worker.process.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):  # what was still to be written has no reader
                    stream.close()
        worker.errors.close()
        self._workers.remove(worker)


def _kill(process: subprocess.Popen[str]) -> None:
    """With its children, also when it has ended before them (on Windows: it alone)."""
    if sys.platform == "win32":
        process.kill()
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
