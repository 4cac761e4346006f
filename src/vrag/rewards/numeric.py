"""Numbers in answers: what 1,200,000 and 1.2 million and $1.2m have in common.

A text is a quantity only if it holds one run of digits, so that dates, ranges, versions and codes are left
to string comparison, where a wrong digit is wrong.
"""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass

_SCALES = {
    "k": 1e3, "thousand": 1e3, "thousands": 1e3, "tsd": 1e3, "千": 1e3, "万": 1e4, "萬": 1e4, "百万": 1e6,
    "m": 1e6, "mn": 1e6, "mio": 1e6, "million": 1e6, "millions": 1e6, "millionen": 1e6, "亿": 1e8, "億": 1e8,
    "b": 1e9, "bn": 1e9, "billion": 1e9, "billions": 1e9, "mrd": 1e9, "trillion": 1e12, "trillions": 1e12,
}  # fmt: skip
_UNITS = {
    "%": "%", "percent": "%", "pct": "%", "prozent": "%", "$": "usd", "us$": "usd", "usd": "usd",
    "dollar": "usd", "dollars": "usd", "€": "eur", "eur": "eur", "euro": "eur", "euros": "eur", "£": "gbp",
    "gbp": "gbp", "pounds": "gbp", "¥": "jpy", "jpy": "jpy", "yen": "jpy", "元": "cny", "rmb": "cny",
    "cny": "cny", "kg": "kg", "g": "g", "mg": "mg", "t": "t", "km": "km", "cm": "cm", "mm": "mm",
    "meters": "metre", "metres": "metre", "ms": "ms", "s": "s", "seconds": "s", "min": "min",
    "minutes": "min",
    "h": "h", "hours": "h", "day": "day", "days": "day", "year": "year", "years": "year", "°c": "celsius",
    "°f": "fahrenheit", "kb": "kb", "mb": "mb", "gb": "gb", "tb": "tb", "kw": "kw", "mw": "mw", "kwh": "kwh",
    "mwh": "mwh",
}  # fmt: skip
_ABOUT = frozenset({"about", "approximately", "approx", "around", "circa", "ca", "roughly", "~", "≈", "约", "約"})
_DIGITS = re.compile(r"\d{1,3}(?: \d{3})+(?:[.,]\d+)?(?!\d)|\d+(?:[.,'’]\d+)*", re.ASCII)
_WORD = re.compile(r"°[cf]|[^\W\d_]+\$?|[%$€£¥~≈]")


@dataclass(frozen=True)
class Quantity:
    """A value, its unit in one spelling (None when none was written), and whether the text says more."""

    value: float
    unit: str | None
    alone: bool

    def equals(self, other: Quantity, tolerance: float) -> bool:
        """Within `tolerance` of the larger magnitude, with units that don't contradict each other."""
        if self.unit is not None and other.unit is not None and self.unit != other.unit:
            return False
        return math.isclose(self.value, other.value, rel_tol=max(tolerance, 1e-9))


def quantity(text: str) -> Quantity | None:
    """The one quantity in `text`; None if there is none, more than one, or one that is part of a name."""
    text = unicodedata.normalize("NFKC", text).casefold()
    if len(text) > _LONGEST:
        return None
    found = list(_DIGITS.finditer(text))
    if len(found) != 1:
        return None
    before, digits, after = text[: found[0].start()], found[0][0], text[found[0].end() :]
    value = _value(digits)
    if value is None or re.search(r"[a-z_.,]$|\w[-−/]$", before) or re.match(r"[-−/:_.,]\w", after):
        return None
    if re.search(r"[-−]\s?[$€£¥]?$", before):
        value = -value
    left, right = _WORD.findall(before), _WORD.findall(after)
    scale, right, known = _scale(right, adjacent=bool(re.match(r"[a-z]", after)))
    if not known:
        return None
    unit = next((_UNITS[word] for word in (*right[:1], *left[-1:]) if word in _UNITS), None)
    rest = [word for word in left + right if word not in _ABOUT and _UNITS.get(word) != (unit or "")]
    return Quantity(value * scale, unit, alone=not rest)


_LONGEST = 10_000  # characters; nobody states one quantity at such length


def _scale(words: list[str], *, adjacent: bool) -> tuple[float, list[str], bool]:
    """(factor, the words after it, False if the number goes on as a name such as "3d").

    `adjacent`: the first word follows the digits without a space; only then a single letter is a factor.
    """
    if not words:
        return 1.0, words, True
    first = words[0]
    if first in _SCALES and (adjacent or len(first) > 1 or not first.isascii()):
        return _SCALES[first], words[1:], True
    for prefix in ("百万", "千", "万", "萬", "亿", "億"):
        if first.startswith(prefix):
            return _SCALES[prefix], [first[len(prefix) :], *words[1:]], True
    return 1.0, words, not adjacent or first in _UNITS


def _value(digits: str) -> float | None:
    """The number that `digits` writes, with a point or a comma as decimal or thousands separator."""
    digits = re.sub(r"[ '’]", "", digits)
    separators = re.findall(r"[.,]", digits)
    decimal = ""
    if len(set(separators)) == 2:
        decimal = separators[-1]
    elif separators == ["."]:
        decimal = "."
    elif separators == [","] and not re.fullmatch(r"[1-9]\d{0,2},\d{3}", digits):
        decimal = ","
    whole, _, fraction = digits.rpartition(decimal) if decimal else (digits, "", "0")
    groups = re.split(r"[.,]", whole)
    if any(len(group) != 3 for group in groups[1:]):
        return None
    try:
        value = float(f"{''.join(groups)}.{fraction}")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
