"""What is true in the generated world, before anything is drawn.

An *entity* ("Varelo Group") has one document with a page per topic. A *site* ("Plant K47") has one page in
some site document. An entity's page of sites states the codes, which are the bridges of two-hop questions.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from vrag.data.synthetic import vocabulary as words
from vrag.data.synthetic.difficulty import Difficulty
from vrag.errors import ConfigError

Form = Literal["flat", "series", "matrix"]  # labels; one metric over categories; metrics x categories
Key = tuple[str, str | None]  # (row label, category)

_FORMS: tuple[Form, ...] = ("flat", "flat", "series", "series", "matrix")

ENTITY_SHARE = 0.7  # of the documents; the others describe sites
SITES_PAGE_SHARE = 0.75  # of the entities say which sites they have


def name_of(key: Key) -> str:
    """What is printed beside a value: its category, or the label of its row."""
    return key[1] or key[0]


@dataclass(frozen=True)
class Value:
    """`text` is what the page prints; `answers` are its right spellings; `size` is what a chart draws."""

    text: str
    answers: tuple[str, ...]
    size: float


@dataclass(frozen=True)
class PageContent:
    """The facts of one page. `category` names the kind of `columns`; both are empty for a flat page."""

    subject: str
    topic: str
    form: Form
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    category: str | None
    values: dict[Key, Value]

    def value(self, row: str, column: str | None = None) -> Value:
        return self.values[row, column]

    def fill(self, sentence: str, rng: random.Random) -> str:
        """Small print about this page: `sentence` with its subject and metrics put in."""
        names = [f"the {row.lower()}" if self.is_sites else row.lower() for row in self.rows]
        every = f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
        return sentence.format(e=self.subject, m=rng.choice(names), all=every)

    @property
    def is_sites(self) -> bool:
        return self.topic == words.SITES_TOPIC


@dataclass(frozen=True)
class DocumentContent:
    """One document: `name` says nothing about what is inside."""

    name: str
    subject: str
    about: Literal["entity", "sites"]
    pages: tuple[PageContent, ...]


def build_world(
    rng: random.Random, split: words.Split, documents: int, dials: Difficulty, first: int = 1
) -> list[DocumentContent]:
    """`documents` (4 or more), numbered from `first`, whose entities and codes all differ; `ConfigError` if that can't
    be.
    """
    entity_count = max(1, min(documents - 1, round(documents * ENTITY_SHARE)))
    codes = _codes(rng, dials.code_digits, need=documents * len(words.SITES))
    entities = [
        _entity_pages(rng, name, codes, dials, with_sites=index == 0 or rng.random() < SITES_PAGE_SHARE)
        for index, name in enumerate(_entity_names(rng, split, entity_count))
    ]
    stated = [
        f"{row} {value.text}"
        for pages in entities
        for page in pages
        if page.is_sites
        for (row, _), value in page.values.items()
    ]
    rng.shuffle(stated)
    sites = _site_documents(rng, stated, codes, documents - entity_count, dials)
    contents: list[tuple[Literal["entity", "sites"], tuple[PageContent, ...]]] = [
        *(("entity", pages) for pages in entities),
        *(("sites", pages) for pages in sites),
    ]
    rng.shuffle(contents)
    return [
        DocumentContent(f"doc-{number:04d}.pdf", pages[0].subject, about, pages)
        for number, (about, pages) in enumerate(contents, first)
    ]


def _entity_names(rng: random.Random, split: words.Split, count: int) -> list[str]:
    """Names in families that share their first word, so that half a name is no answer to a search."""
    names: list[str] = []
    used: set[str] = set()
    while len(names) < count:
        family = words.invent_word(rng, split)
        if family in used:
            continue
        used.add(family)
        names += [f"{family} {suffix}" for suffix in rng.sample(words.SUFFIXES, rng.choice((1, 2, 2, 3)))]
    return names[:count]


def _codes(rng: random.Random, digits: int, need: int) -> Iterator[tuple[str, str]]:
    """(site, code) pairs, each once."""
    low, high = 10 ** (digits - 1), 10**digits
    total = len(words.SITES) * len(words.CODE_LETTERS) * (high - low)
    if need > total:
        raise ConfigError(f"{need} sites need more than the {total} codes there are; ask for fewer documents")
    every = [
        (site, f"{letter}{number}")
        for site in words.SITES
        for letter in words.CODE_LETTERS
        for number in range(low, high)
    ]
    rng.shuffle(every)
    return iter(every)


def _entity_pages(
    rng: random.Random, name: str, codes: Iterator[tuple[str, str]], dials: Difficulty, *, with_sites: bool
) -> tuple[PageContent, ...]:
    count = rng.randint(4, 6)
    topics = rng.sample(words.TOPICS, count - with_sites)
    pages = [metrics_page(rng, name, topic, dials, rng.choice(_FORMS)) for topic in topics]
    if with_sites:
        pages.insert(rng.randrange(count), _sites_page(rng, name, codes, dials))
    return tuple(pages)


def _sites_page(rng: random.Random, name: str, codes: Iterator[tuple[str, str]], dials: Difficulty) -> PageContent:
    wanted = rng.randint(max(3, dials.rows[0] - 1), min(len(words.SITES), dials.rows[1]))
    found: dict[str, str] = {}
    for site, code in codes:  # each code is used up, also one that this entity can't use: there are plenty
        found.setdefault(site, code)
        if len(found) == wanted:
            break
    rows = tuple(rng.sample(sorted(found), len(found)))
    values: dict[Key, Value] = {(row, None): Value(found[row], (found[row],), 50.0) for row in rows}
    return PageContent(name, words.SITES_TOPIC, "flat", rows, (), None, values)


def _site_documents(
    rng: random.Random,
    stated: Sequence[str],
    codes: Iterator[tuple[str, str]],
    count: int,
    dials: Difficulty,
) -> list[tuple[PageContent, ...]]:
    """Documents of 4 to 6 site pages; sites that no entity names fill up what is left."""
    waiting = iter(stated)
    documents: list[tuple[PageContent, ...]] = []
    for _ in range(count):
        names = [next(waiting, None) or " ".join(next(codes)) for _ in range(rng.randint(4, 6))]
        documents.append(tuple(metrics_page(rng, name, words.OPERATIONS, dials, "flat") for name in names))
    return documents


def metrics_page(rng: random.Random, subject: str, topic: words.Topic, dials: Difficulty, form: Form) -> PageContent:
    rows = tuple(rng.sample(topic.metrics, rng.randint(*dials.rows)))
    category, columns = None, ()
    if form != "flat":
        category = rng.choice(sorted(words.CATEGORIES) if form == "series" else ("quarter", "year"))
        low, high = dials.points if form == "series" else dials.columns
        columns = _categories(rng, category, rng.randint(low, high))
    if form == "series":
        rows = rows[:1]
    keys: list[Key] = [(row, column) for row in rows for column in (columns or (None,))]
    values = dict(zip(keys, _numbers(rng, len(keys), topic, rows, dials), strict=True))
    return PageContent(subject, topic.name, form, rows, columns, category, values)


def _categories(rng: random.Random, category: str, count: int) -> tuple[str, ...]:
    """`count` categories in their order (fewer when there are no more); years are consecutive."""
    every = words.CATEGORIES[category]
    start = rng.randint(0, max(0, len(every) - count))
    return every[start : start + count]


def _numbers(rng: random.Random, count: int, topic: words.Topic, rows: Sequence[str], dials: Difficulty) -> list[Value]:
    """`count` different values, uniform over their range, so that a constant answer is nearly never right."""
    if dials.numbers == "two-digit":
        return [_plain(number) for number in rng.sample(range(10, 100), count)]
    if dials.numbers == "three-digit":
        return [_plain(number) for number in rng.sample(range(10, 1000), count)]
    counted = any(words.grammar(row) == "count" for row in rows)
    style = "thousands" if counted else rng.choice(("thousands", "decimal", "unit"))
    if style == "thousands":
        return [_thousands(number) for number in rng.sample(range(1000, 100_000), count)]
    unit = topic.unit if style == "unit" else ""
    return [_decimal(number, unit) for number in rng.sample(range(100, 10_000), count)]


def _plain(number: int) -> Value:
    return Value(str(number), (str(number),), float(number))


def _thousands(number: int) -> Value:
    return Value(f"{number:,}", (f"{number:,}", str(number)), float(number))


def _decimal(tenths: int, unit: str) -> Value:
    plain = f"{tenths / 10:.1f}"
    if not unit:
        return Value(plain, (plain,), tenths / 10)
    return Value(f"{plain} {unit}", (f"{plain} {unit}", plain), tenths / 10)
