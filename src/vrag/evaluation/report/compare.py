"""One page that compares runs: how they stand, in what, beside the paper, and the trajectories that differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vrag.evaluation.comparison import Comparison, EvalRun
from vrag.evaluation.intervals import Interval
from vrag.evaluation.metrics import Summary, said_pages
from vrag.evaluation.report import by_hop, by_kind, write_page
from vrag.evaluation.report.disagreements import disagreements
from vrag.evaluation.report.html import Html, el
from vrag.evaluation.report.images import Images
from vrag.evaluation.report.standings import paper_section, settings_section, standings
from vrag.evaluation.report.tables import Column, footnotes, group_table, main_table
from vrag.protocols import PageStore

DOCUMENTS = 12


def write_comparison(
    path: Path,
    comparison: Comparison,
    runs: Sequence[EvalRun],
    corpus: PageStore,
    *,
    questions: int = 40,
    image_budget: int = 12_000_000,
) -> None:
    """Write the page to `path`, replacing it as a whole. At most `questions` are shown with their trajectories, and
    pictures take at most `image_budget` bytes: what is left out is said.
    """
    columns = list(comparison.runs.items())
    images = Images(corpus, image_budget)
    cards = disagreements(comparison, runs, images, questions)
    sections = [
        standings(comparison),
        paper_section(comparison.paper),
        _numbers(columns),
        settings_section(comparison),
        images.definitions(),
        cards,
    ]
    names = ", ".join(comparison.runs)
    lead = f"{names}; differences are from {comparison.baseline}."
    write_page(path, sections, title=_title(columns), lead=lead, wide=True)


def _title(columns: Sequence[Column]) -> str:
    most = max(summary.questions for _, summary in columns)
    return f"{len(columns)} run{'s' * (len(columns) > 1)}, {most:,} questions"


def _numbers(columns: Sequence[Column]) -> Html:
    return el(
        "section",
        el("h2", "Numbers"),
        main_table(columns),
        group_table("Right answers by number of hops", columns, by_hop),
        group_table("By kind of content", columns, by_kind),
        group_table("By pages shown", columns, _by_pages),
        group_table("By document", columns, lambda summary: summary.by_document, DOCUMENTS),
        footnotes(columns),
    )


def _by_pages(summary: Summary) -> dict[str, Interval]:
    return {said_pages(key): share for key, share in summary.by_pages.items()}
