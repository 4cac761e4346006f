"""Where a run comes from, as far as its settings don't say: command, starting model, data.

RUN/origin.json   an `Origin`, written with the first step
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from vrag.errors import DataError, UsageError
from vrag.runs import atomic_write
from vrag.types import Frozen

FILE = "origin.json"


class Origin(Frozen):
    """`base` is the starting model as it was named, `commit` the Hub's where it came from there. `corpus` is None where
    none was named; `data` names each file of data and what identifies it.
    """

    method: Literal["sft", "rl", "encoder"]
    command: str
    base: str
    commit: str | None = None
    corpus: str | None = None
    by: str | None = None  # how it was searched: text, visual, fused; None: it wasn't, or an older run doesn't say
    data: dict[str, str]

    def check(self, run: Path) -> None:
        """Raises `UsageError` when the run there started from another model or learns from other data."""
        began = read_origin(run)
        if began is None:
            return
        changed = [
            f"{name}: {before} there, {now} now"
            for name, before, now in (
                ("method", began.method, self.method),
                ("model", began.base, self.base),
                ("commit", began.commit, self.commit),
                ("corpus", began.corpus, self.corpus),
                ("search by", began.by or self.by, self.by),
                ("data", "; ".join(began.data.values()), "; ".join(self.data.values())),
            )
            if before != now
        ]
        if changed:
            raise UsageError(f"{run}: holds a run that began otherwise ({', '.join(changed)}); name another --out")

    def write(self, run: Path) -> None:
        """Into `run`, unless it is there: a resumed run keeps where it began."""
        if not (run / FILE).exists():
            atomic_write(run / FILE, self.model_dump_json(indent=2).encode() + b"\n")


def read_origin(run: Path) -> Origin | None:
    """None for a run that no command of `vrag train` started; raises `DataError` for a damaged file."""
    file = run / FILE
    if not file.is_file():
        return None
    try:
        return Origin.model_validate_json(file.read_bytes())
    except (OSError, ValidationError) as failure:
        raise DataError(f"{file}: can't be read ({failure}); delete it") from failure


def command_line(verb: str, options: Mapping[str, object]) -> str:
    """The command as it can be typed again. A list is an option that was repeated; None, one that wasn't given."""
    words = ["vrag", *verb.split()]
    for name, value in options.items():
        values: Sequence[object] = value if isinstance(value, (list, tuple)) else [] if value is None else [value]
        for one in values:
            words += [f"--{name.replace('_', '-')}", str(one)]
    return shlex.join(words)


def fingerprint(file: Path) -> str:
    """Its name and the SHA-256 of its bytes; raises `DataError` where it can't be read."""
    digest = hashlib.sha256()
    try:
        with file.open("rb") as opened:
            while chunk := opened.read(1 << 20):
                digest.update(chunk)
    except OSError as failure:
        raise DataError(f"{file}: can't be read: {failure.strerror}") from failure
    return f"{file.name}, SHA-256 {digest.hexdigest()}"
