"""Documents that come over HTTP, and that leave: files of the corpus's own folder for them, and of no other."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from filecmp import cmp
from pathlib import Path
from typing import BinaryIO

from vrag.corpus.files import content_id
from vrag.corpus.paths import uploads_folder
from vrag.corpus.reader import SUFFIXES, sniff
from vrag.corpus.store import Corpus
from vrag.database import write_error
from vrag.errors import CorpusError, DocumentError, UnsupportedFormat, UsageError
from vrag.servers.agent.limits import MAX_NAME
from vrag.types import Frozen

_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)  # of a file system without
_TAKEN = "another document of this name is there: remove it first, or upload with replace=true"
_RESERVED = frozenset('/\\:*?"<>|')


class Received(Frozen):
    """What became of one file of an upload: it will be indexed, or says why not, by the kind of error. `document`: what
    the corpus calls the document that it is, where it has that already: then nothing is kept.
    """

    name: str
    accepted: bool
    unchanged: bool = False  # the same content was there already
    document: str | None = None
    kind: str | None = None
    reason: str | None = None


class Exists(DocumentError):
    """A different document was uploaded by this name before."""


def receive(folder: Path, name: str, content: BinaryIO, *, replace: bool) -> Received:
    """Keep an uploaded file for the corpus in `folder`. What is wrong with it is said in the answer; raises
    `CorpusError` when it can't be written.
    """
    try:
        present = _keep(folder, checked_name(name), content, replace)
    except DocumentError as error:
        return refused(name, error, str(error))
    return Received(name=_shown(name), accepted=True, unchanged=present is not None, document=present)


def refused(name: str, error: Exception, reason: str) -> Received:
    """What became of a file that isn't kept."""
    return Received(name=_shown(name), accepted=False, kind=type(error).__name__, reason=reason)


def _shown(name: str) -> str:
    return "".join(char if char.isprintable() else "�" for char in name)[:MAX_NAME]


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
    """Delete the uploaded files that hold a document; their names, without those that have become other documents and
    aren't indexed yet. Raises `CorpusError` for a document that isn't there or can't be deleted, `UsageError` for one
    that wasn't uploaded, or that a folder of the server holds as well.
    """
    held = list(corpus.holders(document_id).values())
    if not held:
        raise CorpusError(f"no document {document_id} in corpus {corpus.folder}")
    if not all(_is_upload(corpus, file) for file in held):
        raise UsageError(
            "this document was indexed from a folder of the server: remove its file there and run `vrag index` again"
        )
    try:
        own = [file for file in held if not file.exists() or content_id(str(file)) == document_id]
        for file in own:
            file.unlink(missing_ok=True)
    except OSError as error:
        raise write_error(error)(f"{error.filename}: can't be deleted: {error.strerror or error}") from error
    return [file.name for file in own]


def uploaded_documents(corpus: Corpus) -> set[str]:
    """The ids of those that were uploaded, and that no folder of the server holds as well."""
    return {id for id, files in corpus.files().items() if all(_is_upload(corpus, file) for file in files)}


def _is_upload(corpus: Corpus, file: Path) -> bool:
    return file.parent == uploads_folder(corpus.folder).absolute()


def _keep(folder: Path, name: str, content: BinaryIO, replace: bool) -> str | None:
    """What the corpus calls the document, where it has it already."""
    uploads = uploads_folder(folder)
    part = uploads / f".{secrets.token_hex(8)}{Path(name).suffix}"  # hidden: no run indexes it
    try:
        uploads.mkdir(exist_ok=True)
        try:
            with part.open("xb") as file:
                shutil.copyfileobj(content, file, 1 << 20)
            sniff(part)
            target = uploads / name
            taken = target.is_symlink() or target.exists()
            if _same(part, target):
                return _present(folder, part) or name
            present = None if taken and replace else _present(folder, part)
            if present is not None:
                return present
            if replace:
                part.replace(target)
            elif not _placed(part, target):
                return name
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        fix = "free some space there" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "let the server write there"
        raise write_error(error)(f"{uploads}: {error.strerror or error}: {fix} and upload again") from error
    return None


def _placed(part: Path, target: Path) -> bool:
    """Give it its name, which nothing else has; False where the same content came by that name in this moment."""
    try:
        os.link(part, target)  # unlike a rename, never in the place of what another upload has just put there
    except OSError as error:
        if error.errno not in (errno.EEXIST, *_NO_LINKS):
            raise
        if _same(part, target):
            return False
        if os.path.lexists(target):
            raise Exists(_TAKEN) from None
        part.replace(target)
    return True


def _same(part: Path, target: Path) -> bool:
    return target.is_file() and not target.is_symlink() and cmp(part, target, shallow=False)


def _present(folder: Path, part: Path) -> str | None:
    """The name of a file that the corpus was made from, that has the same content and is still there."""
    with Corpus.open(folder) as corpus:
        held = corpus.holders(content_id(str(part)))
    size = part.stat().st_size
    return next((name for name, file in held.items() if file.is_file() and file.stat().st_size == size), None)
