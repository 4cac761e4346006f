"""The process that touches documents: started by `vrag.corpus.pool`, and killed by it when it hangs.

    python -m vrag.corpus.worker SETTINGS      SETTINGS: {"folder", "dpi", "memory"} as JSON;
                                               for OCR also {"engine", "threads"}

One JSON object a line. It says {"ready": true}, or {"unready": reason} and ends; then takes one job after the other on
stdin and answers each with messages that end in {"done": true}:

    {"op": "read", "path", "document", "size", "mtime_ns", "pages": [1, 2, …]}
        → {"kind": "pdf" | "image", "count": n}, then for each page {"page": n, …} or
          {"page": n, "failed", "reason"};
          {"failed", "reason"} alone when the file as a whole can't be read;
          {"office": true} alone when it is to be converted first
    {"op": "convert", "path", "document", "size", "mtime_ns", "soffice"}
        → {"converted": true} when the PDF is in the corpus, or {"failed", "reason"}
    {"op": "ocr", "id", "page", "words"}
        → {"page": n, …}: the words of a stored page image beside those of its text layer, or no words when there are
          no others

`failed` is the name of an error class. {"fatal": reason} means that the corpus, not the document, is at
fault. A page's image is in the corpus before its message is sent. pdfium may print to stdout, so the protocol
moves to a descriptor of its own.
"""

from __future__ import annotations

import base64
import io
import json
import os
import queue
import secrets
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL import Image

from vrag.corpus.lines import assemble
from vrag.corpus.ocr import load_engine
from vrag.corpus.office import suffix_of, to_pdf
from vrag.corpus.paths import converted_file, page_file, page_id, unfinished_conversions, unfinished_pages
from vrag.corpus.reader import open_document, sniff
from vrag.corpus.scans import is_blank
from vrag.corpus.text import Glyphs, pack, unpack, unseen
from vrag.errors import DocumentError, UnreadableDocument
from vrag.index.lexical import index_text

Message = dict[str, Any]
_QUALITY = {"pdf": 90, "image": 95}  # JPEG: an image file has usually lost some quality before


class StoreFault(Exception):
    """The corpus folder can't be written: a fault of the corpus, not of the document."""


class Worker:
    """One corpus, many jobs; an OCR engine, if there is one, is loaded at once."""

    def __init__(self, settings: Message) -> None:
        self.folder = Path(settings["folder"])
        self.dpi = int(settings["dpi"])
        name = settings.get("engine")
        self._engine = load_engine(name, int(settings["threads"])) if name else None

    def answer(self, job: Message) -> Iterator[Message]:
        """Every message of a job but the last."""
        steps: dict[str, Callable[[Message], Iterator[Message]]]
        steps = {"read": self._read, "convert": self._convert, "ocr": self._ocr_page}
        try:
            yield from steps[job["op"]](job)
        except StoreFault as fault:
            yield {"fatal": str(fault)}
        except Exception as error:  # noqa: BLE001  the boundary: any failure of a document is data
            yield _failure(error)

    def _read(self, job: Message) -> Iterator[Message]:
        path = _unchanged(job)
        kind = sniff(path)
        if kind == "office":
            yield {"office": True}
            return
        with open_document(path, kind) as document:
            yield {"kind": document.kind, "count": document.count}
            for number in job["pages"]:
                if number > document.count:
                    break
                try:
                    image, glyphs, scanned = document.read(number, self.dpi)
                    self._save(image, page_id(job["document"], number), _QUALITY[document.kind])
                    blank = not glyphs and is_blank(image)
                    yield {"page": number, "scanned": scanned, "blank": blank, **_content(glyphs, image)}
                except StoreFault:
                    raise
                except Exception as error:  # noqa: BLE001  the boundary: a bad page stops no other
                    yield {"page": number, **_failure(error)}

    def _convert(self, job: Message) -> Iterator[Message]:
        path, final = _unchanged(job), converted_file(self.folder, job["document"])
        suffix = suffix_of(path)
        private = unfinished_conversions(self.folder) / str(os.getpid())
        try:
            private.mkdir(parents=True)
            made = to_pdf(path, suffix, private, job["soffice"])
            with made.open("rb+") as file:
                os.fsync(file.fileno())
            made.replace(final)
        except OSError as error:
            raise StoreFault(f"{error.strerror or error}: {private}") from error
        finally:
            shutil.rmtree(private, ignore_errors=True)
        yield {"converted": True}

    def _ocr_page(self, job: Message) -> Iterator[Message]:
        assert self._engine is not None
        packed = base64.b64decode(job["words"])
        layer = unpack(packed) if packed else []
        with Image.open(page_file(self.folder, job["id"])) as stored:
            image = stored.convert("RGB")
        new = unseen(_in_lines(self._engine.read(image)), layer)
        kept = [Glyphs(word.text, *word.box.as_tuple()) for word in layer] if new else []
        yield {"page": job["page"], **_content([*kept, *new], image)}

    def _save(self, image: Image.Image, id: str, quality: int) -> None:
        """Write the page image so that it is there whole or not at all."""
        encoded = io.BytesIO()
        image.save(encoded, "JPEG", quality=quality)
        final = page_file(self.folder, id)
        temporary = unfinished_pages(self.folder) / f"{id}.{secrets.token_hex(4)}"  # other machines may be at it too
        try:
            final.parent.mkdir(exist_ok=True)
            with temporary.open("wb") as file:
                file.write(encoded.getbuffer())
                file.flush()
                os.fsync(file.fileno())  # the row that makes the page visible must never outlive its pixels
            temporary.replace(final)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink()
            raise StoreFault(f"{error.strerror or error}: {final}") from error


def _unchanged(job: Message) -> Path:
    """The file that a job is about, as the catalogue knows it."""
    path = Path(job["path"])
    stat = path.stat()
    if (stat.st_size, stat.st_mtime_ns) != (job["size"], job["mtime_ns"]):
        raise UnreadableDocument("the file changed while it was being read: run the command again")
    return path


def _content(glyphs: list[Glyphs], image: Image.Image) -> Message:
    """Everything about a page but its pixels, ready for the catalogue; bytes as base64."""
    page = assemble(glyphs, image.width, image.height)
    return {
        "width": image.width,
        "height": image.height,
        "text": page.text,
        "words": base64.b64encode(pack(page.placed)).decode() if page.placed else "",
        "index": index_text(page.text),
    }


def _in_lines(read: Iterable[Glyphs]) -> Iterator[Glyphs]:
    """Each line by itself: an engine of one's own may give several in one box, and a word is stored in one line."""
    for glyph in read:
        lines = [line for line in glyph.text.splitlines() if line]
        if lines == [glyph.text]:
            yield glyph
            continue
        height = (glyph.y2 - glyph.y1) / max(1, len(lines))
        for place, line in enumerate(lines):
            top = glyph.y1 + place * height
            yield Glyphs(line, glyph.x1, top, glyph.x2, top + height)


def _failure(error: Exception) -> Message:
    if isinstance(error, DocumentError):
        return {"failed": type(error).__name__, "reason": str(error)}
    if isinstance(error, MemoryError):
        return {"failed": "BudgetExceeded", "reason": "needs more memory than one page may use"}
    return {"failed": UnreadableDocument.__name__, "reason": f"{type(error).__name__}: {error}"[:500]}


def _limit_memory(limit: int) -> None:
    """Let a page that asks for too much fail on its own, not take the machine down (not on Windows)."""
    if limit <= 0 or sys.platform == "win32":
        return
    import resource

    with suppress(ValueError, OSError):  # a lower limit may already be in force
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _jobs(lines: Any) -> queue.Queue[str]:
    """Jobs as they come. When stdin closes, the parent has died: so does the worker, even amid a page, with what it
    started.
    """
    jobs: queue.Queue[str] = queue.Queue()

    def listen() -> None:
        for line in lines:
            jobs.put(line)
        if sys.platform != "win32" and os.getpgid(0) == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    return jobs


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    settings: Message = json.loads(sys.argv[1])
    _limit_memory(int(settings["memory"]))
    output = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)

    def say(message: Message) -> None:
        output.write(json.dumps(message) + "\n")
        output.flush()

    try:
        worker = Worker(settings)
    except Exception as error:  # noqa: BLE001  the boundary: whatever an engine's import or factory raises
        say({"unready": f"OCR engine {settings['engine']} doesn't load: {type(error).__name__}: {error}"[:500]})
        return
    say({"ready": True})
    jobs = _jobs(sys.stdin)
    while True:
        job: Message = json.loads(jobs.get())
        for message in worker.answer(job):
            say(message)
        say({"done": True})


if __name__ == "__main__":
    main()
