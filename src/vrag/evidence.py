"""Pictures of where an answer stands: the page, and the box that the episode looked at."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from vrag.errors import VragError
from vrag.locate import Located
from vrag.protocols import PageStore
from vrag.types import Box

if TYPE_CHECKING:
    from PIL.Image import Image

NAMES = ("page", "crop")
_RED = (220, 20, 60)


def evidence_pictures(found: Located, store: PageStore) -> dict[str, Image]:
    """`page`, with the box drawn on it, and `crop`, the region at full resolution; without a box only the page. RGB.

    Raises what the store raises.
    """
    image = store.image(found.page.id)
    if not found.evidence.box:
        return {"page": image}
    return {"page": draw_box(image, found.region), "crop": image.crop(found.region.as_tuple())}


def save_pictures(pictures: Mapping[str, Image], folder: Path) -> dict[str, Path]:
    """Write `evidence_pictures` as page.png and crop.png; those of an earlier question go, also where there is nothing
    to write. Raises `VragError` when the folder can't be written.
    """
    files = {name: folder / f"{name}.png" for name in pictures}
    try:
        for name in NAMES:
            (folder / f"{name}.png").unlink(missing_ok=True)
        if files:
            folder.mkdir(parents=True, exist_ok=True)
        for name, file in files.items():
            pictures[name].save(file)
    except OSError as error:
        raise VragError(
            f"{folder}: can't save the evidence: {error.strerror or error}; choose another --out"
        ) from error
    return files


def draw_box(image: Image, box: Box) -> Image:
    """A copy with the box (raw pixels) outlined, a little outside of it."""
    from PIL import ImageDraw

    marked = image.convert("RGB").copy()
    width = max(3, min(image.size) // 250)
    x1, y1, x2, y2 = box.as_tuple()
    right, bottom = min(image.width - 1, x2 + width), min(image.height - 1, y2 + width)
    edges = (max(0, x1 - width), max(0, y1 - width), right, bottom)
    ImageDraw.Draw(marked).rectangle(edges, outline=_RED, width=width)
    return marked
