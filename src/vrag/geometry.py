"""Coordinate frames, image sizes and crops: the only module that maps between them.

Three frames. *raw*: pixels of the stored page. *view*: pixels of an image the encoder saw (`View.width` x
`View.height`). *written*: what a model writes in `<bbox>`: view pixels for Qwen2.5-VL ("absolute"), 0..1000
over the view for Qwen3-VL ("relative1000"). `View.region` is in raw pixels however deep the crops are
nested, so one linear map serves pages, crops and crops of crops. The paper crops the same way (section 3.1,
eq. 1).

Every view has a size that the family's own image processor leaves alone: a multiple of `factor` within the
pixel budget and the processor's aspect-ratio limit. What the model saw and what its coordinates mean can't
disagree then.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from vrag.errors import BudgetExceeded, InvariantError
from vrag.types import Box, Frozen, Page, View

if TYPE_CHECKING:
    from PIL.Image import Image

Frame = Literal["absolute", "relative1000"]

MAX_ASPECT = 200  # Qwen2-VL's processor refuses longer images
_EPSILON = 1e-6  # float noise that must not move an edge to the next pixel


class ViewSpec(Frozen):
    """How pages and crops are shown to one model family. The default budgets are the paper's.

    `factor` is patch size x merge size: 28 for Qwen2.5-VL, 32 for Qwen3-VL. `min_crop` (raw pixels) is the
    least side of a crop, so that a box of one pixel still shows something.
    """

    frame: Frame = "absolute"
    factor: int = Field(default=28, ge=1)
    min_pixels: int = Field(default=256 * 28 * 28, ge=1)
    max_pixels: int = Field(default=512 * 28 * 28, ge=1)
    min_crop: int = Field(default=28, ge=1)

    @model_validator(mode="after")
    def _admits_a_size(self) -> ViewSpec:
        if not 1 <= self.min_pixels <= self.max_pixels:
            raise ValueError(f"min_pixels {self.min_pixels} is above max_pixels {self.max_pixels}")
        if not _sizes(self.factor, self.min_pixels, self.max_pixels):
            raise ValueError(
                f"no image with sides that are multiples of {self.factor} has {self.min_pixels} to "
                f"{self.max_pixels} pixels; widen the budget to hold a multiple of {self.factor**2}"
            )
        return self


def smart_resize(height: int, width: int, factor: int, min_pixels: int, max_pixels: int) -> tuple[int, int]:
    """(height, width) that Qwen2-VL's image processor gives an image: multiples of `factor`, near the budget.

    Raises `BudgetExceeded` for an aspect ratio above `MAX_ASPECT`, as the processor does; `view_size`
    doesn't.
    """
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise BudgetExceeded(f"an image of {width}x{height} pixels is longer than {MAX_ASPECT}:1; split it")
    rows, columns = round(height / factor), round(width / factor)
    if rows * columns * factor**2 > max_pixels:
        shrink = math.sqrt(height * width / max_pixels)
        rows = max(1, math.floor(height / shrink / factor))
        columns = max(1, math.floor(width / shrink / factor))
    elif rows * columns * factor**2 < min_pixels:
        grow = math.sqrt(min_pixels / (height * width))
        rows = math.ceil(height * grow / factor)
        columns = math.ceil(width * grow / factor)
    return rows * factor, columns * factor


def view_size(height: int, width: int, spec: ViewSpec) -> tuple[int, int]:
    """(height, width) of a region's view: `smart_resize` where that is stable, else the nearest stable size.

    Unstable are sizes that the processor would refuse or resize again: longer than `MAX_ASPECT` to 1, or
    outside the budget after rounding. They get the admissible size of the nearest aspect ratio, and the
    image is stretched to it; coordinates stay exact because each axis is mapped on its own.
    """
    budget = (spec.factor, spec.min_pixels, spec.max_pixels)
    if max(height, width) <= MAX_ASPECT * min(height, width):
        size = smart_resize(height, width, *budget)
        if _stable(*size, spec):
            return size
    sizes, ratio = _sizes(*budget), math.log(height / width)
    return min(sizes, key=lambda size: (abs(math.log(size[0] / size[1]) - ratio), -size[0] * size[1]))


def _stable(height: int, width: int, spec: ViewSpec) -> bool:
    inside = spec.min_pixels <= height * width <= spec.max_pixels
    return inside and max(height, width) <= MAX_ASPECT * min(height, width)


@lru_cache(maxsize=64)
def _sizes(factor: int, min_pixels: int, max_pixels: int) -> list[tuple[int, int]]:
    """All (height, width) of multiples of `factor` within the budget and `MAX_ASPECT`."""
    most, least = max_pixels // factor**2, math.ceil(min_pixels / factor**2)
    sizes: list[tuple[int, int]] = []
    for rows in range(1, min(most, math.isqrt(MAX_ASPECT * most)) + 1):
        low = max(math.ceil(least / rows), math.ceil(rows / MAX_ASPECT))
        high = min(most // rows, rows * MAX_ASPECT)
        sizes += [(rows * factor, columns * factor) for columns in range(low, high + 1)]
    return sizes


def page_view(page: Page, spec: ViewSpec) -> View:
    """The whole page within the budget."""
    return _view(page, Box(x1=0, y1=0, x2=page.width, y2=page.height), spec)


def as_seen(view: View, spec: ViewSpec) -> View:
    """The same part of the page at the size at which a model of `spec` sees it."""
    height, width = view_size(round(view.region.height), round(view.region.width), spec)
    return view.model_copy(update={"width": width, "height": height})


def crop_view(page: Page, view: View, box: Box, spec: ViewSpec, padding: float = 0) -> View:
    """The view of `box` (written in `spec.frame` over `view`), cut from the raw page.

    One rule for every caller: the box is clamped to `view`, for the model can point only at what it saw;
    `padding`, in pixels of `view`, is added on each side; what is narrower than `spec.min_crop` grows
    around its middle; the result is clamped to the *page*, not to the parent crop, so padding shows what a
    tight parent cut off. The region is whole raw pixels, rounded outwards.
    """
    raw = _clamp(to_raw(view, box, spec.frame), view.region)
    pad_x = padding * view.region.width / view.width
    pad_y = padding * view.region.height / view.height
    shortest = max(spec.min_crop, max(raw.width, raw.height) / MAX_ASPECT)
    x1, x2 = _span(raw.x1 - pad_x, raw.x2 + pad_x, shortest, page.width)
    y1, y2 = _span(raw.y1 - pad_y, raw.y2 + pad_y, shortest, page.height)
    return _view(page, Box(x1=x1, y1=y1, x2=x2, y2=y2), spec)


def to_raw(view: View, box: Box, frame: Frame) -> Box:
    """A box as written over `view`, in raw pixels; not clamped, not rounded."""
    width, height = extent(view, frame)
    region = view.region  # multiplied before divided: the view's far edge is the region's, to the last bit
    return Box(
        x1=region.x1 + box.x1 * region.width / width,
        y1=region.y1 + box.y1 * region.height / height,
        x2=region.x1 + box.x2 * region.width / width,
        y2=region.y1 + box.y2 * region.height / height,
    )


def from_raw(view: View, box: Box, frame: Frame) -> Box:
    """A raw box as the model would write it over `view`: whole numbers, inside the view, at least 1 x 1."""
    x, y = _scale(view, frame)
    width, height = extent(view, frame)
    x1, x2 = _whole((box.x1 - view.region.x1) / x, (box.x2 - view.region.x1) / x, width)
    y1, y2 = _whole((box.y1 - view.region.y1) / y, (box.y2 - view.region.y1) / y, height)
    return Box(x1=x1, y1=y1, x2=x2, y2=y2)


def block_at(view: View, box: Box, factor: int) -> int:
    """Which of a view's blocks of `factor` x `factor` pixels, row by row, shows the middle of a raw box: the image
    token that stands for it.
    """
    columns, rows = view.width // factor, view.height // factor
    column = int(((box.x1 + box.x2) / 2 - view.region.x1) / view.region.width * columns)
    row = int(((box.y1 + box.y2) / 2 - view.region.y1) / view.region.height * rows)
    return min(max(row, 0), rows - 1) * columns + min(max(column, 0), columns - 1)


def extent(view: View, frame: Frame) -> tuple[int, int]:
    """(width, height) of `view` in the written frame: the largest x2 and y2 that lie inside it."""
    return (1000, 1000) if frame == "relative1000" else (view.width, view.height)


def render(image: Image, view: View) -> Image:
    """What the encoder sees of the raw page `image`: the region, resized (bicubic) to the view's size; RGB.

    Raises `InvariantError` when the region doesn't lie in the image: the page and its image disagree.
    """
    from PIL import Image as pil

    x1, y1, x2, y2 = region = view.region.as_tuple()
    if not (0 <= x1 < x2 <= image.width and 0 <= y1 < y2 <= image.height):
        raise InvariantError(
            f"region {region} of page {view.page_id} ({view.ref.document}, page {view.ref.page}) is outside "
            f"its image of {image.width}x{image.height} pixels; index the document again"
        )
    # crop first: resize(box=…) would let pixels from outside the region bleed into its edge
    part = image if region == (0, 0, *image.size) else image.crop(region)
    part = part if part.mode == "RGB" else part.convert("RGB")  # convert copies, and a whole page has 11 MB
    return part.resize((view.width, view.height), pil.Resampling.BICUBIC)


def _view(page: Page, region: Box, spec: ViewSpec) -> View:
    height, width = view_size(round(region.height), round(region.width), spec)
    return View(page_id=page.id, ref=page.ref, region=region, width=width, height=height)


def _scale(view: View, frame: Frame) -> tuple[float, float]:
    """Raw pixels per written unit, on each axis."""
    width, height = extent(view, frame)
    return view.region.width / width, view.region.height / height


def _clamp(box: Box, bounds: Box) -> Box:
    return Box(
        x1=min(max(box.x1, bounds.x1), bounds.x2),
        y1=min(max(box.y1, bounds.y1), bounds.y2),
        x2=min(max(box.x2, bounds.x1), bounds.x2),
        y2=min(max(box.y2, bounds.y1), bounds.y2),
    )


def _span(low: float, high: float, shortest: float, limit: int) -> tuple[int, int]:
    """Whole pixels around low..high in 0..limit; a span below `shortest` grows, inwards at an edge."""
    low, high = max(0.0, low), min(float(limit), high)
    if high - low < shortest:
        shortest = min(shortest, limit)
        low = min(max(0.0, (low + high - shortest) / 2), limit - shortest)
        high = low + shortest
    return math.floor(low + _EPSILON), math.ceil(high - _EPSILON)


def _whole(low: float, high: float, limit: int) -> tuple[int, int]:
    first = min(max(round(low), 0), limit - 1)
    return first, min(max(round(high), first + 1), limit)
