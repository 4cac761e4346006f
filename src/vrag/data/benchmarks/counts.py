"""How many questions, documents and pages the published datasets are said to have, and what differs, in words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """`questions`: each number that is published, with where. None: not published, or not the same everywhere."""

    questions: dict[int, str]
    documents: int | None = None
    pages: int | None = None
    note: str = ""


_PAPER = "VRAG-RL's table 4"
_SLIDEVQA = "its card on the Hub"
COUNTS: dict[str, Published] = {
    "slidevqa:test": Published(
        {2215: _SLIDEVQA},
        400,
        8000,
        f"{_PAPER} has 2,020 test questions, SlideVQA-Refined's: `vrag data vidoseek … --split slidevqa_refined`",
    ),
    "slidevqa:val": Published({1652: _SLIDEVQA}, 300, 6000),
    "slidevqa:train": Published(
        {10617: _SLIDEVQA},
        1919,
        38380,
        f"{_PAPER} has 12,268 training questions on 44,359 pages, about train and val together (12,269 on 44,380)",
    ),
    "vidoseek": Published({1142: f"its paper and {_PAPER}"}, 292, 5385, f"{_PAPER} rounds the pages to 5,400"),
    "slidevqa_refined": Published({2020: f"ViDoSeek's paper and {_PAPER}"}, 400, 8000),
    "mmlongbench": Published(
        {1091: "its card on the Hub", 1082: "its paper", 1062: "its repository's README"},
        None,
        None,
        f"{_PAPER} has 847 questions on 6,492 pages: probably those of the Hub's that can be answered",
    ),
}


def differences(source: str, questions: int, documents: int, pages: int) -> list[str]:
    """A sentence for each count that is none of the published ones; none for a dataset that isn't published."""
    known = COUNTS.get(source)
    if known is None:
        return []
    said: list[str] = []
    if questions not in known.questions:
        published = ", ".join(f"{count:,} ({where})" for count, where in known.questions.items())
        said.append(f"{questions:,} questions; published: {published}")
    for name, here, there in (("documents", documents, known.documents), ("pages", pages, known.pages)):
        if there is not None and here != there:
            said.append(f"{here:,} {name}; published: {there:,}")
    return said


def note(source: str) -> str:
    """What to know when figures are compared with the paper's; "" where there is nothing."""
    known = COUNTS.get(source)
    return known.note if known else ""
