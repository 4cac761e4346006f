"""Find the passage that answers a question, by the words they share. No model."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from vrag.policies.dates import asks_when, whole_date
from vrag.policies.fields import find_field
from vrag.policies.passages import Passage, around, distance, passages
from vrag.policies.tables import find_cell, find_tables
from vrag.policies.terms import content_words, expects_number, numbers, terms
from vrag.types import Box, Word

MAX_ANSWER_WORDS = 45
_CONTEXT = 0.4  # what a term counts for that stands only in what leads to the passage
_PAIR = 0.25  # for two terms that follow each other as in the question
_NUMBER = 0.6  # for a number that isn't the question's own, when one is asked for
_LABELLED = 0.6  # of the question must stand in labels and titles for one of them to answer it
_LEADER, _HEADING = 0.3, 0.7  # what lines of a table of contents and headings count for
_SHORT = 12  # words of a line from which a lone number is the answer
_AROUND = ".,;:()[]"  # of a word: not part of an answer
_UNIT = re.compile(
    r"%|percent|per|cent|(?:thousand|million|billion|trillion|second|minute|hour|day|week|month|year|euro|dollar|pound|"
    r"degree|inch|meter|metre|mile|byte|page|item)s?|inches|feet|ft|[kcmµn]?m|[kKMGT]i?B|[kmµ]?g|[kMG]?(?:W|V|A|Hz)|[munµ]?s|"
    r"bar|°C?|Prozent|Millionen|Milliarden|Euro|Stunden|Tage|Wochen|Monate|Jahre|[$€£¥]"
)


@dataclass(frozen=True)
class Question:
    """What is compared: the terms of the content words, in order, each once."""

    text: str
    terms: Sequence[str]
    wants_number: bool
    wants_date: bool = False

    @classmethod
    def of(cls, text: str) -> Question:
        found = [term for word in content_words(text) for term in terms(word)]
        return cls(text, list(dict.fromkeys(found)), expects_number(text), asks_when(text))


@dataclass(frozen=True)
class Reading:
    """The best passage, what stands around it, and how much of the question's terms it matches (0..1)."""

    passage: Passage
    beside: Sequence[Passage]
    answer: str
    coverage: float

    @property
    def box(self) -> Box:
        """Raw pixels of the page."""
        return around(item.box for item in (self.passage, *self.beside))


def read_page(words: Sequence[Word], question: Question, region: Box) -> Reading | None:
    """What answers the question in `region` of a page: a cell of a table or the value beside a label, if the labels of
    the page say as much of the question as its prose does; else the best passage.
    """
    prose = read(passages(words), question, region)
    tables = find_tables(words)
    cell = find_cell(tables, question.terms, region)
    if cell is not None and cell.coverage >= max(_LABELLED, prose.coverage if prose else 0.0):
        return Reading(cell.value, cell.labels, cell.value.text, cell.coverage)
    grids = [table.box for table in tables if table.crossed]
    field = find_field(words, question.terms, question.text, region, grids)
    if field is None or field.coverage < max(_LABELLED, prose.coverage if prose else 0.0):
        return prose
    return Reading(field.value, field.labels, field.value.text, field.coverage)


def read(items: Sequence[Passage], question: Question, region: Box) -> Reading | None:
    """The best passage in `region` of a page's passages `items`; None if none matches anything."""
    bags = [Counter(terms(item.text)) for item in items]
    weights = {term: 1 / (1 + math.log(max(1, sum(term in bag for bag in bags)))) for term in question.terms}
    contexts = _contexts(items, bags)
    best, best_score = -1, 0.0
    for i, item in enumerate(items):
        score = _score(item, bags[i], contexts[i], weights, question) * _kind(i, items)
        if score > best_score and _within(item.box, region):
            best, best_score = i, score
    if best < 0:
        return None
    near = _beside(best, items)
    passage, answer = items[best], _concise(items[best], question)
    if not set(bags[best]) - set(question.terms) and near:  # a label: what it labels stands beside it
        value = min(near, key=lambda item: distance(passage.box, item.box))
        answer = _concise(value, question)
    return Reading(passage, near, answer, _coverage(bags[best], contexts[best], question) * _kind(best, items))


def _score(item: Passage, own: Counter[str], context: set[str], weights: dict[str, float], question: Question) -> float:
    """How well a passage fits; 0 when neither it nor its context shares a term with the question."""
    matched = sum(weight for term, weight in weights.items() if term in own)
    led = sum(weight for term, weight in weights.items() if term in context and term not in own)
    if not matched and not led:
        return 0.0
    text = f" {' '.join(terms(item.text))} "
    pairs = sum(f" {first} {second} " in text for first, second in pairwise(question.terms))
    score = matched + _CONTEXT * led + _PAIR * pairs
    if question.wants_number and set(numbers(item.text)) - set(numbers(question.text)):
        score += _NUMBER
    return score


def _kind(i: int, items: Sequence[Passage]) -> float:
    """Less than 1 for what names rather than says: contents, headings, the first row of a table."""
    item = items[i]
    if item.leader:
        return _LEADER
    first_row = item.row and not (i and items[i - 1].row) and any(n.row for n in items[i + 1 : i + 2])
    return _HEADING if item.heading or first_row else 1.0


def _coverage(own: Counter[str], context: set[str], question: Question) -> float:
    matched = sum(term in own for term in question.terms)
    led = sum(term in context and term not in own for term in question.terms)
    return (matched + _CONTEXT * led) / max(1, len(question.terms))


def _contexts(items: Sequence[Passage], bags: Sequence[Counter[str]]) -> list[set[str]]:
    """Terms that lead to each passage: those of the two before it (a heading, the sentence that names the
    subject), and for the rows of a table those of its first row and of what stands before that."""
    found: list[set[str]] = []
    first = 0
    for i, item in enumerate(items):
        if not item.row or not items[i - 1].row:
            first = i
        before = {*range(max(0, i - 2), i), *(range(max(0, first - 1), first + 1) if item.row else ())} - {i}
        found.append({term for j in before for term in bags[j]})
    return found


def _beside(i: int, items: Sequence[Passage]) -> list[Passage]:
    """The passages just before and after that stand close on the page."""
    box = items[i].box
    reach = 3 * max(word.box.height for word in items[i].words)
    near = [items[j] for j in (i - 1, i + 1) if 0 <= j < len(items)]
    return [item for item in near if distance(box, item.box) <= reach]


def _within(box: Box, region: Box) -> bool:
    x, y = (box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2
    return region.x1 <= x < region.x2 and region.y1 <= y < region.y2


def _concise(item: Passage, question: Question) -> str:
    """The passage; or its one date or number if that is asked for; or, if it is long, the part that matches best."""
    words = [word.text for word in item.words]
    known = set(numbers(question.text))
    date = whole_date(" ".join(words)) if question.wants_date and len(words) <= _SHORT else None
    if date and set(numbers(date)) - known:
        return date
    if question.wants_number and len(words) <= _SHORT:
        new = [i for i, word in enumerate(words) if set(numbers(word)) - known]
        if len(new) == 1:
            return _with_unit(words[new[0] :], set(question.terms))
    if len(words) <= MAX_ANSWER_WORDS:
        return item.text
    matches = [bool(set(terms(word)) & set(question.terms)) for word in words]
    spans = range(len(words) - MAX_ANSWER_WORDS + 1)
    start = max(spans, key=lambda k: (sum(matches[k : k + MAX_ANSWER_WORDS]), -k))
    return Passage(item.words[start : start + MAX_ANSWER_WORDS]).text


def _with_unit(words: Sequence[str], asked: set[str]) -> str:
    """The number that `words` begin with, and what it counts, unless the question says that: 24 months, 61.4 million
    euros.
    """
    found = [words[0]]
    for word in words[1:]:
        bare = word.strip(_AROUND)
        if found[-1] != found[-1].rstrip(_AROUND) or not _UNIT.fullmatch(bare) or set(terms(bare)) & asked:
            break
        found.append(word)
    return " ".join(found).strip(_AROUND)
