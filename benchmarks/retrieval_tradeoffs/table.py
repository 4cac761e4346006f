"""The figures of a run, as a table in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import mean

from methods import ORACLE, Method

from vrag.evaluation.intervals import compare
from vrag.evaluation.retrieval import Found, RetrievalSummary, grades
from vrag.rewards.retrieval import ndcg
from vrag.types import PageRef, Task

K = 10
TITLES = "method", "nDCG@5", "nDCG@10", "Δ nDCG@10 (95 %)", "recall@10", "overlap@10", "bytes/page", "ms", "speed"


def table(
    tasks: Sequence[Task], made: Mapping[str, Method], summaries: Sequence[RetrievalSummary], found: Iterable[Found]
) -> str:
    """A row for each method, as README.md says; questions that failed enter no figure."""
    pages: dict[str, dict[str, list[PageRef]]] = {name: {} for name in made}
    for one in found:
        if one.by in made and one.error is None:
            pages[one.by][one.task] = one.pages
    gains = {
        name: {task.id: [ndcg(of[task.id], grades(task), K)] for task in tasks if task.id in of}
        for name, of in pages.items()
    }
    base = summaries[0].milliseconds
    lines = [row(TITLES), "|" + "---|" * len(TITLES)]
    for one in summaries:
        delta = compare(gains[ORACLE], gains[one.by])
        lines.append(row([
            one.by,
            *(f"{one.ndcg[depth].value:.3f}" for depth in (5, 10)),
            "" if one.by == ORACLE or delta is None else f"{delta.value:+.3f} ({delta.low:+.3f} to {delta.high:+.3f})",
            f"{one.recall[K].value:.3f}",
            f"{overlap(pages[one.by], pages[ORACLE]):.3f}",
            f"{made[one.by].bytes:,.0f}",
            f"{one.milliseconds:.2f}",
            f"{base / one.milliseconds:.2f}×" if base and one.milliseconds else "",
        ]))  # fmt: skip
    return "\n".join(lines)


def row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def overlap(pages: Mapping[str, Sequence[PageRef]], oracle: Mapping[str, Sequence[PageRef]]) -> float:
    """The share of the oracle's pages that were found, over the questions that have any."""
    asked = [task for task, found in oracle.items() if found]
    return mean(len(set(pages.get(task, ())) & set(oracle[task])) / len(oracle[task]) for task in asked)
