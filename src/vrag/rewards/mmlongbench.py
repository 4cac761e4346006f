"""How MMLongBench-Doc scores an answer: by the format of the gold answer (Ma et al. 2024, section 4.1, and their code).

Its quirks are kept, so that figures compare; `clean`, `_float`, `_exact_only` and `_items` name them. One step differs:
there a GPT-4o first reduces a long response to a short answer. Here the policy's answer is the short answer, and what
that step does to its form is done by rules (`shorten`).
"""

from __future__ import annotations

import ast
import re
from math import isclose
from typing import Any

from vrag.rewards.answer import LONGEST, anls
from vrag.rewards.numeric import quantity
from vrag.types import Task

UNANSWERABLE = "Not answerable"
FORMATS = ("Str", "Int", "Float", "List", "None")
_CLOSE = 0.01
_EXACT = re.compile(r"\d+(?:-\d+|\s\d+)?|\d{4}[-\s]\d{2}(?:[-\s]\d{2})?|[\w.%+-]+@[\w.-]+\.[a-z]{2,}", re.ASCII)


def form_of(task: Task) -> str | None:
    """The answer format of a question of MMLongBench-Doc, or of nobody knows what; None for one from elsewhere, which
    may have a column of the same name.
    """
    if not task.source.startswith(("mmlongbench", "unknown")):
        return None
    form = task.meta.get("answer_format")
    return form if form in FORMATS else None


def gold_of(task: Task) -> str:
    """The gold answer as the dataset writes it: `Task.answers` has lists as a person would write them."""
    return str(task.meta.get("answer", ""))


def declines(answer: str | None) -> bool:
    """Whether an answer says, in the dataset's own words, that there is none."""
    return answer is not None and answer.strip().rstrip(".").casefold() == UNANSWERABLE.casefold()


def score(answer: str | None, gold: str, form: str) -> float:
    """0 to 1. No answer, and one longer than `vrag.rewards.answer.LONGEST`, scores 0; so does every answer where the
    gold one isn't of its own format (int("21%"), an empty list), as it does there.
    """
    if answer is None or not answer.strip() or len(answer) > LONGEST:
        return 0.0
    if declines(answer):
        answer = UNANSWERABLE
    match form:
        case "Int":
            return float(_int(shorten(answer), gold))
        case "Float":
            return float(_float(shorten(answer), gold))
        case "List":
            return _list(answer, gold)
        case _:
            return _text(clean(answer), clean(gold))


def shorten(answer: str) -> str:
    """A number without what is around it: the answer itself where it is one, else its one quantity, if there is one."""
    if _number(answer) is not None:
        return answer
    found = quantity(answer)
    return answer if found is None else repr(found.value)


def clean(text: str) -> str:
    """Lower case, without parentheses and what is in them, a quote at either end, "$" before and "%" after it. (The
    published code means to drop "miles" and "million" too, and doesn't.)
    """
    text = re.sub(r"\s*\([^)]*\)", "", text.lower().strip()).strip()
    text = re.sub(r"^['\"]|['\"]$", "", text).strip()
    return text.lstrip("$").strip().rstrip("%").strip()


def _int(answer: str, gold: str) -> bool:
    """Equal once what is behind the point is dropped from the answer: 8.9 is right for 8."""
    said = _number(answer)
    try:
        return said is not None and int(said) == int(gold)
    except (ValueError, OverflowError):
        return False


def _float(answer: str, gold: str) -> bool:
    """Within 1 %, or equal when rounded to at least two places; and a hundred times too much or too little is right,
    for percentages.
    """
    said, wanted = _number(clean(answer)), _number(clean(gold))
    if said is None or wanted is None:
        return False
    for one in (wanted / 100, wanted, wanted * 100):
        if isclose(one, said, rel_tol=_CLOSE):
            return True
        places = max(min(_places(said), _places(one)), 2)
        if round(said, places) == round(one, places):
            return True
    return False


def _places(value: float) -> int:
    _, point, behind = str(value).partition(".")
    return len(behind) if point else 3


def _text(answer: str, gold: str) -> float:
    """Similarity; equality for what is wrong when one character is."""
    return float(answer == gold) if _exact_only(gold) else _similar(answer, gold)


def _similar(answer: str, gold: str) -> float:
    """ANLS, of which 0.5 and less is nothing."""
    similarity = anls(answer, gold)
    return similarity if similarity > 0.5 else 0.0


def _exact_only(gold: str) -> bool:
    """URLs, names of code files, pages, numbers and phone numbers, times, dates, e-mail addresses."""
    if "https://" in gold or gold.endswith((".py", "ipynb")) or gold.startswith("page"):
        return True
    return "a.m." in gold or "p.m." in gold or _EXACT.fullmatch(gold) is not None


def _list(answer: str, gold: str) -> float:
    """As many items, or nothing. Both are sorted and compared in that order, so one item that sorts elsewhere spoils
    its neighbours; the worst pair counts. All have to be equal when the first gold one is a number or `_exact_only`.
    """
    written = _literal(gold)
    wanted = sorted(clean(str(one)) for one in ([gold] if written is None else written))
    said = sorted(clean(one) for one in _items(answer))
    if not wanted or len(wanted) != len(said):
        return 0.0
    if _number(wanted[0]) is not None or _exact_only(wanted[0]):
        return float(wanted == said)
    return min(_similar(one, other) for one, other in zip(said, wanted, strict=True))


def _items(answer: str) -> list[str]:
    """A list as Python writes it, or the lines of an answer, or its parts between semicolons, or else commas and "and".
    The published code takes what isn't written as Python does for one item.
    """
    written = _literal(answer)
    if written is not None:
        return [str(one) for one in written]
    for separator in (r"\n", r";", r",\s+and\s+|,\s+|\s+and\s+"):
        parts = [part.strip(" \t-*•") for part in re.split(separator, answer.strip()) if part.strip(" \t-*•")]
        if len(parts) > 1:
            return parts
    return [answer]


def _literal(text: str) -> list[Any] | None:
    """None for what isn't written as a list."""
    if not text.strip().startswith("["):
        return None
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
    return list(value) if isinstance(value, list) else None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
