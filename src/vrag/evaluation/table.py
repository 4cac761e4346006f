"""A run's summary in the terminal: the main figures, in groups; all of them are in `summary.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from vrag.evaluation.intervals import Interval, percent
from vrag.evaluation.judging import Judging, cost, cost_each
from vrag.evaluation.metrics import Ranking, Summary, said_kind, said_pages
from vrag.evaluation.mmlongbench import Published
from vrag.evaluation.retrieval import NDCG_AT, RECALL_AT, RetrievalSummary

FAR = 0.1  # so much more of the answers hold a gold answer than are right: rules are the wrong judge of sentences


def summary_table(summary: Summary, title: str) -> Table:
    """Measure, value and 95 % interval; rows without a value, and groups of one, are left out."""
    table = Table("measure", "value", "95 % interval", "n", title=title, title_justify="left", box=None)
    _answers(table, summary)
    _pages(table, summary)
    _behaviour(table, summary)
    _cost(table, summary)
    return table


def judge_hint(summary: Summary) -> str | None:
    """What to do when far more answers hold the gold answer than the rules call right; None when there is no need."""
    right, held = summary.accuracy, summary.contained
    if summary.judge is not None or right is None or held is None or held.value < right.value + FAR:
        return None
    return (
        f"the gold answer stands in {percent(held.value)} of the answers, and {percent(right.value)} are right by"
        " rules, which want it alone: --judge URL --judge-model NAME scores sentences too"
    )


def _answers(table: Table, summary: Summary) -> None:
    _head(table, "Answers")
    _share(table, "right answers", summary.accuracy)
    _shares(table, {f"{hops} hop" + "s" * (hops != "1"): share for hops, share in summary.by_hop.items()})
    _shares(table, {said_kind(kind): share for kind, share in summary.by_kind.items()})
    _shares(table, {f"with {said_pages(pages)} shown": share for pages, share in summary.by_pages.items()})
    if len(summary.by_sample) > 1:
        for name, value in summary.by_sample.items():
            table.add_row(f"  seed.sample {name}", percent(value))
    _share(table, "most frequent answer", summary.majority)
    _share(table, "any of the answers", summary.best)
    _share(table, "gold answer stands in the answer", summary.contained)
    if summary.constant:
        table.add_row(f"best constant answer ({summary.constant.answer[:24]!r})", percent(summary.constant.share))
    if summary.judge:
        _judge(table, summary.judge)
    if summary.mmlongbench:
        _mmlongbench(table, summary.mmlongbench)


def _pages(table: Table, summary: Summary) -> None:
    if summary.coverage is None:
        return
    _head(table, "Gold pages")
    _ranking(table, "first search", summary.first_search)
    _share(table, "gold pages shown", summary.coverage)
    _share(table, "all gold pages shown", summary.complete)
    _mean(table, "crop IoU", summary.box_iou)
    _share(table, "gold box in crop", summary.box_containment)


def _behaviour(table: Table, summary: Summary) -> None:
    _head(table, "Behaviour")
    _share(table, "finished", summary.finished)
    _share(table, "invalid actions (of turns)", summary.invalid)
    counts = f"{summary.turns:.1f}, {summary.searches:.1f}, {summary.crops:.1f}"
    table.add_row("turns, searches, crops per episode", counts)
    table.add_row("stopped by", ", ".join(f"{name} {count}" for name, count in summary.stops.items()))
    table.add_row("scored + errored", f"{summary.scored} + {summary.errored} = {summary.episodes}")
    if "total" in summary.reward:
        table.add_row("reward", f"{summary.reward['total']:.3f}")


def _cost(table: Table, summary: Summary) -> None:
    _head(table, "Cost")
    if summary.total_tokens:
        table.add_row(
            "tokens per episode, of them written", f"{summary.total_tokens:.0f}, {summary.sampled_tokens:.0f}"
        )
    table.add_row("seconds per episode", f"{summary.seconds:.2f}")
    if summary.usage:
        table.add_row("agent's requests, tokens in + out", cost(summary.usage))
        table.add_row("  the same per episode", cost_each(summary.usage, summary.episodes))


def _judge(table: Table, judge: Judging) -> None:
    _share(table, "right by the judge", judge.right)
    _share(table, "judge and rules agree", judge.agreement)
    table.add_row("right by the judge alone, by rules alone", f"{judge.only_judge}, {judge.only_rules}")
    table.add_row("judged by a model, cache, rules", f"{judge.asked}, {judge.cached}, {judge.by_rules}")
    table.add_row("judge couldn't say", str(judge.unscored))
    table.add_row("judge's requests, tokens in + out", cost(judge))


def _mmlongbench(table: Table, own: Published) -> None:
    table.add_row("MMLongBench-Doc's own accuracy", percent(own.accuracy), "", str(own.episodes))
    table.add_row("MMLongBench-Doc's own F1", percent(own.f1))
    for name, value in {**own.by_pages, **own.by_source}.items():
        table.add_row(f"  {name}", percent(value))


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


def _head(table: Table, group: str) -> None:
    if table.row_count:
        table.add_row()
    table.add_row(Text(group, style="bold"))


def _share(table: Table, label: str, interval: Interval | None) -> None:
    if interval is not None:
        between = f"{percent(interval.low)} to {percent(interval.high)}"
        table.add_row(label, percent(interval.value), between, str(interval.n))


def _shares(table: Table, groups: Mapping[str, Interval]) -> None:
    """A row below for each of several groups; one group is all."""
    if len(groups) > 1:
        for label, interval in groups.items():
            _share(table, f"  {label}", interval)


def _mean(table: Table, label: str, interval: Interval | None) -> None:
    if interval is not None:
        table.add_row(label, f"{interval.value:.3f}", f"{interval.low:.3f} to {interval.high:.3f}", str(interval.n))


def _ranking(table: Table, label: str, ranking: Ranking | None) -> None:
    if ranking is not None:
        depths = ", ".join(map(str, ranking.recall))
        table.add_row(f"{label}: recall@{depths}", ", ".join(f"{one.value:.2f}" for one in ranking.recall.values()))
        table.add_row(f"{label}: MRR, nDCG", f"{ranking.mrr.value:.2f}, {ranking.ndcg.value:.2f}")
