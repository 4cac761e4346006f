"""One HTML file that shows what runs did: numbers with intervals, curves, and trajectories one can read.

The file is self-contained and makes no request: images are data, and its content security policy forbids
everything else and every script but its own, so that text of models and documents stays text.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from vrag.episode import EpisodeRecord
from vrag.evaluation.intervals import Interval
from vrag.evaluation.metrics import Summary, compare_runs, said_kind, summarize
from vrag.evaluation.report.charts import Chart, line_chart
from vrag.evaluation.report.gallery import Trajectory, choose, gallery
from vrag.evaluation.report.html import Html, el, join
from vrag.evaluation.report.images import Images
from vrag.evaluation.report.tables import footnotes, group_table, headline, main_table
from vrag.protocols import PageStore
from vrag.runs import atomic_write

__all__ = [
    "Chart",
    "Html",
    "Images",
    "Run",
    "Trajectory",
    "choose",
    "draw_curves",
    "gallery",
    "write_page",
    "write_report",
]


@dataclass(frozen=True)
class Run:
    """One column of the tables. The first is what the last is compared with."""

    name: str
    records: Sequence[EpisodeRecord]


def write_report(
    path: Path,
    runs: Sequence[Run],
    curves: Sequence[Chart],
    trajectories: Sequence[Trajectory] | int,
    corpus: PageStore,
    *,
    title: str = "vrag report",
    lead: str = "",
    facts: Mapping[str, str] | None = None,
    image_budget: int = 8_000_000,
) -> None:
    """Write the report to `path`, replacing it as a whole.

    `trajectories` are shown as given; a number means that many questions of the last run, spread over right
    and wrong, hops and kinds of page, each with what the other runs answered. `facts` (name to value) close
    the page: settings, commands, versions. `image_budget` bounds the bytes of embedded images; what doesn't
    fit is replaced by a note. Raises `ValueError` without runs.
    """
    if not runs:
        raise ValueError("a report needs at least one run")
    columns = [(run.name, summarize(run.records)) for run in runs]
    images = Images(corpus, image_budget)
    chosen = _trajectories(runs, trajectories) if isinstance(trajectories, int) else trajectories
    cards = gallery(chosen, images)
    sections = [
        headline(columns, compare_runs(runs[0].records, runs[-1].records) if len(runs) > 1 else None),
        _numbers(columns),
        draw_curves(curves),
        images.definitions(),
        cards,
    ]
    write_page(path, sections, title=title, lead=lead, facts=facts)


def write_page(
    path: Path,
    sections: Sequence[Html],
    *,
    title: str,
    lead: str = "",
    facts: Mapping[str, str] | None = None,
    wide: bool = False,
) -> None:
    """Write `sections` as one page, replacing `path` as a whole; `facts` (name to value) close it. `wide`: for tables
    of many columns.
    """
    header = el("header", el("h1", title), *([el("p", lead, class_="lead")] if lead else []), class_="top")
    atomic_write(path, _document(title, join([header, *sections, _facts(facts or {})]), wide).encode())


def _trajectories(runs: Sequence[Run], limit: int) -> list[Trajectory]:
    first: list[tuple[str, dict[str, EpisodeRecord]]] = [
        (run.name, {record.task.id: record for record in reversed(run.records)}) for run in runs[:-1]
    ]
    return [
        Trajectory(record, [(name, by_task[record.task.id]) for name, by_task in first if record.task.id in by_task])
        for record in choose(runs[-1].records, limit)
    ]


def _numbers(columns: Sequence[tuple[str, Summary]]) -> Html:
    return el(
        "section",
        el("h2", "Numbers"),
        main_table(columns),
        group_table("Right answers by number of hops", columns, by_hop),
        group_table("Right answers by kind of page", columns, by_kind),
        footnotes(columns),
    )


def by_kind(summary: Summary) -> dict[str, Interval]:
    """Right answers by kind of content, named for people."""
    return {said_kind(kind): share for kind, share in summary.by_kind.items()}


def by_hop(summary: Summary) -> dict[str, Interval]:
    """Right answers by number of hops, named for people."""
    return {f"{hops} hop" if hops == "1" else f"{hops} hops": share for hops, share in summary.by_hop.items()}


def draw_curves(curves: Sequence[Chart]) -> Html:
    """The section of curves; nothing where none has a point."""
    drawn = [figure for figure in map(line_chart, curves) if figure]
    if not drawn:
        return Html("")
    return el("section", el("h2", "Training"), el("div", *drawn, class_="charts"))


def _facts(facts: Mapping[str, str]) -> Html:
    if not facts:
        return Html("")
    rows = [el("div", el("dt", name), el("dd", value)) for name, value in facts.items()]
    return el("section", el("h2", "How this was made"), el("dl", *rows, class_="facts"))


def _document(title: str, body: Html, wide: bool) -> str:
    style = Html("".join(map(_packaged, ("theme.css", "page.css", "tokens.css"))))
    script = Html("".join(map(_packaged, ("tokens.js", "page.js"))))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    head = [
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("title", title),
        el("style", style),
    ]
    main = el("main", body, class_="wide" if wide else None)
    document = el("html", el("head", *head), el("body", main, el("script", script, type="module")), lang="en")
    return f"<!doctype html>\n{document}\n"


def _packaged(name: str) -> str:
    return files(__name__).joinpath(name).read_text(encoding="utf-8")
