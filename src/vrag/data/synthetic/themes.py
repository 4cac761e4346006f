"""Colours, fonts, page formats and the look of one document. Some themes are only in the held-out split."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from vrag.data.synthetic.difficulty import REFERENCE_PIXELS, Difficulty
from vrag.data.synthetic.vocabulary import Split


@dataclass(frozen=True)
class Theme:
    """Colours as #rrggbb. `accent_ink` is legible on `accent`; `ink` on `page` and on `panel`."""

    name: str
    page: str
    panel: str
    ink: str
    muted: str
    rule: str
    accent: str
    accent_ink: str
    series: tuple[str, ...]
    dark: bool = False
    heldout_only: bool = False


THEMES: tuple[Theme, ...] = (
    Theme("harbour", "#ffffff", "#eef4f9", "#14212e", "#5d6b79", "#cfd9e2", "#12507b", "#ffffff",
          ("#1f78b4", "#f2a33a", "#4aa564", "#c8504b", "#7d6bb0", "#3fa7b5")),
    Theme("meadow", "#ffffff", "#eff6ee", "#17281b", "#5f6f62", "#cfdccf", "#2b6b3f", "#ffffff",
          ("#3f9155", "#e0b23c", "#3b7fa8", "#c9643f", "#8a9a3a", "#7a5f9e")),
    Theme("brick", "#ffffff", "#f9f0ec", "#2b1a16", "#76645d", "#e3d3cb", "#9c3b26", "#ffffff",
          ("#c65a3f", "#4b7f97", "#e2a93f", "#6f8f4e", "#8b5a86", "#3f6f6a")),
    Theme("violet", "#ffffff", "#f3f0fa", "#1d1830", "#67617c", "#d8d2e6", "#4a3a8c", "#ffffff",
          ("#6c5bb8", "#2f9e9a", "#e58a4e", "#c24f7c", "#6a9a3f", "#3f78c2")),
    Theme("slate", "#ffffff", "#f0f1f3", "#1b1e23", "#646a73", "#d3d6da", "#2f3a48", "#ffffff",
          ("#5b7da3", "#d98e3f", "#6fa071", "#b55b5b", "#8f7fae", "#4fa3a8")),
    Theme("sand", "#fffdf8", "#f7efdf", "#2a2316", "#766b54", "#e3d7bd", "#8a6414", "#ffffff",
          ("#c28f2c", "#3f7d8c", "#a9573a", "#6d8b3c", "#7a6295", "#c9715f")),
    Theme("lagoon", "#ffffff", "#e9f6f5", "#0f2a2b", "#56706f", "#c6dedc", "#0d7377", "#ffffff",
          ("#1a9a97", "#f08a5d", "#3d6cb0", "#d0b43a", "#8e5aa0", "#6aa84f")),
    Theme("orchid", "#ffffff", "#faf0f5", "#2b1622", "#76606c", "#e6d2dc", "#8c2f62", "#ffffff",
          ("#b84f86", "#4f8fb8", "#dba63f", "#5f9b6b", "#7463b5", "#cf6a55"), heldout_only=True),
    Theme("steel", "#f8fafb", "#e6edf2", "#12202b", "#566673", "#c4d0d9", "#1d6fa5", "#ffffff",
          ("#2f88c4", "#df7f2f", "#3f9f8a", "#bf4f5f", "#8c82b8", "#a3a23c"), heldout_only=True),
    Theme("midnight", "#16202c", "#213040", "#f2f6fa", "#a9b6c4", "#3b4c5e", "#3f8fd0", "#ffffff",
          ("#5aa9e6", "#f4b860", "#7fd18b", "#f07d74", "#b39ddb", "#5fd0d6"), dark=True),
    Theme("graphite", "#232326", "#303035", "#f5f3ef", "#b3b0a8", "#4a4a50", "#d98a3a", "#1d1a16",
          ("#f0a35a", "#7fb6d9", "#9ccc7f", "#e58a8a", "#c3a6e0", "#7fd0c0"), dark=True),
    Theme("aubergine", "#241a2e", "#33273f", "#f7f2fa", "#b8a9c4", "#4d3e5b", "#9a6fd0", "#ffffff",
          ("#b58be0", "#7fc4d6", "#efb366", "#e57f9c", "#93cf86", "#86a5ee"), dark=True, heldout_only=True),
)  # fmt: skip


@dataclass(frozen=True)
class Face:
    """PDF font names of one family."""

    regular: str
    bold: str
    italic: str
    scale: float = 1.0  # of values and small print: a wide face would be legible at sizes where others are not


FACES: dict[str, Face] = {
    "Helvetica": Face("Helvetica", "Helvetica-Bold", "Helvetica-Oblique"),
    "Times": Face("Times-Roman", "Times-Bold", "Times-Italic"),
    "Courier": Face("Courier", "Courier-Bold", "Courier-Oblique"),
    "Vera": Face("Vera", "Vera-Bold", "Vera-Italic", 0.88),
}


@cache
def register_fonts() -> None:
    """Make reportlab's bundled Vera known to it; the standard PDF fonts need nothing."""
    import reportlab
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont

    folder = Path(reportlab.__file__).parent / "fonts"
    for name, file in (("Vera", "Vera.ttf"), ("Vera-Bold", "VeraBd.ttf"), ("Vera-Italic", "VeraIt.ttf")):
        pdfmetrics.registerFont(TTFont(name, str(folder / file)))


@dataclass(frozen=True)
class Format:
    """A page format in points."""

    name: str
    width: float
    height: float

    @property
    def portrait(self) -> bool:
        return self.height > self.width

    def points(self, view_px: float) -> float:
        """Points that appear as `view_px` pixels when the page is shown at `REFERENCE_PIXELS`."""
        return view_px * (self.width * self.height / REFERENCE_PIXELS) ** 0.5


FORMATS: tuple[Format, ...] = (
    Format("slide-4x3", 720, 540),
    Format("slide-4x3", 720, 540),
    Format("slide-16x9", 960, 540),
    Format("a4", 595, 842),
    Format("letter", 612, 792),
)


@dataclass(frozen=True)
class Type:
    """Font sizes in points for one format."""

    title: float
    label: float
    value: float
    small: float


@dataclass(frozen=True)
class Style:
    """The look that all pages of one document share. `logo` seeds its mark."""

    format: Format
    theme: Theme
    face: Face
    type: Type
    header: str
    logo: int
    bold_values: bool
    rounded: float  # corner radius of cards, bars and boxes, in points


HEADERS = ("band", "underline", "sidebar", "tab")


def choose_style(rng: random.Random, split: Split, dials: Difficulty, page_format: Format | None = None) -> Style:
    """The look of a document; the held-out split takes one of its own themes in half of the documents."""
    register_fonts()
    themes = [theme for theme in THEMES if dials.dark_themes or not theme.dark]
    own = split == "heldout" and rng.random() < 0.5
    theme = rng.choice([theme for theme in themes if theme.heldout_only == own])
    page_format = page_format or rng.choice(FORMATS)
    face = FACES[rng.choice(dials.fonts)]
    value = dials.value_px * face.scale
    sizes = (dials.title_px, dials.label_px, value, value)
    return Style(
        format=page_format,
        theme=theme,
        face=face,
        type=Type(*(page_format.points(size) for size in sizes)),
        header=rng.choice(HEADERS),
        logo=rng.randrange(1 << 30),
        bold_values=rng.random() < dials.bold_values,
        rounded=rng.choice((0.0, 4.0, 9.0)),
    )
