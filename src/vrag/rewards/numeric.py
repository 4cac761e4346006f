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
    name: factor
    for factor, names in {
        1e2: "hundred hundreds",
        1e3: "k thousand thousands tausend tsd 千",
        1e4: "万 萬",
        1e5: "lakh lakhs",
        1e6: "m mn mio million millions millionen 百万",
        1e7: "crore crores",
        1e8: "亿 億",
        1e9: "b bn billion billions mrd milliarde milliarden",
        1e12: "tn trn trillion trillions",
    }.items()
    for name in names.split()
}
_UNITS = {
    name: names.split()[0]
    for names in (
        *("% percent percentage pct prozent", "usd $ us$ dollar dollars", "eur € euro euros", "gbp £ pounds"),
        *("jpy ¥ yen", "cny 元 rmb", "chf franken", "inr ₹ rupee rupees", "krw ₩ won"),
        *(
            "kg kilogram kilograms",
            "g gram grams",
            "mg milligram milligrams",
            "t ton tons tonne tonnes",
            "lb lbs",
            "oz",
        ),
        *("km kilometer kilometers kilometre kilometres", "m meter meters metre metres", "mile miles mi", "yard yards"),
        *("cm centimeter centimeters centimetre centimetres", "mm millimeter millimeters millimetre millimetres"),
        *(
            "inch inches",
            "ft foot feet",
            "nm",
            "l liter liters litre litres",
            "ml milliliter milliliters",
            "ha hectares",
        ),
        *("gallon gallons", "acre acres", "ms millisecond milliseconds", "s sec secs second seconds"),
        *("min mins minute minutes", "h hr hrs hour hours", "day days", "week weeks", "month months"),
        *("quarter quarters", "year years yr yrs", "decade decades", "°c celsius", "°f fahrenheit"),
        *("kb", "mb", "gb", "tb", "w watt watts", "kw", "mw", "gw", "kwh", "mwh", "gwh", "twh", "v volt volts"),
        *("hz hertz", "khz", "mhz", "ghz", "pa", "kpa", "bar", "psi", "rpm", "mph"),
    )
    for name in names.split()
}
# what may follow a number without saying of what it is
_FUNCTION = frozenset(
    {
        *(
            "a",
            "an",
            "and",
            "are",
            "as",
            "at",
            "by",
            "during",
            "each",
            "for",
            "from",
            "in",
            "is",
            "of",
            "on",
            "or",
            "out",
        ),
        *("per", "since", "the", "to", "total", "was", "were", "with"),
    }
)
_ABOUT = frozenset({"about", "approximately", "approx", "around", "circa", "ca", "roughly", "~", "≈", "约", "約"})
_BOUNDS = {  # at the end of the text before a number, or before its currency
    "<": r"<|\b(?:less|fewer|lower|smaller) than|\b(?:under|below)",
    ">": r">|\b(?:more|greater|higher|larger) than|\b(?:over|above)",
    "<=": r"≤|<=|\bat most|\bup to",
    ">=": r"≥|>=|\bat least",
    "not": r"\bnot",
}
_BOUND = {sign: re.compile(rf"(?:{written})\s?[$€£¥]?$") for sign, written in _BOUNDS.items()}
_CURRENCY = re.compile(r"[$€£¥]$|\b(?:usd|eur|gbp)\s?$")
_DIGITS = re.compile(r"\d{1,3}(?: \d{3})+(?:[.,]\d+)?(?!\d)|\d+(?:[.,'’]\d+)*", re.ASCII)
_WORD = re.compile(r"°[cf]|[^\W\d_]+\$?|[%$€£¥₹₩~≈]")


@dataclass(frozen=True)
class Quantity:
    """A value, its unit in one spelling (None when none was written), whether the text says more, and whether it may
    be a number of something else: of "users", in "20 million users". `bound`: what the text says of it, "<" of
    "less than 5"; "" when it is the value itself.
    """

    value: float
    unit: str | None
    alone: bool
    counts: bool = False
    bound: str = ""

    def equals(self, other: Quantity, tolerance: float) -> bool:
        """Within `tolerance` of the larger magnitude, of one bound, with units that don't contradict each other."""
        if self.bound != other.bound:
            return False
        if self.unit != other.unit and (self.unit or self.counts) and (other.unit or other.counts):
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
    adjacent = re.match(r"[a-z]", after) or (_CURRENCY.search(before) and re.match(r" [kmb]n?\b", after))  # $3.4 B
    scale, right, known = _scale(right, adjacent=bool(adjacent))
    if not known:
        return None
    unit = next((_UNITS[word] for word in (*right[:1], *left[-1:]) if word in _UNITS), None)
    rest = [word for word in left + right if word not in _ABOUT and _UNITS.get(word) != (unit or "")]
    counts = unit is None and any(word not in _ABOUT | _FUNCTION for word in right[:1])
    return Quantity(value * scale, unit, alone=not rest, counts=counts, bound=_bound(before))


_LONGEST = 10_000  # characters; nobody states one quantity at such length


def _bound(before: str) -> str:
    """What the end of the text before a number says of it."""
    return next((sign for sign, written in _BOUND.items() if written.search(before)), "")


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
