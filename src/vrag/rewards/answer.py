"""Whether an answer is right, by rules: no judge model, no network, the same verdict every time.

Rules agree with a judge on short factual answers and are stricter on long ones. Sources: exact match and F1
as in SQuAD, ANLS as in DocVQA (threshold 0.5), numbers with tolerance as in ChartQA.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from vrag.rewards.numeric import quantity
from vrag.types import Frozen

ANLS_THRESHOLD = 0.5
LONGEST = 10_000  # characters of an answer that are compared; a longer one is right by no rule

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_TOKEN = re.compile(rf"[{_CJK}]|(?:(?![{_CJK}])\S)+")
_UNIT_GAP = re.compile(r"(?<=\d) (?=[^\W\d])")
_ARTICLES = frozenset({"a", "an", "the"})
_JOINS_DIGITS = frozenset(".,:/-")


class AnswerScore(Frozen):
    """The best of each measure over the references. `score` is what the reward uses, see `rule_reward`."""

    exact: bool
    numeric: bool
    f1: float
    anls: float
    score: float

    @property
    def correct(self) -> bool:
        return self.exact or self.numeric


WRONG = AnswerScore(exact=False, numeric=False, f1=0.0, anls=0.0, score=0.0)


def rule_reward(prediction: str | None, references: Iterable[str], tolerance: float = 0.0) -> AnswerScore:
    """Compare an answer with alternative gold answers.

    `score` is 1 if the answer is exact after normalisation, or is the same quantity within the relative
    `tolerance` (ChartQA allows 0.05; the default only bridges spelling: 1.2k = 1,200). Otherwise it is half
    the larger of F1 and ANLS, so that no partial match passes for a right answer; against a gold answer
    that holds a digit it is 0, because a number that is nearly right is wrong. No answer and no (or blank)
    references: 0.
    """
    if prediction is None or not prediction.strip() or len(prediction) > LONGEST:
        return WRONG
    scores = [_compare(prediction, reference, tolerance) for reference in references if reference.strip()]
    if not scores:
        return WRONG
    return AnswerScore(
        exact=any(score.exact for score in scores),
        numeric=any(score.numeric for score in scores),
        f1=max(score.f1 for score in scores),
        anls=max(score.anls for score in scores),
        score=max(score.score for score in scores),
    )


def stands_in(answer: str | None, references: Iterable[str]) -> bool:
    """Whether a reference stands in the answer by whole words and numbers after normalisation, or is its only quantity.

    No verdict: an answer that denies the reference, or lists everything, holds it too. It tells a right fact in a
    sentence, which the rules call wrong, from an answer without it.
    """
    if answer is None or len(answer) > LONGEST:
        return False
    said = _TOKEN.findall(normalise(answer))
    return any(
        _holds(said, _TOKEN.findall(normalise(reference))) or same_number(answer, reference)
        for reference in references
        if reference.strip()
    )


def _holds(words: Sequence[str], wanted: Sequence[str]) -> bool:
    starts = range(len(words) - len(wanted) + 1)
    return any(words[start : start + len(wanted)] == wanted for start in starts)


def _compare(prediction: str, reference: str, tolerance: float) -> AnswerScore:
    said, gold = normalise(prediction), normalise(reference)
    exact = said == gold or _closed(said) == _closed(gold)
    numeric = same_number(prediction, reference, tolerance)
    f1, similarity = token_f1(said, gold), anls(said, gold)
    if exact or numeric:
        score = 1.0
    elif any(char.isdigit() for char in gold):
        score = 0.0
    else:
        score = max(f1, similarity) / 2
    return AnswerScore(exact=exact, numeric=numeric, f1=f1, anls=similarity, score=score)


def _closed(text: str) -> str:
    """Without the spaces between a number and what it is of: "10 m" is "10m"."""
    return _UNIT_GAP.sub("", text)


def normalise(text: str) -> str:
    """NFKC, case-folded, without punctuation (but between digits, a leading minus, and
    the # of C#), articles, extra
    space.

    An article that ends the text is a name ("Plan A") and stays; a text of punctuation alone ("?") stays too.
    """
    folded = unicodedata.normalize("NFKC", text).casefold().split()
    words = [word for word in map(_without_punctuation, folded) if word]
    bare = [word for i, word in enumerate(words, start=1) if word not in _ARTICLES or i == len(words)]
    return " ".join(bare or folded)


def _without_punctuation(word: str) -> str:
    """What separates letters becomes a space: "A-45" is no article and a number."""
    return " ".join("".join(char if _keeps(word, i) else " " for i, char in enumerate(word)).split())


def _keeps(word: str, i: int) -> bool:
    """Whether the character at `i` is no punctuation, or joins two digits, or makes a number negative."""
    char = word[i]
    if not unicodedata.category(char).startswith("P"):
        return True
    digit_follows = word[i + 1 : i + 2].isdigit()
    after_digit = i > 0 and word[i - 1].isdigit()
    if char in _JOINS_DIGITS and digit_follows and after_digit:
        return True
    if char == "#" and i == len(word) - 1 and word[i - 1].isalpha():
        return True  # C# isn't C
    return char == "-" and digit_follows and i == 0


def same_number(prediction: str, reference: str, tolerance: float = 0.0) -> bool:
    """Whether the reference is a quantity and nothing else, and the prediction's only quantity equals it."""
    gold = quantity(reference)
    if gold is None or not gold.alone:
        return False
    said = quantity(prediction)
    return said is not None and said.equals(gold, tolerance)


def token_f1(prediction: str, reference: str) -> float:
    """F1 of the bags of tokens of two normalised texts; Han and kana count as one token a character."""
    said, gold = Counter(_TOKEN.findall(prediction)), Counter(_TOKEN.findall(reference))
    shared = sum((said & gold).values())
    return 2 * shared / (sum(said.values()) + sum(gold.values())) if shared else 0.0


def anls(prediction: str, reference: str, threshold: float = ANLS_THRESHOLD) -> float:
    """1 - the edit distance over the longer length, if that is at least `threshold`, else 0."""
    longer, shorter = sorted((prediction, reference), key=len, reverse=True)
    if not longer:
        return 1.0
    if len(shorter) < threshold * len(longer):
        return 0.0  # even the difference in length is too much
    similarity = 1 - _edit_distance(longer, shorter) / len(longer)
    return similarity if similarity >= threshold else 0.0


def _edit_distance(first: str, second: str) -> int:
    """Levenshtein, one row of the table at a time."""
    target = np.array([ord(char) for char in second])
    steps = np.arange(len(second) + 1)
    row = steps.copy()
    for i, char in enumerate(first, start=1):
        changed = np.minimum(row[1:] + 1, row[:-1] + (target != ord(char)))
        # an insertion continues from the left: min over j' <= j of row[j'] + (j - j')
        row = np.minimum.accumulate(np.concatenate(([i], changed)) - steps) + steps
    return int(row[-1])
