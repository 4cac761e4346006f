"""How runs stand: against one of them, beside the paper, and in which settings they differ."""

from __future__ import annotations

from vrag.evaluation.comparison import Comparison, Paired
from vrag.evaluation.intervals import FLIPS
from vrag.evaluation.paper import PaperTable
from vrag.evaluation.report.html import Html, el, foreign, join
from vrag.evaluation.report.tables import Cell, percent, said_p, table


def standings(comparison: Comparison) -> Html:
    """A row for each run: right answers, and the paired difference from the baseline."""
    others = len(comparison.paired)
    heads = ["Right answers", "Difference, in points", "Better, worse", "p", *(["p, corrected"] if others > 1 else [])]
    rows: list[tuple[str, list[Cell]]] = []
    for name, summary in comparison.runs.items():
        if name == comparison.baseline:
            label, cells = join([name, " ", el("small", "baseline")]), [*[""] * (len(heads) - 1)]
        else:
            label, cells = Html(join([name])), _paired(comparison.paired.get(name))[: len(heads) - 1]
        rows.append((label, [summary.accuracy, *cells]))
    return el("section", el("h2", "Runs"), table("Run", heads, rows), _how(comparison), class_="standings")


def _paired(paired: Paired | None) -> list[Cell]:
    if paired is None:
        return [None] * 4
    one = paired.difference
    between = f"{100 * one.low:+.1f} to {100 * one.high:+.1f}"
    value = join([el("b", f"{100 * one.value:+.1f}"), " ", el("small", between)])
    return [value, f"{one.better}, {one.worse} of {one.n}", _p(one.p), _p(paired.p_holm)]


def _p(value: float) -> str:
    return said_p(value).removeprefix("p ").removeprefix("= ")


def _how(comparison: Comparison) -> Html:
    said = [
        f"Differences are from {comparison.baseline}, on the questions that both runs scored, with 95 % bootstrap "
        "intervals over questions.",
        *tests_said(comparison),
    ]
    return el("div", *[el("p", text) for text in said], class_="notes")


def tests_said(comparison: Comparison) -> list[str]:
    """Which test the p-values are of, and what isn't compared."""
    used = {paired.difference.test for paired in comparison.paired.values()}
    said: list[str] = []
    if "mcnemar" in used:
        said.append("p is of McNemar's exact test, two-sided.")
    if "sign-flip" in used:
        said.append(f"p of a run with several samples is of {FLIPS:,} random flips of the questions' signs, two-sided.")
    if len(comparison.paired) > 1:
        said.append(f"Corrected: after Holm, for {len(comparison.paired)} comparisons.")
    if unlike := comparison.unlike:
        named = ", ".join(unlike[:3]) + (" …" if len(unlike) > 3 else "")
        said.append(f"Not compared: {named} ({len(unlike)} in all), under which the runs have different questions.")
    return said


def paper_section(tables: list[PaperTable]) -> Html:
    """The paper's rows beside ours, marked as published; nothing for questions that aren't the paper's."""
    if not tables:
        return Html("")
    return el("section", el("h2", "Beside the paper"), *[part for one in tables for part in _paper(one)])


def _paper(one: PaperTable) -> list[Html]:
    rows: list[tuple[str, list[Cell]]] = [(name, [*shares]) for name, shares in one.ours.items()]
    for row in one.rows:
        label = join([f"{row.system}, {row.size} ", el("span", "published", class_="tag")])
        rows.append((label, [percent(share, 1) for share in row.shares]))
    return [table(one.benchmark, one.columns, rows), el("div", *[el("p", note) for note in one.notes], class_="notes")]


def settings_section(comparison: Comparison) -> Html:
    """What the runs were started with, where that differs."""
    if not comparison.settings:
        return Html("")
    names = list(comparison.runs)
    rows: list[tuple[str, list[Cell]]] = [
        (setting, [foreign(values[name]) for name in names]) for setting, values in comparison.settings.items()
    ]
    return el("section", el("h2", "Settings that differ"), table("Setting", names, rows), class_="settings")
