"""Find the passage that answers a question, by the words they share. No model."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, takewhile

from vrag.policies.dates import asks_when, whole_date
from vrag.policies.fields import find_field
from vrag.policies.passages import Passage, around, distance, join, passages
from vrag.policies.tables import find_cell, find_tables
from vrag.policies.terms import asks_where, asks_who, content_words, expects_number, names, numbers, people, terms
from vrag.types import Box, Word

MAX_ANSWER_WORDS = 45
_CONTEXT = 0.4  # what a term counts for that stands only in what leads to the passage
_TITLE = 0.9  # and for one in the title of the page
_PAIR = 0.25  # for two terms that follow each other as in the question
_WANTED = 0.6  # for a number that isn't the question's own, a person or an address, when that is asked for
_LABELLED = 0.6  # of the question must stand in labels and titles for one of them to answer it
_LEADER, _HEADING = 0.3, 0.7  # what lines of a table of contents and headings count for
_SHORT = 12  # words of a line from which a lone number is the answer
_MERE = 2  # words of a sentence that doesn't answer alone
_AROUND = ".,;:()[]"  # of a word: not part of an answer
_UNIT = re.compile(
    r"%|percent|per|cent|(?:thousand|million|billion|trillion|second|minute|hour|day|week|month|year|euro|dollar|pound|"
    r"degree|inch|meter|metre|mile|byte|page|item)s?|inches|feet|ft|[kcmµn]?m|[kKMGT]i?B|[kmµ]?g|[kMG]?(?:W|V|A|Hz)|[munµ]?s|"
    r"bar|°C?|Prozent|Millionen|Milliarden|Euro|Stunden|Tage|Wochen|Monate|Jahre|[$€£¥]"
)


@dataclass(frozen=True)
class Question:
    """What is compared: the terms of the content words, in order, each once; `parts`: the same, those of a word with a
    digit together, since half of P-250 is nothing. `names`: see `vrag.policies.terms.names`.
    """

    text: str
    terms: Sequence[str]
    parts: Sequence[Sequence[str]]
    names: Sequence[str]
    wants_number: bool
    wants_date: bool

    @classmethod
    def of(cls, text: str) -> Question:
        words = content_words(text)
        parts = [part for word in words for part in _parts(word)]
        found = dict.fromkeys(term for part in parts for term in part)
        return cls(text, list(found), list(dict.fromkeys(parts)), names(text), expects_number(text), asks_when(text))


@dataclass(frozen=True)
class Reading:
    """The best passage, what stands around it, and how much of the question it matches (0..1); `missing` are the names
    in the question that stand nowhere on the page.
    """

    passage: Passage
    beside: Sequence[Passage]
    answer: str
    coverage: float
    missing: Sequence[str] = ()

    @property
    def box(self) -> Box:
        """Raw pixels of the page."""
        return around(item.box for item in (self.passage, *self.beside))


def read_page(words: Sequence[Word], question: Question, region: Box, document: str = "") -> Reading | None:
    """What answers the question in `region` of a page: a cell of a table or the value beside a label, if the labels of
    the page say as much of the question as its prose does; else the best passage. The name of the `document` counts
    as a title of the page.
    """
    found = _read_page(words, question, region, document)
    if found is None:
        return None
    said = f" {' '.join([*terms(' '.join(word.text for word in words)), *terms(document)])} "
    return replace(found, missing=[name for name in question.names if f" {' '.join(terms(name))} " not in said])


def _read_page(words: Sequence[Word], question: Question, region: Box, document: str) -> Reading | None:
    prose = read(passages(words), question, region, document)
    tables = find_tables(words)
    cell = find_cell(tables, question.terms, region)
    if cell is not None and cell.coverage >= max(_LABELLED, prose.coverage if prose else 0.0):
        return Reading(cell.value, cell.labels, cell.value.text, cell.coverage)
    grids = [table.box for table in tables if table.crossed]
    field = find_field(words, question.terms, question.text, region, grids)
    if field is None or field.coverage < max(_LABELLED, prose.coverage if prose else 0.0):
        return prose
    return Reading(field.value, field.labels, field.value.text, field.coverage)


def read(items: Sequence[Passage], question: Question, region: Box, document: str = "") -> Reading | None:
    """The best passage in `region` of a page's passages `items`; None if none matches anything."""
    said = [terms(item.text) for item in items]
    bags = [set(found) for found in said]
    weights = {term: 1 / (1 + math.log(max(1, sum(term in bag for bag in bags)))) for term in question.terms}
    title = {*terms(document), *(bags[0] if items and items[0].heading else ())}
    contexts = _contexts(items, bags)
    best, best_score = -1, 0.0
    for i, item in enumerate(items):
        led = {**dict.fromkeys(contexts[i], _CONTEXT), **dict.fromkeys(title, _TITLE)}
        score = _score(item, said[i], led, weights, question) * _kind(i, items, question)
        if score > best_score and _within(item.box, region):
            best, best_score = i, score
    if best < 0:
        return None
    near, listed = _beside(best, items), [item for item in _listed(best, items) if _within(item.box, region)]
    passage, answer = items[best], _concise(items[best], question)
    if listed:
        near, answer = listed, _cut([word for item in listed for word in item.words], question)
    elif passage.asks and (replies := _replies(best, items, region)):
        near, answer = replies, " ".join(_concise(one, question) for one in replies)
    elif not bags[best] - set(question.terms) and near:  # a label: what it labels stands beside it
        value = min(near, key=lambda item: distance(passage.box, item.box))
        answer = _concise(value, question)
    coverage = _coverage(bags[best] | title, contexts[best], question)
    return Reading(passage, near, answer, coverage * _kind(best, items, question))


def _score(
    item: Passage, said: Sequence[str], led: dict[str, float], weights: dict[str, float], question: Question
) -> float:
    """How well a passage fits; 0 when neither it nor what leads to it shares a term with the question."""
    own = set(said)
    score = sum(weight * (1.0 if term in own else led.get(term, 0.0)) for term, weight in weights.items())
    if not score:
        return 0.0
    text = f" {' '.join(said)} "
    score += _PAIR * sum(f" {first} {second} " in text for first, second in pairwise(question.terms))
    return score + (_WANTED if _answers(item, own, question) else 0.0)


def _answers(item: Passage, own: set[str], question: Question) -> bool:
    """Whether a passage has what is asked for: a number that isn't the question's own, a person, an address."""
    if question.wants_number:
        return bool(set(numbers(item.text)) - set(numbers(question.text)))
    if asks_who(question.text):
        return any(not set(question.terms) & set(terms(person)) for person in people(item.text))
    return asks_where(question.text) and "address" in own


def _kind(i: int, items: Sequence[Passage], question: Question) -> float:
    """Less than 1 for what names rather than says: contents, headings, the first row of a table; but not for a value
    whose label is asked for.
    """
    item = items[i]
    if item.leader:
        return _LEADER
    label = set(terms(item.label))
    if label and label <= set(question.terms):
        return 1.0
    first_row = item.row and not (i and items[i - 1].row) and any(n.row for n in items[i + 1 : i + 2])
    return _HEADING if item.heading or first_row else 1.0


def _coverage(own: set[str], context: set[str], question: Question) -> float:
    matched = sum(own.issuperset(part) for part in question.parts)
    led = sum((own | context).issuperset(part) for part in question.parts) - matched
    return (matched + _CONTEXT * led) / max(1, len(question.parts))


def _parts(word: str) -> list[tuple[str, ...]]:
    found = terms(word)
    return [tuple(found)] if any(char.isdigit() for char in word) else [(term,) for term in found]


def _contexts(items: Sequence[Passage], bags: Sequence[set[str]]) -> list[set[str]]:
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


def _listed(i: int, items: Sequence[Passage]) -> list[Passage]:
    """What a passage that ends in a colon leads to: the points of the list after it."""
    if not items[i].text.endswith(":"):
        return []
    return list(takewhile(lambda item: item.point, items[i + 1 :]))


def _replies(i: int, items: Sequence[Passage], region: Box) -> list[Passage]:
    """What answers a question of the page itself: the sentence after it, and the next one after a mere "Yes."."""
    after = list(takewhile(lambda item: not item.asks and _within(item.box, region), items[i + 1 : i + 3]))
    return after if after and len(after[0].words) <= _MERE else after[:1]


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
    return _cut(item.words, question)


def _cut(words: Sequence[Word], question: Question) -> str:
    """The text of `words`; of many the part that matches best."""
    if len(words) <= MAX_ANSWER_WORDS:
        return join(words)
    matches = [bool(set(terms(word.text)) & set(question.terms)) for word in words]
    spans = range(len(words) - MAX_ANSWER_WORDS + 1)
    start = max(spans, key=lambda k: (sum(matches[k : k + MAX_ANSWER_WORDS]), -k))
    return join(words[start : start + MAX_ANSWER_WORDS])


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
