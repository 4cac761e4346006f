"""Where an answer stands: the page and the box that the episode looked at, and pictures of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vrag.errors import VragError
from vrag.protocols import PageStore
from vrag.rewards.answer import normalise
from vrag.types import Box, Evidence, Hit, Observation, Page, Turn, View

if TYPE_CHECKING:
    from PIL.Image import Image

_RED = (220, 20, 60)


@dataclass(frozen=True)
class Located:
    """`evidence.box` is relative and None for a page that wasn't cropped; `region` is in raw pixels."""

    evidence: Evidence
    page: Page
    region: Box


def locate(turns: Sequence[Turn], answer: str | None, store: PageStore) -> Located | None:
    """The last view of the page that the answer came from; None if nothing was shown.

    That is the last page shown (of several that one search showed, the best one), unless its text lacks the answer and
    the text of another one has it.
    """
    looks = [look for turn in reversed(turns) if turn.observation for look in _looks(turn.observation)]
    if not looks:
        return None
    look = _source(looks, answer, store)
    page = store.page(look.page_id)
    region = look.region if isinstance(look, View) else Box(x1=0, y1=0, x2=page.width, y2=page.height)
    whole = (region.width, region.height) == (page.width, page.height)
    box = None if whole else region.scaled(1 / page.width, 1 / page.height)
    return Located(Evidence(ref=look.ref, box=box), page, region)


def _looks(seen: Observation) -> Sequence[View | Hit]:
    """At images, or at pages as text; the best first."""
    return seen.views or seen.read


def _source(looks: Sequence[View | Hit], answer: str | None, store: PageStore) -> View | Hit:
    last = looks[0]
    if answer is None or store.page(last.page_id).text_source == "none":
        return last
    wanted = f" {normalise(answer)} "
    for look in looks:
        if wanted in f" {normalise(store.page(look.page_id).text)} ":
            return look
    return last


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
