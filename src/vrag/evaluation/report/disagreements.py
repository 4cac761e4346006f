"""The questions that runs answer differently, with the trajectory of each run side by side."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from vrag.episode import EpisodeRecord
from vrag.evaluation.comparison import Comparison, Disagreement, EvalRun
from vrag.evaluation.report.gallery import answer_of, filters, gold_of, legend, spread, steps, verdict_of
from vrag.evaluation.report.html import Html, el, foreign, join
from vrag.evaluation.report.images import Images

_WAYS = ("better", "worse")
Episodes = dict[str, dict[str, list[EpisodeRecord]]]  # by run and task


def disagreements(comparison: Comparison, runs: Sequence[EvalRun], images: Images, limit: int) -> Html:
    """At most `limit` questions, spread over which of the runs are right; the section says how many there are."""
    every = comparison.disagreements
    if not every:
        return el("section", el("h2", "Where they differ"), el("p", "No question is answered differently."))
    groups: defaultdict[str, list[Disagreement]] = defaultdict(list)
    for one in every:
        groups[str(list(one.right.values()))].append(one)
    chosen = spread([group for _, group in sorted(groups.items())], limit)
    episodes = {run.name: _by_task(run.records) for run in runs}
    cards = [_card(one, comparison.baseline, episodes, images) for one in chosen]
    shown = "all of them" if len(chosen) == len(every) else f"{len(chosen)} of them, spread over which runs are right,"
    asked = len({record.task.id for run in runs for record in run.records})
    said = f"{len(every)} of {asked} questions are answered right by some runs and wrong by others; {shown} are here."
    return el(
        "section",
        el("h2", "Where they differ"),
        el("p", said),
        filters(_choices(chosen, comparison)),
        legend(),
        *cards,
        class_="gallery",
    )


def _by_task(records: Sequence[EpisodeRecord]) -> dict[str, list[EpisodeRecord]]:
    found: defaultdict[str, list[EpisodeRecord]] = defaultdict(list)
    for record in records:
        found[record.task.id].append(record)
    return dict(found)


def _choices(chosen: Sequence[Disagreement], comparison: Comparison) -> list[tuple[str, str, int]]:
    """For each run but the baseline, where it is better and where it is worse."""
    counts = Counter(key for one in chosen for key in _keys(one, comparison.baseline))
    ways = [(f"{way}-{index}", f"{name} {way}") for index, name in enumerate(comparison.runs) for way in _WAYS]
    return [("all", "all", len(chosen)), *((key, label, counts[key]) for key, label in ways if counts[key])]


def _keys(one: Disagreement, baseline: str) -> list[str]:
    base, keys = one.right[baseline], list[str]()
    for index, share in enumerate(one.right.values()):
        if base is not None and share is not None and share != base:
            keys.append(f"{_WAYS[share < base]}-{index}")
    return keys


def _card(one: Disagreement, baseline: str, episodes: Episodes, images: Images) -> Html:
    of_task = {name: by_task.get(one.task, []) for name, by_task in episodes.items()}
    any_record = next(records[0] for records in of_task.values() if records)
    task = any_record.task
    chips = [_chip(name, records) for name, records in of_task.items()]
    gold = [f"{evidence.ref.document}, page {evidence.ref.page}" for evidence in task.gold]
    about = [f"{task.hops}-hop", task.kind, *([f"gold: {'; '.join(dict.fromkeys(gold))}"] if gold else [])]
    columns = [_column(name, records, images) for name, records in of_task.items()]
    return el(
        "details",
        el(
            "summary",
            el("h3", foreign(task.question)),
            el("p", join([" · ".join(about), " · answer: ", el("b", gold_of(any_record))]), class_="about"),
            el("p", *chips, class_="chips"),
        ),
        el("div", *columns, class_="columns", tabindex=0, role="group", aria_label="The runs, side by side"),
        data_verdict=" ".join(_keys(one, baseline)),
    )


def _chip(name: str, records: Sequence[EpisodeRecord]) -> Html:
    if not records:
        return el("span", f"{name}: not asked", class_="chip none")
    return el("span", name, class_=f"chip {verdict_of(records[0])}")


def _column(name: str, records: Sequence[EpisodeRecord], images: Images) -> Html:
    """The first sample of a run; of several it says how many are right."""
    if not records:
        return el("div", el("h4", name), el("p", "Not asked in this run.", class_="missing"), class_="column")
    first = records[0]
    head = el("h4", el("span", name, class_=f"chip {verdict_of(first)}"))
    several: list[Html] = []
    if len(records) > 1:
        right = sum(verdict_of(record) == "right" for record in records)
        said = f"seed {first.seed}, sample {first.sample}; {right} of {len(records)} samples are right"
        several.append(el("p", said, class_="about"))
    return el(
        "div", head, *several, el("p", answer_of(first), class_="said-answer"), steps(first, images), class_="column"
    )
