"""The files under the paths a person names, in a stable order, and a short unique name for each."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from vrag.corpus.paths import is_corpus, own_folders, uploads_folder
from vrag.corpus.reader import SUFFIXES
from vrag.errors import UsageError

_BLOCK = 1 << 20
_ID = 24  # hex digits
_HIDDEN = (".", "~$")  # the second is what Microsoft Office lays beside an open document


@dataclass(frozen=True)
class Found:
    """A file to index. `path` is absolute; `name` is relative to the path that was asked for."""

    path: str
    name: str
    size: int
    mtime_ns: int


@dataclass
class Scan:
    """What the paths hold. Nothing below a `blocked` path (which couldn't be listed) counts as gone, nor what is below
    one that was `passed`, unless that or what it is was named itself.
    """

    roots: list[str] = field(default_factory=lambda: [])
    found: list[Found] = field(default_factory=lambda: [])
    blocked: dict[str, str] = field(default_factory=lambda: {})  # path → reason
    passed: set[str] = field(default_factory=lambda: set())  # uploads of corpora, which are indexed by those
    skipped: Counter[str] = field(default_factory=lambda: Counter[str]())  # files of other kinds, by suffix

    def covers(self, path: str) -> bool:
        """Whether `path` would have been found here, had it been there."""
        above = _upward(path)
        nearest = next((one for one in above if one in self._named or one in self.passed), None)
        return nearest in self._named and not any(one in self.blocked for one in above)

    @cached_property
    def _named(self) -> set[str]:
        """The roots, of maybe thousands: `covers` is asked about each of as many files."""
        return set(self.roots)

    @property
    def present(self) -> set[str]:
        """The paths that were found."""
        return {file.path for file in self.found}

    def hold_emptied(self, known: Collection[str]) -> None:
        """Block each root that held files of `known` and holds none now: it may be a disk that isn't mounted."""
        present = self.present
        for root in self.roots:
            if root in present or any(_inside(file.path, root) for file in self.found):
                continue  # first: a file itself, of maybe thousands that were named
            below = [path for path in known if path != root and _inside(path, root) and self.covers(path)]
            if below:
                self.blocked[root] = (
                    f"none of the {len(below)} files that were indexed from here is left (a disk that isn't mounted?):"
                    " their documents stay; --emptied lets them leave"
                )


def scan(paths: Sequence[str | Path]) -> Scan:
    """List the documents under `paths`: files with a suffix we know, and any file that is named itself.

    Hidden files and folders are left out, and corpora, unless they are named themselves: then what they keep of what
    was indexed is. Symbolic links to folders aren't followed. A path that doesn't exist is a root without files: the
    caller knows whether it was indexed before.
    """
    if not paths:
        raise UsageError("name at least one file or folder to index")
    result = Scan(roots=[absolute(path) for path in paths])
    seen: set[str] = set()
    for root in result.roots:
        if os.path.isdir(root):  # noqa: PTH112
            _walk(root, result, seen)
        elif os.path.lexists(root):
            _add(root, os.path.basename(root), result, seen)  # noqa: PTH119
    return result


def absolute(path: str | Path) -> str:
    """Links in the path stay as the person wrote them."""
    return os.path.abspath(Path(path).expanduser())  # noqa: PTH100


def _walk(root: str, result: Scan, seen: set[str]) -> None:
    def blocked(error: OSError) -> None:
        result.blocked[str(error.filename)] = error.strerror or str(error)

    for folder, folders, files in os.walk(root, onerror=blocked):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if is_corpus(Path(folder)):
            uploads = uploads_folder(Path(folder))
            if folder != root:
                folders[:] = []
                result.passed.add(str(uploads))
                continue
            made = {own.name for own in own_folders(Path(folder)) if own != uploads}
            folders[:] = [name for name in folders if name not in made]
        for name in sorted(files):
            path = os.path.join(folder, name)  # noqa: PTH118
            suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122
            if name.startswith(_HIDDEN):
                continue
            if suffix in SUFFIXES:
                _add(path, os.path.relpath(path, root), result, seen)
            else:
                result.skipped[suffix or "no suffix"] += 1


def _add(path: str, name: str, result: Scan, seen: set[str]) -> None:
    if path in seen:
        return
    seen.add(path)
    try:
        info = os.stat(path)  # noqa: PTH116
    except OSError as error:
        result.blocked[path] = error.strerror or str(error)
        return
    if stat.S_ISREG(info.st_mode):
        result.found.append(Found(path, name.replace(os.sep, "/"), info.st_size, info.st_mtime_ns))
    else:
        result.blocked[path] = "not a regular file"


def is_gone(path: str) -> bool:
    """Whether there is no such file, for sure: one that can't be looked at may be there."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _inside(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)


def _upward(path: str) -> list[str]:
    """A path and all folders above it, the nearest first."""
    above = [path]
    while (folder := os.path.dirname(above[-1])) != above[-1]:  # noqa: PTH120
        above.append(folder)
    return above


def content_id(path: str) -> str:
    """The id of a file's content: 96 bits of its SHA-256 as hex."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()[:_ID]


def content_id_of(data: bytes) -> str:
    """The same for a content that is in memory."""
    return hashlib.sha256(data).hexdigest()[:_ID]


def as_text(path: str) -> str:
    """A path as text that can be stored and shown, whatever bytes it is made of."""
    return os.fsencode(path).decode("utf-8", "replace")


def unique_name(found: Found, taken: Callable[[str], bool]) -> str:
    """The file's name, with as many parent folders before it as make it unique."""
    name = as_text(found.name)
    if not taken(name):
        return name
    parts = as_text(found.path).replace(os.sep, "/").split("/")
    for count in range(name.count("/") + 2, len(parts) + 1):
        longer = "/".join(parts[-count:])
        if not taken(longer):
            return longer
    number = 2  # two paths that differ only in bytes that are no text
    while taken(f"{name} ({number})"):
        number += 1
    return f"{name} ({number})"
