"""HTML that is safe by construction: every plain string is escaped, and only `Html` passes as it is.

Text from documents and models is data. It can't become markup, it can't be endless, and it can't turn the
reading direction of what stands beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

LONGEST_TEXT = 2_000  # characters of one text that came from a model or a document

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_VOID = {"meta", "line", "rect", "circle", "path", "polyline", "use", "image"}


class Html(str):
    """Markup that this package wrote."""

    __slots__ = ()


def el(tag: str, *children: str, **attributes: str | float | None) -> Html:
    """`<tag …>children</tag>`. Attribute names write `_` for `-` and end in `_` where Python has the word."""
    said = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(_number(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    if tag in _VOID and not children:
        return Html(f"<{tag}{said}/>")
    return Html(f"<{tag}{said}>{join(children)}</{tag}>")


def join(parts: Iterable[str]) -> Html:
    return Html("".join(part if isinstance(part, Html) else escape(_CONTROL.sub("\ufffd", part)) for part in parts))


def foreign(text: str) -> Html:
    """A text from a model or a document: escaped, cut, and isolated in its reading direction."""
    cut = text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}… ({len(text):,} characters)"
    return el("bdi", cut)


def _number(value: str | float) -> str:
    if isinstance(value, str):
        return _CONTROL.sub("\ufffd", value)
    return f"{value:.2f}".rstrip("0").rstrip(".")
