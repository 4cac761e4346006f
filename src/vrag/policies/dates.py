"""Dates as they are written out, so that who asks when gets the whole of one: March 2026, 3. März 2026, Q3 2025."""

from __future__ import annotations

import re

_ASKED = re.compile(
    r"\b(when|wann|quand|cuándo|(what|which) (date|day|month|quarter)|date of)\b|何时|いつ", re.IGNORECASE
)
# English and German with a capital (who may is no month), French and Spanish without one, too.
_NAMES = """
    January February March April May June July August September October November December
    Januar Februar März Mai Juni Juli Oktober Dezember Spring Summer Autumn Winter Frühjahr Sommer Herbst
    Jan Feb Mar Apr Jun Jul Aug Sep Sept Oct Okt Nov Dec Dez Q1 Q2 Q3 Q4 H1 H2
    janvier février mars avril mai juin juillet août septembre octobre novembre décembre printemps été automne hiver
    enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre
"""
_ALL = "|".join(sorted(_NAMES.split(), key=len, reverse=True))
_ORDINAL, _MONTH = re.compile(r"\(?\d{1,2}\."), re.compile(rf"(?:{_ALL})(?!\w)")
_DAY, _YEAR, _OF = r"\d{1,2}(?:st|nd|rd|th|er|\.)?", r"(?:19|20)\d\d", r"(?:of |de |del )?"
_DATE = re.compile(rf"(?<!\S)\(?(?:({_DAY}) {_OF})?(?:{_ALL})\.?,?(?: ({_DAY}),?)?(?: {_OF}({_YEAR}))?(?!\w)")


def asks_when(question: str) -> bool:
    """Whether a question is about a date."""
    return _ASKED.search(question) is not None


def starts_date(first: str, second: str) -> bool:
    """Whether two words are a day with a dot and its month: 31. März. The dot ends no sentence then."""
    return _ORDINAL.fullmatch(first) is not None and _MONTH.match(second) is not None


def whole_date(text: str) -> str | None:
    """The one date in `text` that has a month, quarter or season and a number; None where there is none, or several."""
    found = [match.group().strip("(,. ") for match in _DATE.finditer(text) if any(match.groups())]
    return found[0] if len(found) == 1 else None
