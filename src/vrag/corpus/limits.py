"""Budgets of one page. What is above a hard limit is refused with its figure; the rest is scaled down."""

from __future__ import annotations

from vrag.errors import BudgetExceeded

STORED_PIXELS = 32_000_000  # a stored page is scaled down to this many
STORED_SIDE = 65_000  # and to this many a side: JPEG ends at 65,500
DECODED_PIXELS = 100_000_000  # an image file above this is refused from its header
ASPECT = 200.0  # longer strips can't be shown to any of the supported encoders
PAGES = 100_000  # of one document


def check_shape(width: float, height: float, what: str) -> None:
    """Raise `BudgetExceeded` for an empty side or a strip; any unit."""
    if width <= 0 or height <= 0:
        raise BudgetExceeded(f"{what} is {width:g} x {height:g}: it has no area")
    if max(width, height) > ASPECT * min(width, height):
        raise BudgetExceeded(f"{what} is {width:g} x {height:g}: a strip longer than {ASPECT:g} times its width")


def check_pixels(width: int, height: int) -> None:
    """Raise `BudgetExceeded` for an image that would be too large to decode."""
    check_shape(width, height, "the image")
    if width * height > DECODED_PIXELS:
        raise BudgetExceeded(
            f"the image has {width} x {height} pixels, above the limit of {DECODED_PIXELS // 10**6} million:"
            " save it at a lower resolution"
        )


def stored_scale(width: float, height: float, scale: float = 1.0) -> float:
    """`scale`, or the largest below it at which `width` x `height` fits the budget of a stored page."""
    pixels = width * scale * height * scale
    fitting = scale if pixels <= STORED_PIXELS else scale * (STORED_PIXELS / pixels) ** 0.5
    return min(fitting, STORED_SIDE / max(width, height))
