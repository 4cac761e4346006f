"""Image files as pages: opened from the header within a pixel budget, and converted to plain upright RGB.

Nothing is decoded before the header has passed the budget, so an image bomb costs milliseconds. TIFF frames
are pages; of an animation (WebP, PNG) and of a multi-picture JPEG the first frame is the page.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, cast

from PIL import Image, UnidentifiedImageError

from vrag.corpus.limits import PAGES, check_pixels, stored_scale
from vrag.errors import BudgetExceeded, UnreadableDocument, UnsupportedFormat

FORMATS = ("JPEG", "PNG", "TIFF", "WEBP")
_ORIENTATION = 0x0112
_DAMAGE = (OSError, ValueError, SyntaxError, EOFError, KeyError, TypeError, struct.error)
_UPRIGHT = {  # EXIF orientation → the transposition that undoes it
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@contextmanager
def open_image(file: Path | bytes) -> Generator[Image.Image]:
    """An image, of a path or the file itself, that is within budget and not yet decoded; raises a `DocumentError` that
    says why not.
    """
    size = len(file) if isinstance(file, bytes) else file.stat().st_size
    if size == 0:
        raise UnreadableDocument("the file is empty")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own budget is the one that counts
        try:
            image = Image.open(BytesIO(file) if isinstance(file, bytes) else file, formats=FORMATS)
        except UnidentifiedImageError as error:
            raise UnsupportedFormat("neither a PDF nor a readable PNG, JPEG, TIFF or WebP image") from error
        except Image.DecompressionBombError as error:
            raise BudgetExceeded(f"the image is too large: {error}") from error
        except _DAMAGE as error:
            raise UnreadableDocument(f"the image is damaged: {error}") from error
        with image:
            check_pixels(*image.size)
            yield image


def count_frames(image: Image.Image) -> int:
    """Pages in the file: the frames of a TIFF up to the first that is damaged, that one too, else 1."""
    if image.format != "TIFF":
        return 1
    frames = 1
    try:
        while frames <= PAGES:
            image.seek(frames)
            frames += 1
    except EOFError:
        pass
    except _DAMAGE:
        frames += 1  # what follows it can't be found
    if frames > PAGES:
        raise BudgetExceeded(f"more than the {PAGES} frames allowed: split the file")
    image.seek(0)
    return frames


def read_frame(image: Image.Image, number: int) -> Image.Image:
    """Frame `number` (1-based) as upright RGB, scaled down where it is above the budget of a stored page."""
    try:
        if number > 1:
            image.seek(number - 1)
            check_pixels(*image.size)
        image.load()
    except _DAMAGE as error:
        raise UnreadableDocument(f"the image is damaged: {error}") from error
    upright = _upright(_to_rgb(image), image)
    scale = stored_scale(*upright.size)
    if scale == 1.0:
        return upright
    size = max(1, int(upright.width * scale)), max(1, int(upright.height * scale))
    return upright.resize(size, Image.Resampling.LANCZOS)


def _to_rgb(image: Image.Image) -> Image.Image:
    """RGB of any mode: deep grey scaled down to 8 bits, transparency over white."""
    if image.mode.startswith("I") or image.mode == "F":
        return _deep_grey(image).convert("RGB")
    if image.mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in image.info:
        rgba = image.convert("RGBA")
        page = Image.new("RGB", rgba.size, "white")
        page.paste(rgba, mask=rgba.getchannel("A"))
        return page
    return image.convert("RGB")


def _deep_grey(image: Image.Image) -> Image.Image:
    """16-bit integers by their top byte; 32-bit integers and floats stretched over their own range."""
    wide = image.convert("F")
    low, high = cast("tuple[float, float]", wide.getextrema())
    if image.mode.startswith("I;16") or (image.mode == "I" and low >= 0 and 255 < high <= 65535):
        low, high = 0.0, 65535.0
    elif image.mode == "I" and low >= 0 and high <= 255:
        low, high = 0.0, 255.0
    scale = 255.0 / (high - low) if high > low else 0.0
    offset = -low * scale
    return wide.point(lambda value: cast(Any, value) * scale + offset).convert("L")


def _upright(pixels: Image.Image, source: Image.Image) -> Image.Image:
    """Undo the rotation that the camera noted; unreadable EXIF notes none."""
    try:
        orientation = source.getexif().get(_ORIENTATION, 1)
    except _DAMAGE:
        return pixels
    turn = _UPRIGHT.get(orientation)
    return pixels if turn is None else pixels.transpose(turn)
