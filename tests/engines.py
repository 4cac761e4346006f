"""OCR engines and scans for tests: a scan is a plain grey page, and its level is what there is to read on it."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

from PIL import Image
from reportlab.pdfgen.canvas import Canvas

from vrag.corpus.text import Glyphs

STEP = 6  # grey levels between two scans, which JPEG keeps apart
BLANK, CRASHES, HANGS, RAISES = 0, 31, 32, 33  # numbers of scans on which the engine finds nothing, or fails
SIZE = (240, 320)


class Grey:
    """Reads "scan number N" on a page of the level of N, and notes N in the file that `OCR_LOG` names."""

    def __init__(self, threads: int) -> None:
        assert threads >= 1

    def read(self, image: Image.Image) -> list[Glyphs]:
        assert image.mode == "RGB"
        level = image.getpixel((image.width // 2, image.height // 2))
        assert isinstance(level, tuple)
        return self._read(round(level[0] / STEP), image)

    def _read(self, number: int, image: Image.Image) -> list[Glyphs]:
        if log := os.environ.get("OCR_LOG"):
            with Path(log).open("a") as file:
                file.write(f"{number}\n")
        if number == CRASHES:
            os.kill(os.getpid(), signal.SIGKILL)
        if number == HANGS:
            threading.Event().wait()
        if number == RAISES:
            raise RuntimeError("too faint")
        if number == BLANK:
            return []
        top = image.height / 4
        stamp = Glyphs("Page7", *stamp_box(image))  # as an engine would: the stamp, a little otherwise
        return [stamp, *(Glyphs(word, 50 * x, top, 50 * x + 40, top + 20) for x, word in enumerate(words(number)))]


class KillsParent(Grey):
    """The indexing process dies while the engine reads scan 4."""

    def _read(self, number: int, image: Image.Image) -> list[Glyphs]:
        if number == 4:
            os.kill(os.getppid(), signal.SIGKILL)
        return super()._read(number, image)


class Mended(Grey):
    """Reads the scans on which the other fails."""

    def _read(self, number: int, image: Image.Image) -> list[Glyphs]:
        return super()._read(1 if number in (CRASHES, RAISES, HANGS) else number, image)


class SaysForced(Grey):
    def _read(self, number: int, image: Image.Image) -> list[Glyphs]:
        return [Glyphs("forced", 10, 10, 60, 30)]


class Paragraphs(Grey):
    """Gives two lines in one box."""

    def _read(self, number: int, image: Image.Image) -> list[Glyphs]:
        return [Glyphs("two words\r\nand more\n", 10, 10, 90, 50), Glyphs("end", 100, 12, 120, 28)]


class AlwaysFails:
    def __init__(self, threads: int) -> None:
        pass

    def read(self, image: Image.Image) -> list[Glyphs]:
        raise RuntimeError("out of order")


def never_loads(threads: int) -> Grey:
    raise RuntimeError("no model here")


def dies_loading(threads: int) -> Grey:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def words(number: int) -> list[str]:
    return ["scan", "number", f"n{number}"]


def stamp_box(image: Image.Image) -> tuple[float, float, float, float]:
    return 0.04 * image.width, 0.95 * image.height, 0.2 * image.width, 0.98 * image.height


def scan(number: int) -> Image.Image:
    image = Image.new("RGB", SIZE, (number * STEP,) * 3)
    image.paste((255, 255, 255), (8, 8, 24, 24))  # a page of one colour is blank, and no engine looks at it
    return image


def write_scans(path: Path, numbers: list[int]) -> Path:
    """A TIFF with a page for each number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *rest = [scan(number) for number in numbers]
    first.save(path, save_all=True, append_images=rest)
    return path


def write_stamped(path: Path, number: int, stamp: str) -> Path:
    """A PDF whose one page is a scan, with a stamp in its text layer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scan(number).save(path.with_suffix(".png"))
    canvas = Canvas(str(path), pagesize=SIZE, invariant=1)
    canvas.drawImage(str(path.with_suffix(".png")), 0, 0, *SIZE)
    canvas.setFont("Helvetica", 8)
    canvas.drawString(12, 8, stamp)
    canvas.save()
    path.with_suffix(".png").unlink()
    return path
