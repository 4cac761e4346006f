"""Questions of one and of two hops about drawn pages, with gold answers, pages and boxes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from vrag.data.synthetic.render import DrawnPage, page_index
from vrag.data.synthetic.vocabulary import OPERATIONS, Grammar, Split, grammar
from vrag.data.synthetic.world import Key
from vrag.errors import ConfigError
from vrag.types import Evidence, PageRef, Task

# {m} metric, {e} whose it is ("Varelo Group", "the plant of Varelo Group"), {in} "" or " in 2022".
PHRASINGS: dict[Grammar, tuple[str, ...]] = {
    "amount": (
        "What is the {m} of {e}{in}?",
        "How high is the {m} of {e}{in}?",
        "Which {m} does {e} report{in}?",
        "State the {m} of {e}{in}.",
    ),
    "sums": (
        "What are the {m} of {e}{in}?",
        "How high are the {m} of {e}{in}?",
        "Which {m} does {e} report{in}?",
        "State the {m} of {e}{in}.",
    ),
    "count": (
        "How many {m} does {e} report{in}?",
        "What is the number of {m} of {e}{in}?",
        "How many {m} are there at {e}{in}?",
        "State the number of {m} of {e}{in}.",
    ),
}
UNSEEN_PHRASINGS: tuple[str, ...] = (
    "Looking at {e}, what figure is given for {m}{in}?",
    "I need the {m} figure of {e}{in}. What is it?",
)


@dataclass(frozen=True)
class Fact:
    """One value on one page."""

    page: DrawnPage
    key: Key

    @property
    def text(self) -> str:
        return self.page.content.values[self.key].text

    def evidence(self) -> Evidence:
        return Evidence(ref=PageRef(document=self.page.document, page=self.page.number), box=self.page.boxes[self.key])


def ask(
    rng: random.Random,
    pages: Sequence[DrawnPage],
    count: int,
    two_hop_share: float,
    split: Split,
    *,
    unseen: bool,
) -> list[Task]:
    """`count` different questions in random order; raises `ConfigError` if the pages can't carry them."""
    one_hop = [(fact,) for fact in _facts(pages)]
    two_hop = _bridges(pages)
    wanted = round(count * two_hop_share)
    if count - wanted > len(one_hop) or wanted > len(two_hop):
        raise ConfigError(
            f"{count} questions ({wanted} of two hops) are more than these pages carry "
            f"({len(one_hop)} of one hop, {len(two_hop)} of two); ask for fewer or for more documents"
        )
    chosen = [*_balanced(rng, one_hop, count - wanted), *_balanced(rng, two_hop, wanted)]
    rng.shuffle(chosen)
    own = split == "heldout" and unseen
    return [_task(rng, hops, number, split, own) for number, hops in enumerate(chosen, start=1)]


def _facts(pages: Sequence[DrawnPage]) -> list[Fact]:
    """What can be asked in one hop: all that is said about entities, apart from codes."""
    return [
        Fact(page, key)
        for page in pages
        if not page.content.is_sites and page.content.topic != OPERATIONS.name
        for key in page.content.values
    ]


def _bridges(pages: Sequence[DrawnPage]) -> list[tuple[Fact, Fact]]:
    """A code on an entity's page, and a value on the page of the site that has this code."""
    subjects = page_index(pages)
    return [
        (Fact(page, key), Fact(site, site_key))
        for page in pages
        if page.content.is_sites
        for key, value in page.content.values.items()
        for site in subjects.get(f"{key[0]} {value.text}", [])
        for site_key in site.content.values
    ]


def _balanced(rng: random.Random, hops: Sequence[tuple[Fact, ...]], count: int) -> list[tuple[Fact, ...]]:
    """`count` of `hops`, in turn by the kind of the page that holds the answer, while a kind lasts."""
    kinds: dict[str, list[tuple[Fact, ...]]] = {}
    for hop in hops:
        kinds.setdefault(hop[-1].page.layout.kind, []).append(hop)
    for group in kinds.values():
        rng.shuffle(group)
    chosen: list[tuple[Fact, ...]] = []
    while len(chosen) < count:
        for kind in sorted(kinds):
            if kinds[kind] and len(chosen) < count:
                chosen.append(kinds[kind].pop())
    return chosen


def _task(rng: random.Random, hops: tuple[Fact, ...], number: int, split: Split, unseen: bool) -> Task:
    first, last = hops[0], hops[-1]
    metric, category = last.key
    entity = first.page.content.subject
    site = first.key[0].lower() if len(hops) == 2 else None
    style = grammar(metric)
    templates = PHRASINGS[style] + (UNSEEN_PHRASINGS * 2 if unseen else ())
    question = rng.choice(templates).format(
        m=metric.lower(), e=f"the {site} of {entity}" if site else entity, **{"in": _when(last)}
    )
    bridge = first.text if site else None
    queries = [f"{entity} {metric.lower()}"]
    if site:
        queries = [f"{entity} {site}", f"{first.key[0]} {bridge} {metric.lower()}"]
    return Task(
        id=f"{split}-{number:05d}",
        question=question,
        answers=list(last.page.content.values[last.key].answers),
        gold=[fact.evidence() for fact in hops],
        hops=len(hops),
        kind=last.page.layout.kind,
        source=f"synthetic-{split}",
        meta={
            "entity": entity,
            "metric": metric,
            "topic": last.page.content.topic,
            "category": category,
            "layout": last.page.layout.name,
            "layouts": [fact.page.layout.name for fact in hops],
            "site": first.key[0] if site else None,
            "bridge": bridge,
            "queries": queries,
        },
    )


def _when(fact: Fact) -> str:
    category = fact.key[1]
    if category is None:
        return ""
    return f" in region {category}" if fact.page.content.category == "region" else f" in {category}"
