"""Several runs in the terminal."""

from __future__ import annotations

from collections.abc import Callable

from rich.table import Table

from vrag.evaluation.comparison import Comparison, Paired
from vrag.evaluation.intervals import Interval, percent
from vrag.evaluation.metrics import Summary, said_pages
from vrag.evaluation.paper import PaperTable
from vrag.evaluation.report import by_hop, by_kind
from vrag.evaluation.report.standings import tests_said


def comparison_tables(comparison: Comparison) -> list[Table]:
    """How they stand, what they did, groups of questions, and the paper's rows where the benchmark is one of its."""
    return [_standings(comparison), _behaviour(comparison), *_groups(comparison), *map(_paper, comparison.paper)]


def _standings(comparison: Comparison) -> Table:
    heads = ["right", "95 %", "n"]
    if len(comparison.runs) > 1:
        heads += ["difference", "95 %", "better, worse", "p"]
    if len(comparison.paired) > 1:
        heads.append("corrected")
    table = _table("right answers", "run", *heads)
    if len(comparison.runs) > 1:
        table.caption = " ".join([f"Differences are from {comparison.baseline}.", *tests_said(comparison)])
        table.caption_justify = "left"
    for name, summary in comparison.runs.items():
        one = summary.accuracy
        share = [percent(one.value), _range(one), str(one.n)] if one else ["–", "", ""]
        compared = ["baseline"] if name == comparison.baseline else _paired(comparison.paired.get(name))
        table.add_row(name, *[*share, *compared][: len(heads)])
    return table


def _paired(paired: Paired | None) -> list[str]:
    if paired is None:
        return ["no question in common"]
    one = paired.difference
    between = f"{100 * one.low:+.1f} to {100 * one.high:+.1f}"
    return [f"{100 * one.value:+.1f}", between, f"{one.better}, {one.worse} of {one.n}", _p(one.p), _p(paired.p_holm)]


def _behaviour(comparison: Comparison) -> Table:
    reads: dict[str, Callable[[Summary], str]] = {
        "gold in answer": lambda s: _share(s.contained),
        "finished": lambda s: _share(s.finished),
        "invalid": lambda s: _share(s.invalid),
        "recall@1": lambda s: _number(s.first_search and s.first_search.recall[1]),
        "recall@5": lambda s: _number(s.first_search and s.first_search.recall[5]),
        "MRR": lambda s: _number(s.first_search and s.first_search.mrr),
        "nDCG": lambda s: _number(s.shown and s.shown.ndcg),
        "gold shown": lambda s: _share(s.coverage),
        "IoU": lambda s: _number(s.box_iou),
        "turns": lambda s: f"{s.turns:.1f}",
        "tokens": lambda s: f"{_tokens(s):.0f}" if _tokens(s) else "–",
        "seconds": lambda s: f"{s.seconds:.1f}",
        "scored + errored": lambda s: f"{s.scored} + {s.errored} = {s.episodes}",
    }
    table = _table("behaviour, per episode", "run", *reads)
    for name, summary in comparison.runs.items():
        table.add_row(name, *[read(summary) for read in reads.values()])
    return table


def _tokens(summary: Summary) -> float:
    """Of an episode: as the server counts them, or as the policy's own tokenizer does."""
    if summary.usage is None:
        return summary.total_tokens
    return (summary.usage.prompt_tokens + summary.usage.completion_tokens) / summary.episodes


def _groups(comparison: Comparison) -> list[Table]:
    reads: dict[str, Callable[[Summary], dict[str, Interval]]] = {
        "by hops": by_hop,
        "by kind of content": by_kind,
        "by pages shown": lambda s: {said_pages(key): share for key, share in s.by_pages.items()},
    }
    tables: list[Table] = []
    for title, read in reads.items():
        found = {name: read(summary) for name, summary in comparison.runs.items()}
        groups = sorted({group for shares in found.values() for group in shares})
        if len(groups) > 1:
            table = _table(title, "run", *groups)
            for name, shares in found.items():
                table.add_row(name, *[_of(shares.get(group)) for group in groups])
            tables.append(table)
    return tables


def _paper(one: PaperTable) -> Table:
    table = _table(f"{one.benchmark}, beside the paper", "run", *one.columns)
    table.caption, table.caption_justify = "\n".join(one.notes), "left"
    for name, shares in one.ours.items():
        table.add_row(name, *[f"{_share(share)} ({_range(share)})" if share else "–" for share in shares])
    for row in one.rows:
        table.add_row(f"published: {row.system}, {row.size}", *map(percent, row.shares))
    return table


def _table(title: str, *columns: str) -> Table:
    return Table(*columns, title=title, title_justify="left", box=None)


def _of(interval: Interval | None) -> str:
    return f"{percent(interval.value)} of {interval.n}" if interval else "–"


def _share(interval: Interval | None) -> str:
    return percent(interval.value) if interval else "–"


def _number(interval: Interval | None) -> str:
    return f"{interval.value:.2f}" if interval else "–"


def _range(interval: Interval) -> str:
    return f"{100 * interval.low:.0f} to {100 * interval.high:.0f}"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
