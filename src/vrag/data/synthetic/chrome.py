"""What surrounds a page's content: background, title, logo, footer, decoration."""

from __future__ import annotations

import random

from reportlab.pdfbase.pdfmetrics import stringWidth

from vrag.data.synthetic.sheet import Rect, Sheet, fitted, mix
from vrag.data.synthetic.themes import Style
from vrag.data.synthetic.vocabulary import NOTES
from vrag.data.synthetic.world import PageContent

MARGIN = 38.0


def subtitle(content: PageContent) -> str:
    """What the page is about, in large type: its topic, or its metric and how it is broken down."""
    if content.form == "series":
        return f"{content.rows[0]} by {content.category}"
    return f"{content.topic} by {content.category}" if content.form == "matrix" else content.topic


def draw_chrome(sheet: Sheet, style: Style, content: PageContent, number: int, pages: int, rng: random.Random) -> Rect:
    """Draw everything around the body and return the body."""
    theme = style.theme
    sheet.rect(Rect(0, 0, sheet.width, sheet.height), theme.page)
    top = _HEADERS[style.header](sheet, style, content)
    left = MARGIN + (16 if style.header == "sidebar" else 0)
    bottom = _footer(sheet, style, content, number, pages, left)
    body = Rect(left, top, sheet.width - MARGIN - left, bottom - top)
    return _note(sheet, style, content, body, rng)


def _titles(
    sheet: Sheet, style: Style, content: PageContent, x: float, y: float, width: float, ink: str, soft: str
) -> float:
    """Title and subtitle from the top y; returns the y under them."""
    size = fitted(content.subject, style.face.bold, style.type.title, width)
    sheet.text(x, y + size * 0.78, content.subject, style.face.bold, size, ink)
    line = y + size * 1.02
    words = subtitle(content)
    small = fitted(words, style.face.bold, style.type.label, width)
    sheet.text(x, line + small * 0.92, words, style.face.bold, small, soft)
    return line + small * 1.25


def _band(sheet: Sheet, style: Style, content: PageContent) -> float:
    theme, height = style.theme, 16 + style.type.title * 1.02 + style.type.label * 1.25 + 6
    sheet.rect(Rect(0, 0, sheet.width, height), theme.accent)
    sheet.rect(Rect(0, height, sheet.width, 4), theme.series[1])
    soft = mix(theme.accent_ink, theme.accent, 0.14)
    _titles(sheet, style, content, MARGIN, 14, sheet.width - 2 * MARGIN - 56, theme.accent_ink, soft)
    _logo(sheet, style, sheet.width - MARGIN - 20, height / 2, 20, theme.accent_ink)
    return height + 22


def _underline(sheet: Sheet, style: Style, content: PageContent) -> float:
    theme = style.theme
    bottom = _titles(sheet, style, content, MARGIN, 26, sheet.width - 2 * MARGIN - 56, theme.ink, _strong(style))
    sheet.line(MARGIN, bottom + 5, sheet.width - MARGIN, bottom + 5, theme.rule, 1.2)
    sheet.rect(Rect(MARGIN, bottom + 3.5, 92, 3.5), theme.accent)
    _logo(sheet, style, sheet.width - MARGIN - 20, 48, 20, theme.accent)
    return bottom + 24


def _sidebar(sheet: Sheet, style: Style, content: PageContent) -> float:
    theme = style.theme
    sheet.rect(Rect(0, 0, 24, sheet.height), theme.accent)
    sheet.rect(Rect(24, 0, 5, sheet.height), theme.series[1])
    x = MARGIN + 16
    bottom = _titles(sheet, style, content, x, 26, sheet.width - x - MARGIN - 56, theme.ink, _strong(style))
    _logo(sheet, style, sheet.width - MARGIN - 20, 48, 20, theme.accent)
    return bottom + 20


def _tab(sheet: Sheet, style: Style, content: PageContent) -> float:
    """A panel with the title, and the subtitle on a tab that hangs from it."""
    theme, kind = style.theme, style.type
    height = 18 + kind.title * 1.18
    sheet.rect(Rect(0, 0, sheet.width, height), theme.panel)
    sheet.rect(Rect(0, 0, sheet.width, 5), theme.accent)
    size = fitted(content.subject, style.face.bold, kind.title, sheet.width - 2 * MARGIN - 56)
    sheet.text(MARGIN, 14 + size * 0.86, content.subject, style.face.bold, size, theme.ink)
    _logo(sheet, style, sheet.width - MARGIN - 20, height / 2 + 2, min(20, height / 2 - 6), theme.accent)
    words = subtitle(content)
    small = fitted(words, style.face.bold, kind.label, sheet.width - 2 * MARGIN - 30)
    width = stringWidth(words, style.face.bold, small) + 24
    sheet.rect(Rect(MARGIN, height - 3, width, kind.label * 1.5), theme.accent, radius=3)
    sheet.text(MARGIN + 12, height - 3 + kind.label * 1.07, words, style.face.bold, small, theme.accent_ink)
    return height + kind.label * 1.5 + 16


_HEADERS = {"band": _band, "underline": _underline, "sidebar": _sidebar, "tab": _tab}


def _strong(style: Style) -> str:
    """The accent as ink on the page: lightened on dark pages."""
    theme = style.theme
    return mix(theme.accent, theme.ink, 0.45) if theme.dark else theme.accent


def _logo(sheet: Sheet, style: Style, x: float, y: float, size: float, ink: str) -> None:
    """A mark of simple shapes; the same on every page of a document."""
    theme, rng = style.theme, random.Random(style.logo)
    second = rng.choice(theme.series[1:4])
    kind = rng.randrange(5)
    if kind == 0:
        sheet.circle(x - size * 0.3, y, size * 0.6, ink)
        sheet.circle(x + size * 0.35, y, size * 0.6, second)
    elif kind == 1:
        sheet.polygon([(x, y - size * 0.9), (x + size * 0.9, y + size * 0.7), (x - size * 0.9, y + size * 0.7)], ink)
        sheet.circle(x, y + size * 0.2, size * 0.3, second)
    elif kind == 2:
        for step in range(3):
            height = size * (0.7 + 0.5 * step)
            left = x - size * 0.9 + step * size * 0.65
            sheet.rect(Rect(left, y + size * 0.8 - height, size * 0.5, height), second if step == 2 else ink)
    elif kind == 3:
        sheet.circle(x, y, size * 0.9, None, ink, size * 0.25)
        sheet.circle(x, y, size * 0.35, second)
    else:
        sheet.polygon([(x, y - size), (x + size, y), (x, y + size), (x - size, y)], ink)
        half = size * 0.45
        sheet.polygon([(x, y - half), (x + half, y), (x, y + half), (x - half, y)], second)


def _footer(sheet: Sheet, style: Style, content: PageContent, number: int, pages: int, left: float) -> float:
    """A rule, the subject and the page number in small print; returns the y over them."""
    theme, size = style.theme, style.type.small
    y = sheet.height - 20
    sheet.line(left, y - size - 5, sheet.width - MARGIN, y - size - 5, theme.rule, 0.6)
    sheet.text(left, y, f"{content.subject} | {content.topic}", style.face.regular, size, theme.muted)
    page = f"Page {number} of {pages}"
    sheet.text(sheet.width - MARGIN, y, page, style.face.regular, size, theme.muted, "right")
    return y - size - 18


def _note(sheet: Sheet, style: Style, content: PageContent, body: Rect, rng: random.Random) -> Rect:
    """One sentence of small print under the body; returns what is left of it."""
    size = style.type.small
    sentence = content.fill(rng.choice(NOTES), rng)
    small = fitted(sentence, style.face.italic, size, body.w)
    sheet.text(body.x, body.bottom, sentence, style.face.italic, small, style.theme.muted)
    return body._replace(h=body.h - size * 2.2)
