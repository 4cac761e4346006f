"""OCR behind a tiny protocol, for pages that carry no text layer. The engine is the extra `vrag[ocr]`.

RapidOCR 3 (PP-OCR models inside the wheel, no download) reads Latin and Chinese with word boxes.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Protocol, TypeAlias

from PIL import Image

from vrag.corpus.text import Glyphs
from vrag.errors import UsageError
from vrag.imports import is_import_name

DEFAULT_ENGINE = "vrag.corpus.ocr:RapidOcr"
HINT = "pip install 'vrag[ocr]'"
_ENDS_WORD = "、。，；：！？"
_GLUED = re.compile(r"(?<=\d)(?=[A-Z][a-z]{2})")
Extent: TypeAlias = tuple[float, float, float, float]


class OcrEngine(Protocol):
    """Reads one page (RGB); words in reading order, boxes in raw pixels. Lives in a worker process, and is made there
    by a factory, "module:attribute", of the number of threads that it may use.
    """

    def read(self, image: Image.Image) -> list[Glyphs]: ...


def ocr_available() -> bool:
    """Whether the extra is installed; imports nothing of it."""
    return all(importlib.util.find_spec(name) is not None for name in ("rapidocr", "onnxruntime"))


def why_missing(name: str) -> str | None:
    """Why there is no such engine, as far as can be told without loading it. Raises `UsageError` for a bad name."""
    if not is_import_name(name):
        raise UsageError(f"OCR engine {name!r}: write module:attribute of an importable factory")
    if name == DEFAULT_ENGINE and not ocr_available():
        return f"OCR isn't installed: {HINT}"
    return None


def load_engine(name: str, threads: int) -> OcrEngine:
    """Raises whatever the import or the factory raises."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)(threads)


class RapidOcr:
    """The default engine. Loading takes about a second and 0.3 GB; keep one for many pages."""

    def __init__(self, threads: int) -> None:
        from rapidocr import RapidOCR  # pyright: ignore[reportMissingImports]

        engine = "EngineConfig.onnxruntime"
        self._engine: Any = RapidOCR(
            params={
                "Global.log_level": "error",
                f"{engine}.intra_op_num_threads": threads,
                f"{engine}.inter_op_num_threads": 1,
            }
        )

    def read(self, image: Image.Image) -> list[Glyphs]:
        import numpy as np

        pixels = np.asarray(image.convert("RGB"))[:, :, ::-1]  # the engine reads BGR
        found: Any = self._engine(pixels, return_word_box=True)
        if not found.txts:
            return []
        lines = [list(line_words(*line)) for line in zip(found.txts, found.word_results, strict=True)]
        return [word for line in in_rows([line for line in lines if line]) for word in line]


def in_rows(lines: Sequence[Sequence[Glyphs]]) -> list[Sequence[Glyphs]]:
    """Those that follow each other and stand side by side, from left to right: on a tilted page what stands further
    right may stand higher, and come first.
    """
    rows: list[list[Sequence[Glyphs]]] = []
    for line in lines:
        if rows and _beside(rows[-1][-1], line):
            rows[-1].append(line)
        else:
            rows.append([line])
    return [line for row in rows for line in sorted(row, key=lambda line: line[0].x1)]


def _beside(first: Sequence[Glyphs], second: Sequence[Glyphs]) -> bool:
    """Whether two lines share half of the lower one's height, and no place across."""
    (left1, top1, right1, low1), (left2, top2, right2, low2) = (
        (line[0].x1, min(w.y1 for w in line), line[-1].x2, max(w.y2 for w in line)) for line in (first, second)
    )
    shared = min(low1, low2) - max(top1, top2)
    return shared >= 0.5 * min(low1 - top1, low2 - top2) and (right1 <= left2 or right2 <= left1)


def line_words(text: str, pieces: Sequence[tuple[str, float, Sequence[Sequence[float]]]]) -> Iterator[Glyphs]:
    """The words of one line. `pieces` are (text, confidence, four corners) of a word or one character.

    Characters are put together into the words that the spaces of `text` and its punctuation delimit; where
    the pieces don't add up to the line (the engine drops some signs), each piece is a word of its own. The space that
    the engine leaves out after a number is put back: 11October.
    """
    text = _GLUED.sub(" ", text)
    boxed = [part for piece, _, corners in pieces if piece.strip() for part in _apart(piece, _extent(corners))]
    if "".join(piece for piece, _ in boxed) != "".join(text.split()):
        yield from (Glyphs("".join(piece.split()), *extent) for piece, extent in boxed)
        return
    rest = iter(boxed)
    for word in _split(text):
        taken, extents = "", list[Extent]()
        while len(taken) < len(word):
            piece, extent = next(rest, (None, None))
            if piece is None or extent is None:
                break
            taken += piece
            extents.append(extent)
        if extents:
            x1s, y1s, x2s, y2s = zip(*extents, strict=True)
            yield Glyphs("".join(taken.split()), min(x1s), min(y1s), max(x2s), max(y2s))


def _split(text: str) -> Iterator[str]:
    for word in text.split():
        start = 0
        for end, char in enumerate(word, 1):
            if char in _ENDS_WORD:
                yield word[start:end]
                start = end
        if start < len(word):
            yield word[start:]


def _apart(piece: str, extent: Extent) -> list[tuple[str, Extent]]:
    """A piece, cut after a number that a word is glued to; each part gets its share of the width."""
    x1, y1, x2, y2 = extent
    ends = [0, *(match.start() for match in _GLUED.finditer(piece)), len(piece)]
    places = [x1 + (x2 - x1) * end / len(piece) for end in ends]
    return [
        (piece[start:end], (left, y1, right, y2))
        for (start, end), (left, right) in zip(pairwise(ends), pairwise(places), strict=True)
    ]


def _extent(corners: Sequence[Sequence[float]]) -> Extent:
    xs, ys = [float(x) for x, _ in corners], [float(y) for _, y in corners]
    return min(xs), min(ys), max(xs), max(ys)
