"""Documents that come over HTTP, and that leave: files of the corpus's own folder for them, and of no other."""

from __future__ import annotations

import secrets
import shutil
from filecmp import cmp
from pathlib import Path
from typing import BinaryIO

from vrag.corpus.paths import uploads_folder
from vrag.corpus.reader import SUFFIXES, sniff
from vrag.corpus.store import Corpus
from vrag.errors import CorpusError, DocumentError, UnsupportedFormat, UsageError
from vrag.servers.agent.limits import MAX_NAME
from vrag.types import Frozen

_RESERVED = frozenset('/\\:*?"<>|')


class Received(Frozen):
    """What became of one file of an upload: it will be indexed, or says why not, by the kind of error."""

    name: str
    accepted: bool
    unchanged: bool = False  # the same file was there already
    kind: str | None = None
    reason: str | None = None


class Exists(DocumentError):
    """A different document was uploaded by this name before."""


def receive(folder: Path, name: str, content: BinaryIO, *, replace: bool) -> Received:
    """Keep an uploaded file for the corpus in `folder`. What is wrong with it is said in the answer; raises
    `CorpusError` when it can't be written.
    """
    shown = "".join(char if char.isprintable() else "�" for char in name)[:MAX_NAME]
    try:
        unchanged = _keep(uploads_folder(folder), checked_name(name), content, replace)
    except DocumentError as error:
        return Received(name=shown, accepted=False, kind=type(error).__name__, reason=str(error))
    return Received(name=shown, accepted=True, unchanged=unchanged)


def checked_name(name: str) -> str:
    """A name of a file, and of nothing else: no folder, no hidden file, of a kind that can be indexed."""
    if not name or name.startswith(".") or not name.isprintable() or _RESERVED & set(name):
        raise UnsupportedFormat("its name is none that a document can have: no folders, no control characters")
    if len(name.encode()) > MAX_NAME:
        raise UnsupportedFormat(f"its name is longer than {MAX_NAME} bytes")
    if not name.lower().endswith(SUFFIXES):
        raise UnsupportedFormat(f"its name doesn't end in one of {', '.join(SUFFIXES)}")
    return name


def remove(corpus: Corpus, document_id: str) -> list[str]:
    """Delete the uploaded files that hold a document; their names. Raises `CorpusError` for a document that isn't
    there, `UsageError` for one that wasn't uploaded.
    """
    held = corpus.files()
    if document_id not in held:
        raise CorpusError(f"no document {document_id} in corpus {corpus.folder}")
    own = [file for file in held[document_id] if _is_upload(corpus, file)]
    if not own:
        raise UsageError(
            "this document was indexed from a folder of the server: remove its file there and run `vrag index` again"
        )
    for file in own:
        file.unlink(missing_ok=True)
    return [file.name for file in own]


def uploaded_documents(corpus: Corpus) -> set[str]:
    """The ids of those that were uploaded."""
    return {id for id, files in corpus.files().items() if any(_is_upload(corpus, file) for file in files)}


def _is_upload(corpus: Corpus, file: Path) -> bool:
    return file.parent == uploads_folder(corpus.folder).absolute()


def _keep(uploads: Path, name: str, content: BinaryIO, replace: bool) -> bool:
    """Whether the same file was there already."""
    part = uploads / f".{secrets.token_hex(8)}{Path(name).suffix}"  # hidden: no run indexes it
    try:
        uploads.mkdir(exist_ok=True)
        try:
            with part.open("xb") as file:
                shutil.copyfileobj(content, file, 1 << 20)
            sniff(part)
            target = uploads / name
            if target.is_symlink() or target.exists():
                if target.is_file() and not target.is_symlink() and cmp(part, target, shallow=False):
                    return True
                if not replace:
                    raise Exists("another document of this name is there: remove it first, or upload with replace=true")
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise CorpusError(f"{uploads}: {error.strerror or error}: free some space there and upload again") from error
    return False
