"""Pictures of where an answer stands: the page, and the box that the episode looked at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vrag.errors import VragError
from vrag.locate import Located
from vrag.protocols import PageStore
from vrag.types import Box

if TYPE_CHECKING:
    from PIL.Image import Image

_RED = (220, 20, 60)


def save_evidence(found: Located, store: PageStore, folder: Path) -> dict[str, Path]:
    """Write page.png, with the box drawn on it, and crop.png, the region at full resolution.

    Without a box only the page is written. Raises `VragError` when the folder can't be written.
    """
    image = store.image(found.page.id)
    pictures = {"page": draw_box(image, found.region) if found.evidence.box else image}
    if found.evidence.box:
        pictures["crop"] = image.crop(found.region.as_tuple())
    files: dict[str, Path] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "crop.png").unlink(missing_ok=True)  # of an earlier question
        for name, picture in pictures.items():
            files[name] = folder / f"{name}.png"
            picture.save(files[name])
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
