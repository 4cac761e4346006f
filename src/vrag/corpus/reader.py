"""One way to open any document: its kind by content, its page count, and a function that reads a page.

A new kind of document is one context manager and one line in `OPENERS`. An office document is none of them: it is
converted first (`vrag.corpus.conversion`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL.Image import Image

from vrag.corpus import office
from vrag.corpus.text import Glyphs
from vrag.errors import UnreadableDocument, UnsupportedFormat

SUFFIXES = (".pdf", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", *office.SUFFIXES)


@dataclass(frozen=True)
class Opened:
    """An open document. `read(number, dpi)` gives page `number` (from 1) as RGB (mode "RGB" or "RGBX"), its
    words in raw pixels, and whether it is a scan with more to read than these words (`vrag.corpus.scans`).
    """

    kind: str
    count: int
    read: Callable[[int, int], tuple[Image, list[Glyphs], bool]]


def readable_suffixes() -> tuple[str, ...]:
    """Those of `SUFFIXES` that can be read here: office documents only with LibreOffice."""
    return SUFFIXES if office.find_soffice() else tuple(one for one in SUFFIXES if one not in office.SUFFIXES)


def open_document(path: Path, kind: str) -> AbstractContextManager[Opened]:
    """Open what `sniff` says is of that kind. Raises a `DocumentError` that says why it can't be read."""
    return OPENERS[kind](path)


def sniff(path: Path) -> str:
    """ "pdf", "image" or "office", from the first bytes, whatever the name says. Raises a `DocumentError`."""
    with path.open("rb") as file:
        head = file.read(1024)
    if not head:
        raise UnreadableDocument("the file is empty")
    if head.lstrip().startswith(b"%PDF-"):
        return "pdf"
    if head.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "image"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image"
    if office.is_office(head, path.suffix):
        return "office"
    if b"%PDF-" in head:  # last: a web page or a table may say so too
        return "pdf"
    raise UnsupportedFormat("its content is neither a PDF, a PNG, JPEG, TIFF or WebP image, nor an office document")


@contextmanager
def _pdf(path: Path) -> Generator[Opened]:
    from vrag.corpus.pdf import open_pdf, read_page

    with open_pdf(path) as document:
        yield Opened("pdf", len(document), lambda number, dpi: read_page(document, number, dpi))


@contextmanager
def _image(path: Path) -> Generator[Opened]:
    from vrag.corpus.images import count_frames, open_image, read_frame

    with open_image(path) as image:
        yield Opened("image", count_frames(image), lambda number, _: (read_frame(image, number), [], False))


OPENERS: dict[str, Callable[[Path], AbstractContextManager[Opened]]] = {"pdf": _pdf, "image": _image}
