"""The numbers of the report: the headline, and tables with one column per run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from vrag.evaluation.intervals import Difference, Interval
from vrag.evaluation.judging import cost, cost_each
from vrag.evaluation.metrics import Summary
from vrag.evaluation.report.charts import interval_mark
from vrag.evaluation.report.html import Html, el, foreign, join

Column = tuple[str, Summary]
Cell = str | Interval | None


def headline(columns: Sequence[Column], difference: Difference | None) -> Html:
    """The accuracy of the first and of the last run, large, and whether they differ."""
    shown = [columns[0], columns[-1]] if len(columns) > 1 else list(columns)
    figures: list[Html] = []
    for index, (name, summary) in enumerate(shown):
        if index:
            figures.append(el("span", "→", class_="arrow", aria_hidden="true"))
        figures.append(_figure(name, summary.accuracy))
    return el("section", el("div", *figures, class_="figures"), _verdict(difference), class_="headline")


def _figure(name: str, accuracy: Interval | None) -> Html:
    if accuracy is None:
        return el("div", el("span", "–", class_="big"), el("span", name), class_="figure")
    return el(
        "div",
        el("span", name, class_="name"),
        el("span", f"{100 * accuracy.value:.0f}", el("small", " %"), class_="big"),
        el("span", f"{_range(accuracy)} of {accuracy.n} questions", class_="range"),
        class_="figure",
    )


def _verdict(difference: Difference | None) -> Html:
    if difference is None:
        return Html("")
    return el(
        "p",
        el("b", f"{100 * difference.value:+.1f} points"),
        f" (95 % interval {100 * difference.low:+.1f} to {100 * difference.high:+.1f}, {said_p(difference.p)}): ",
        f"better on {difference.better}, worse on {difference.worse} of the same {difference.n} questions.",
        class_="verdict",
    )


def main_table(columns: Sequence[Column]) -> Html:
    rows: list[tuple[str, Callable[[Summary], Cell]]] = [
        ("Right answers", lambda s: s.accuracy),
        ("Gold answer stands in the answer", lambda s: s.contained),
        ("Finished with an answer", lambda s: s.finished),
        ("Turns without a valid action", lambda s: s.invalid),
        ("Gold pages first in the first search", lambda s: s.first_search and s.first_search.recall[1]),
        ("Recall@5 of the first search", lambda s: s.first_search and s.first_search.recall[5]),
        ("MRR of the first search", lambda s: s.first_search and _value(s.first_search.mrr)),
        ("nDCG of the pages shown", lambda s: s.shown and _value(s.shown.ndcg)),
        ("Gold pages shown", lambda s: s.coverage),
        ("All gold pages shown", lambda s: s.complete),
        ("Gold boxes inside the crop", lambda s: s.box_containment),
        ("IoU of crop and gold box", lambda s: s.box_iou and _value(s.box_iou)),
        ("Agent's requests, tokens in + out", lambda s: s.usage and cost(s.usage)),
        ("The same per episode", lambda s: s.usage and cost_each(s.usage, s.episodes)),
        ("Judge and rules agree", lambda s: s.judge and s.judge.agreement),
        ("Answers the judge couldn't judge", lambda s: s.judge and str(s.judge.unscored)),
        ("Judge's requests, tokens in + out", lambda s: s.judge and cost(s.judge)),
        ("Reward", lambda s: _maybe(s.reward.get("total"), lambda value: f"{value:.2f}")),
        ("Turns", lambda s: f"{s.turns:.1f}"),
        ("Searches", lambda s: f"{s.searches:.1f}"),
        ("Crops", lambda s: f"{s.crops:.1f}"),
        ("Tokens", lambda s: f"{s.total_tokens:.0f}" if s.total_tokens else None),
        ("Tokens written", lambda s: f"{s.sampled_tokens:.0f}" if s.sampled_tokens else None),
        ("Seconds per episode", lambda s: f"{s.seconds:.2f}"),
        ("Episodes scored", lambda s: f"{s.scored} of {s.episodes}"),
    ]
    cells = [(label, [read(summary) for _, summary in columns]) for label, read in rows]
    return table("Measure", _names(columns), [row for row in cells if any(cell is not None for cell in row[1])])


def group_table(
    title: str, columns: Sequence[Column], read: Callable[[Summary], dict[str, Interval]], most: int | None = None
) -> Html:
    """Accuracy by group (hops, kinds of page); nothing when there is only one group. `most`: only so many, those with
    the most questions, and how many there are is said.
    """
    count = Counter[str]()
    for _, summary in columns:
        count |= Counter({name: share.n for name, share in read(summary).items()})
    names = sorted(count) if most is None else [name for name, _ in count.most_common(most)]
    if len(names) < 2:
        return Html("")
    if len(names) < len(count):
        title = f"{title}: the {len(names)} with most questions, of {len(count)}"
    rows = [(name, [_counted(read(summary).get(name)) for _, summary in columns]) for name in names]
    return table(title, _names(columns), rows)


def footnotes(columns: Sequence[Column]) -> Html:
    notes = ["Ranges are 95 % intervals: Wilson's for one sample per question, else a bootstrap over questions."]
    out = [el("p", *notes)]
    constant = next((summary.constant for _, summary in columns if summary.constant), None)
    if constant:
        said = (el("q", foreign(constant.answer)), f" would be right for {percent(constant.share)} of them.")
        out.append(el("p", "The best single answer to every question, ", *said))
    for name, summary in columns:
        if summary.errored:
            failed = f"{summary.errored} of {summary.episodes} episodes failed in infrastructure or scoring"
            out.append(el("p", f"{name}: {failed}; they are not scored."))
    return el("div", *out, class_="notes")


def table(corner: str, heads: Sequence[str], rows: Sequence[tuple[str, Sequence[Cell]]]) -> Html:
    """Rows with a label each; what is wider than the page scrolls beside it."""
    head = el("tr", el("th", corner, scope="col"), *[el("th", name, scope="col") for name in heads])
    body = [el("tr", el("th", label, scope="row"), *[_cell(cell) for cell in cells]) for label, cells in rows]
    return el("div", el("table", el("thead", head), el("tbody", *body)), class_="scroll")


def _names(columns: Sequence[Column]) -> list[str]:
    return [name for name, _ in columns]


def _cell(cell: Cell) -> Html:
    if isinstance(cell, Interval):
        return el("td", _share(cell), interval_mark(cell), title=f"n = {cell.n}")
    return el("td", "–" if cell is None else cell)


def _counted(interval: Interval | None) -> Html | None:
    """A share with the number of questions: groups are small."""
    if interval is None:
        return None
    return join([_share(interval), el("small", f" of {interval.n}"), interval_mark(interval)])


def _share(interval: Interval) -> Html:
    return join([el("b", percent(interval.value, 1)), " ", el("small", _range(interval))])


def _range(interval: Interval) -> str:
    return f"{100 * interval.low:.0f}–{100 * interval.high:.0f} %"


def percent(value: float, digits: int = 0) -> str:
    return f"{100 * value:.{digits}f} %"


def _value(interval: Interval) -> Html:
    return join([f"{interval.value:.2f} ", el("small", f"{interval.low:.2f}–{interval.high:.2f}")])


def _maybe(value: float | None, say: Callable[[float], str]) -> str | None:
    return None if value is None else say(value)


def said_p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
