"""A run's summary in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from vrag.evaluation.intervals import Interval
from vrag.evaluation.judging import Judging, cost, cost_each
from vrag.evaluation.metrics import Ranking, Summary, said_pages
from vrag.evaluation.mmlongbench import Published
from vrag.evaluation.retrieval import NDCG_AT, RECALL_AT, RetrievalSummary


def summary_table(summary: Summary, title: str) -> Table:
    """Measure, value and 95 % interval; rows without a value are left out."""
    table = Table("measure", "value", "95 % interval", "n", title=title, title_justify="left", box=None)
    _share(table, "right answers", summary.accuracy)
    for hops, interval in summary.by_hop.items():
        _share(table, f"  {hops} hop" + "s" * (hops != "1"), interval)
    for kind, interval in summary.by_kind.items():
        _share(table, f"  {kind}", interval)
    if len(summary.by_sample) > 1:
        for name, value in summary.by_sample.items():
            table.add_row(f"  seed.sample {name}", _percent(value))
    if summary.constant:
        table.add_row(f"best constant answer ({summary.constant.answer[:24]!r})", _percent(summary.constant.share))
    _share(table, "finished", summary.finished)
    _share(table, "invalid actions (of turns)", summary.invalid)
    _ranking(table, "first search", summary.first_search)
    _ranking(table, "pages shown", summary.shown)
    _share(table, "gold pages shown", summary.coverage)
    _share(table, "all gold pages shown", summary.complete)
    for pages, interval in summary.by_pages.items() if len(summary.by_pages) > 1 else ():
        _share(table, f"  right with {said_pages(pages)} shown", interval)
    _mean(table, "crop IoU", summary.box_iou)
    _share(table, "gold box in crop", summary.box_containment)
    for name, value in summary.reward.items():
        table.add_row("reward" if name == "total" else f"  {name}", f"{value:.3f}")
    for label, value in (("turns", summary.turns), ("searches", summary.searches), ("crops", summary.crops)):
        table.add_row(f"{label} per episode", f"{value:.2f}")
    if summary.total_tokens:
        table.add_row(
            "tokens per episode, of them written", f"{summary.total_tokens:.0f}, {summary.sampled_tokens:.0f}"
        )
    table.add_row("seconds per episode", f"{summary.seconds:.2f}")
    if summary.usage:
        table.add_row("agent's requests, tokens in + out", cost(summary.usage))
        table.add_row("  the same per episode", cost_each(summary.usage, summary.episodes))
    if summary.judge:
        _judge(table, summary.judge)
    if summary.mmlongbench:
        _mmlongbench(table, summary.mmlongbench)
    table.add_row("stopped by", ", ".join(f"{name} {count}" for name, count in summary.stops.items()))
    table.add_row("scored + errored", f"{summary.scored} + {summary.errored} = {summary.episodes}")
    return table


def _judge(table: Table, judge: Judging) -> None:
    _share(table, "right by the judge", judge.right)
    _share(table, "judge and rules agree", judge.agreement)
    table.add_row("right by the judge alone, by rules alone", f"{judge.only_judge}, {judge.only_rules}")
    table.add_row("judged by a model, cache, rules", f"{judge.asked}, {judge.cached}, {judge.by_rules}")
    table.add_row("judge couldn't say", str(judge.unscored))
    table.add_row("judge's requests, tokens in + out", cost(judge))


def _mmlongbench(table: Table, own: Published) -> None:
    table.add_row("MMLongBench-Doc's own accuracy", _percent(own.accuracy), "", str(own.episodes))
    table.add_row("MMLongBench-Doc's own F1", _percent(own.f1))
    for name, value in {**own.by_pages, **own.by_source}.items():
        table.add_row(f"  {name}", _percent(value))


def retrieval_table(summaries: Sequence[RetrievalSummary], title: str) -> Table:
    """A row for each retriever; means with their 95 % intervals."""
    depths = [*(f"recall@{k}" for k in RECALL_AT), *(f"nDCG@{k}" for k in NDCG_AT), "MRR"]
    table = Table("by", *depths, "ms", "questions", title=title, title_justify="left", box=None)
    for one in summaries:
        means = [*(one.recall.get(k) for k in RECALL_AT), *(one.ndcg.get(k) for k in NDCG_AT), one.mrr]
        cells = ["–" if m is None else f"{m.value:.3f} ({m.low:.2f}–{m.high:.2f})" for m in means]
        speed = "–" if one.milliseconds is None else f"{one.milliseconds:.1f}"
        asked = f"{one.questions}" + (f" ({one.errored} errored)" if one.errored else "")
        table.add_row(one.by, *cells, speed, asked)
    return table


def _share(table: Table, label: str, interval: Interval | None) -> None:
    if interval is not None:
        between = f"{_percent(interval.low)} to {_percent(interval.high)}"
        table.add_row(label, _percent(interval.value), between, str(interval.n))


def _mean(table: Table, label: str, interval: Interval | None) -> None:
    if interval is not None:
        table.add_row(label, f"{interval.value:.3f}", f"{interval.low:.3f} to {interval.high:.3f}", str(interval.n))


def _ranking(table: Table, label: str, ranking: Ranking | None) -> None:
    if ranking is not None:
        for depth, interval in ranking.recall.items():
            _mean(table, f"{label}: recall@{depth}", interval)
        _mean(table, f"{label}: MRR", ranking.mrr)
        _mean(table, f"{label}: nDCG", ranking.ndcg)


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"
