"""A run on disk: its configuration, append-only logs, and writes that never show half a file.

    RUN/run.json        the resolved configuration
    RUN/metrics.jsonl   one JSON object per line

A line counts once its newline is on disk. What follows the last newline, and a last line that isn't JSON, is
what a killed process left behind: readers skip it and the next writer cuts it off, so it is owed again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakValueDictionary

from pydantic import BaseModel, ValidationError

from vrag.errors import DataError, UsageError, VragError
from vrag.staging import sync_folder

try:
    import fcntl
except ImportError:
    fcntl = None

Json = dict[str, Any]
_QUESTIONS = ("tasks.key: ", "tasks.count: ")  # of a run over questions: their content, and how many
_TEMPORARY = re.compile(r"\.run\.json\..*\.tmp")  # what a kill in `atomic_write` leaves
_LENGTH = ("steps: ", "config.epochs: ")  # of a training: its rate depends on them


def atomic_write(path: Path, data: bytes) -> None:
    """Replace `path` as a whole: after a crash it holds the old bytes or the new ones, never a part.

    Raises `VragError` when the file system refuses; `path` is then as it was and no temporary file is left.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
        temporary = None
        sync_folder(path.parent)
    except OSError as failure:
        raise _write_failed(path, failure) from failure
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def content_key(*parts: object) -> str:
    """32 hex digits for `parts` (models, or anything JSON can say): equal content, equal key."""
    return hashlib.sha256(_dump([to_json(part) for part in parts], sort_keys=True)).hexdigest()[:32]


def to_json(value: object) -> Any:
    """`value` as plain JSON types; a pydantic model by its own serializer."""
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else json.loads(json.dumps(value))


def read_lines(path: Path) -> list[Json]:
    """The committed objects of a JSON Lines file, in order; none if it doesn't exist.

    Raises `DataError` for a broken line that isn't the last: that is damage, not an interrupted write.
    """
    return [row for row, _ in _committed(path)]


def first_fault(failure: ValidationError) -> str:
    """The first field that is wrong, and why."""
    first = failure.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    return f"{field}: {first['msg']}" if field else first["msg"]


def said_of(failure: ValidationError) -> str:
    """Why a line of a run is none of its kind, and what to do."""
    return f"{first_fault(failure)}; it was written by another version, or damaged: name another folder"


class Log:
    """An append-only JSON Lines file. `durable` also survives the machine's crash, at one fsync per line."""

    def __init__(self, path: Path, *, durable: bool = False) -> None:
        self.path, self.durable = path, durable
        self._mended = False

    def read(self) -> list[Json]:
        return read_lines(self.path)

    def append(self, row: BaseModel | Mapping[str, Any]) -> None:
        """Commit one line, or leave the log as it was and raise `VragError`."""
        line = _dump(to_json(row)) + b"\n"
        try:
            if not self._mended:
                self._mend()
            with self.path.open("ab", buffering=0) as file:
                self._write(file.fileno(), line)
        except OSError as failure:
            raise _write_failed(self.path, failure) from failure

    def keep(self, wanted: Callable[[Json], bool]) -> None:
        """Drop the rows that aren't `wanted`: resuming from a checkpoint takes back what came after it."""
        rows = self.read()
        kept = [row for row in rows if wanted(row)]
        if len(kept) < len(rows):
            atomic_write(self.path, b"".join(_dump(row) + b"\n" for row in kept))

    def _write(self, descriptor: int, line: bytes) -> None:
        start = os.fstat(descriptor).st_size
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            if self.durable:
                os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, start)
            raise

    def _mend(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            ends = [end for _, end in _committed(self.path)]
            os.truncate(self.path, ends[-1] if ends else 0)
        self._mended = True


class RunDir:
    """One run's folder. Made by `open`, which is also how a run is resumed."""

    def __init__(self, path: Path, hold: _Hold | None = None) -> None:
        self.path, self._hold = path, hold
        self.metrics = Log(path / "metrics.jsonl")

    @classmethod
    def open(
        cls,
        path: Path,
        config: BaseModel | Mapping[str, Any],
        *,
        overwrite: bool = False,
        adds_to: Callable[[Json], bool] = lambda found: False,
    ) -> RunDir:
        """Start the run at `path`, or resume it if it was started with the same `config`, or with one that `config`
        only `adds_to`: then it is kept with `config` from now on.

        `overwrite` deletes what an earlier run left there. Raises `UsageError` if the folder holds a run with
        another configuration, or holds something and is no run, or another process is at work there.
        """
        file = path / "run.json"
        wanted = to_json(config)
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path}: is a file; a run needs a folder")
        hold = _Hold.of(path)
        if file.exists() and overwrite:
            shutil.rmtree(path.resolve())
            path.resolve().mkdir(parents=True)
            hold = _Hold.of(path)
        if file.exists():
            found = read_config(path)
            if found == wanted:
                return cls(path, hold)
            if not adds_to(found):
                raise UsageError(f"{path}: {_refused(list(_differences(found, wanted)))}")
        elif path.exists() and any(not _TEMPORARY.fullmatch(one.name) for one in path.iterdir()):
            raise UsageError(f"{path}: is not empty and holds no run (no run.json); name another folder")
        atomic_write(file, json.dumps(wanted, indent=2, ensure_ascii=False).encode() + b"\n")
        return cls(path, hold)

    def log(self, name: str, *, durable: bool = False) -> Log:
        """The log `name`.jsonl of this run."""
        return Log(self.path / f"{name}.jsonl", durable=durable)


class _Hold:
    """Keeps other processes out of a folder, as long as this one has it; shared by all who ask for it here."""

    _held: ClassVar[WeakValueDictionary[tuple[int, int], _Hold]] = WeakValueDictionary()

    def __init__(self, path: Path, descriptor: int) -> None:
        self._descriptor = descriptor
        if fcntl is None:
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as busy:
            raise UsageError(f"{path}: another process is at work in this run; wait for it, or name another") from busy
        except OSError:
            pass  # a file system without locks

    @classmethod
    def of(cls, path: Path) -> _Hold:
        """That of the folder at `path`, which is made if there is none. Raises `UsageError` when another process has
        it, and `VragError` when it can't be made.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
            if fcntl is None:  # Windows: nobody is kept out
                return cls(path, -1)
            descriptor = os.open(path, os.O_RDONLY)
        except OSError as failure:
            raise _write_failed(path, failure) from failure
        status = os.fstat(descriptor)
        key = status.st_dev, status.st_ino
        held = cls._held.get(key)
        if held is None:
            held = cls._held[key] = cls(path, descriptor)
        else:
            os.close(descriptor)
        return held

    def __del__(self) -> None:
        self.release()

    def release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @classmethod
    def forget(cls) -> None:
        """In a forked child, which would keep others out after its parent has ended."""
        for one in list(cls._held.values()):
            one.release()
        cls._held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_Hold.forget)


def read_config(path: Path) -> Json:
    """The configuration that the run at `path` was started with; raises `DataError` if it can't be read."""
    file = path / "run.json"
    try:
        config = json.loads(file.read_bytes())
    except (OSError, ValueError) as failure:
        raise DataError(f"{file}: can't be read as a run's configuration: {failure}") from failure
    if not isinstance(config, dict):
        raise DataError(f"{file}: isn't a run's configuration: a JSON object was expected")
    return config  # type: ignore[return-value]


def _committed(path: Path) -> Iterator[tuple[Json, int]]:
    """Each committed object and the offset in bytes behind its newline."""
    if not path.exists():
        return
    lines = path.read_bytes().split(b"\n")[:-1]
    end = 0
    for number, line in enumerate(lines, start=1):
        end += len(line) + 1
        row = _parse(line)
        if row is not None:
            yield row, end
        elif number < len(lines):
            raise DataError(f"{path}, line {number}: isn't a JSON object; restore the file, or delete it")


def _parse(line: bytes) -> Json | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None  # type: ignore[return-value]


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key in sorted({*found, *wanted}):
        name = f"{prefix}{key}"
        old, new = found.get(key), wanted.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(old, new, f"{name}.")  # type: ignore[arg-type]
        elif old != new or (key in found) != (key in wanted):
            yield f"{name}: {_say(found, key)} there, {_say(wanted, key)} now"


def _refused(changes: Sequence[str]) -> str:
    """Why a run isn't resumed, and what to do; keys and counts of other questions say nothing to a person."""
    others = [change for change in changes if not change.startswith(_QUESTIONS)]
    if not others:
        return "the questions changed since that run: add --overwrite to replace it, or name another --out"
    said = "; ".join([*others, *(["other questions"] if len(others) < len(changes) else [])])
    length = any(change.startswith(_LENGTH) for change in others)
    return (
        f"holds a run with another configuration ({said}); "
        f"name another folder, or delete that run (--overwrite does, where a command has it)"
        + ("; to train on from its result, give its final/ as --model" if length else "")
    )


def _say(config: Mapping[str, Any], key: str) -> str:
    return json.dumps(config[key], ensure_ascii=False) if key in config else "unset"


def _dump(value: object, *, sort_keys: bool = False) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=sort_keys)
    return text.encode(errors="backslashreplace")  # a lone surrogate becomes its own JSON escape


def _write_failed(path: Path, failure: OSError) -> VragError:
    return VragError(
        f"{path}: can't be written ({failure.strerror}); what was there before is intact: "
        "make room or fix the permission, and run the same command again"
    )
