"""Page images as they are asked for: whole or in part, smaller where that is enough."""

from __future__ import annotations

import math
from io import BytesIO

from vrag.corpus.store import Corpus
from vrag.errors import CorpusError, UsageError
from vrag.servers.agent.limits import MAX_WIDTH
from vrag.servers.pages import stored_image
from vrag.types import Box

_QUALITY = 85


def parsed_box(text: str) -> Box:
    """ "x1,y1,x2,y2" in fractions of the page. Raises `UsageError`."""
    try:
        x1, y1, x2, y2 = (float(part) for part in text.split(","))
    except ValueError:
        x1 = y1 = x2 = y2 = math.nan
    return checked_box(Box(x1=x1, y1=y1, x2=x2, y2=y2))


def checked_box(box: Box) -> Box:
    """Raises `UsageError` for what is no part of a page."""
    if not (0 <= box.x1 < box.x2 <= 1 and 0 <= box.y1 < box.y2 <= 1):
        raise UsageError("a box is x1,y1,x2,y2 in fractions of the page, 0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1")
    return box


def picture(corpus: Corpus, page_id: str, box: Box | None, width: int | None) -> bytes:
    """JPEG. `box` is in fractions of the page, `width` in pixels, of which there are never more than in the stored
    image. Raises as `stored_image`.
    """
    stored = stored_image(corpus, page_id)
    if box is None and width is None:
        return stored
    from PIL import Image

    try:
        with Image.open(BytesIO(stored), formats=["JPEG"]) as image:
            size = image.size
            if box is None and width is not None:
                image.draft("RGB", (width, max(1, size[1] * width // size[0])))  # decodes a smaller one, where it can
            part = image.convert("RGB")
    except OSError as error:
        raise CorpusError(f"the image of page {page_id} is damaged: {error}") from error
    if box is not None:
        part = part.crop(_whole(box, *size))
    wide = min(width or MAX_WIDTH, part.width)
    if wide < part.width:
        part = part.resize((wide, max(1, round(part.height * wide / part.width))), Image.Resampling.LANCZOS)
    made = BytesIO()
    part.save(made, "JPEG", quality=_QUALITY)
    return made.getvalue()


def _whole(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """In whole pixels, rounded outwards, at least one."""
    x1, y1 = min(width - 1, math.floor(box.x1 * width + 1e-3)), min(height - 1, math.floor(box.y1 * height + 1e-3))
    x2, y2 = min(width, math.ceil(box.x2 * width - 1e-3)), min(height, math.ceil(box.y2 * height - 1e-3))
    return x1, y1, max(x1 + 1, x2), max(y1 + 1, y2)
