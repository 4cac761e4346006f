"""Where an answer stands: the page and the box that the episode looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vrag.policies.extractive import NOTHING
from vrag.protocols import PageStore
from vrag.rewards.answer import normalise
from vrag.rewards.mmlongbench import declines
from vrag.types import Box, Evidence, Hit, Observation, Page, Turn, View


@dataclass(frozen=True)
class Located:
    """`evidence.box` is relative and None for a page that wasn't cropped; `region` is in raw pixels."""

    evidence: Evidence
    page: Page
    region: Box


def locate(turns: Sequence[Turn], answer: str | None, store: PageStore) -> Located | None:
    """The last view of the page that the answer came from; None if nothing was shown, and for no answer or one that
    says that there is none.

    That is where the policy says that it read it. If it doesn't say, it is the last page shown (of several that one
    search showed, the best one), unless its text lacks the answer and the text of another one has it.
    """
    if answer is None or says_none(answer):
        return None
    looks = [look for turn in reversed(turns) if turn.observation for look in _looks(turn.observation)]
    if not looks:
        return None
    look = turns[-1].read_from or _source(looks, answer, store)
    page = store.page(look.page_id)
    region = look.region if isinstance(look, View) else Box(x1=0, y1=0, x2=page.width, y2=page.height)
    whole = (region.width, region.height) == (page.width, page.height)
    box = None if whole else region.scaled(1 / page.width, 1 / page.height)
    return Located(Evidence(ref=look.ref, box=box), page, region)


def says_none(answer: str) -> bool:
    """Whether an answer says that there is none, in the words of our policies or of the benchmark that asks for it."""
    return answer.strip().rstrip(".").casefold() == NOTHING or declines(answer)


def _looks(seen: Observation) -> Sequence[View | Hit]:
    """At images, or at pages as text; the best first."""
    return seen.views or seen.read


def _source(looks: Sequence[View | Hit], answer: str, store: PageStore) -> View | Hit:
    last = looks[0]
    if store.page(last.page_id).text_source == "none":
        return last
    wanted = f" {normalise(answer)} "
    for look in looks:
        if wanted in f" {normalise(store.page(look.page_id).text)} ":
            return look
    return last
