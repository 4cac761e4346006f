"""How hard the benchmark is: named dials and three presets.

Sizes are em sizes in *view pixels*: pixels of a page that is shown at `REFERENCE_PIXELS` (336 x 252 for a 4:3
slide), the same on every page format. At that size a label of 10 px is read with ease, and a digit of a value
of 3.2 px is a smudge of two pixels by two: what stands there is known only after cropping.
"""

from __future__ import annotations

from typing import Literal

from vrag.errors import ConfigError
from vrag.types import Frozen

REFERENCE_PIXELS = 336 * 252

NumberStyle = Literal["two-digit", "three-digit", "formatted"]


class Difficulty(Frozen):
    """The dials. Probabilities are per page; ranges are inclusive."""

    level: int
    title_px: float
    label_px: float
    value_px: float
    bold_values: float
    rows: tuple[int, int]  # labels on a page of one value each, and rows of a table
    points: tuple[int, int]  # categories of a chart of one metric
    columns: tuple[int, int]  # categories of a table or a grouped chart
    numbers: NumberStyle
    code_digits: int
    fonts: tuple[str, ...]
    dark_themes: bool
    clutter: int  # 0 to 3: gridlines; from 2 on also tick labels and panels of text
    legends: float  # a legend in place of direct labels, where the layout can
    rotated: float  # turned category labels, where the layout can
    unseen_phrasings: bool  # the held-out split also asks in words that training never saw


DIFFICULTIES: dict[int, Difficulty] = {
    1: Difficulty(
        level=1,
        title_px=14.0,
        label_px=10.0,
        value_px=3.2,
        bold_values=0.0,
        rows=(4, 5),
        points=(4, 5),
        columns=(3, 4),
        numbers="two-digit",
        code_digits=2,
        fonts=("Helvetica", "Vera", "Times"),
        dark_themes=False,
        clutter=1,
        legends=0.0,
        rotated=0.0,
        unseen_phrasings=False,
    ),
    2: Difficulty(
        level=2,
        title_px=12.5,
        label_px=8.5,
        value_px=3.2,
        bold_values=0.3,
        rows=(4, 6),
        points=(4, 6),
        columns=(3, 5),
        numbers="three-digit",
        code_digits=2,
        fonts=("Helvetica", "Vera", "Times", "Courier"),
        dark_themes=True,
        clutter=2,
        legends=0.3,
        rotated=0.0,
        unseen_phrasings=True,
    ),
    3: Difficulty(
        level=3,
        title_px=11.0,
        label_px=7.2,
        value_px=3.0,
        bold_values=0.3,
        rows=(5, 6),
        points=(5, 6),
        columns=(4, 6),
        numbers="formatted",
        code_digits=3,
        fonts=("Helvetica", "Vera", "Times", "Courier"),
        dark_themes=True,
        clutter=3,
        legends=0.6,
        rotated=0.4,
        unseen_phrasings=True,
    ),
}


def difficulty(level: int) -> Difficulty:
    """The preset of `level`; raises `ConfigError` for one that doesn't exist."""
    if level not in DIFFICULTIES:
        raise ConfigError(f"no difficulty {level}; choose one of {', '.join(map(str, DIFFICULTIES))}")
    return DIFFICULTIES[level]
