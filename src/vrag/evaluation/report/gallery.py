"""Trajectories one can read: question, each turn's thought, action and what it showed, answer, reward."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from vrag.episode import EpisodeRecord
from vrag.evaluation.metrics import is_correct
from vrag.evaluation.report.html import Html, el, foreign, join
from vrag.evaluation.report.images import Images, Mark
from vrag.types import Answer, Crop, Custom, Hit, Observation, PageRef, Search, StopReason, Turn, View

HITS_SHOWN = 5
T = TypeVar("T")


@dataclass(frozen=True)
class Trajectory:
    """An episode to show, and what other runs answered to the same question: (run, their episode). `note` stands at its
    head. `tokens`: a trace of its tokens as JSON, which `tokens.js` draws.
    """

    record: EpisodeRecord
    others: Sequence[tuple[str, EpisodeRecord]] = ()
    note: str = ""
    tokens: str | None = None


def choose(records: Sequence[EpisodeRecord], limit: int) -> list[EpisodeRecord]:
    """At most `limit` episodes, one per question, spread over right and wrong, hops and kinds of page."""
    groups: defaultdict[tuple[bool, int, str], list[EpisodeRecord]] = defaultdict(list)
    seen: set[str] = set()
    for record in records:
        if record.task.id not in seen:
            seen.add(record.task.id)
            groups[(not is_correct(record), record.task.hops, record.task.kind)].append(record)
    return spread([group for _, group in sorted(groups.items())], limit)


def spread(groups: Iterable[Sequence[T]], limit: int) -> list[T]:
    """At most `limit` items, one of each group in turn."""
    queues = [list(reversed(group)) for group in groups]
    chosen: list[T] = []
    while len(chosen) < limit and any(queues):
        chosen += [queue.pop() for queue in queues if queue][: limit - len(chosen)]
    return chosen


def gallery(trajectories: Sequence[Trajectory], images: Images) -> Html:
    if not trajectories:
        return Html("")
    verdicts = Counter(verdict_of(trajectory.record) for trajectory in trajectories)
    choices = [("all", len(trajectories)), *sorted(verdicts.items())]
    cards = [_card(trajectory, images) for trajectory in trajectories]
    return el(
        "section",
        el("div", el("h2", "Trajectories"), filters([(name, name, count) for name, count in choices]), class_="bar"),
        legend(),
        *cards,
        class_="gallery",
    )


def legend() -> Html:
    cropped = el("span", el("i", class_="key cut"), "what the agent cropped")
    gold = el("span", el("i", class_="key gold"), "where the gold answer stands")
    return el("p", cropped, gold, class_="legend")


def filters(choices: Sequence[tuple[str, str, int]]) -> Html:
    """Buttons that show the cards with a key in their `data-verdict` alone: (key, label, count); the first, which is to
    be "all", is on.
    """
    buttons = [
        el("button", f"{label} ", el("small", str(count)), type="button", data_show=key,
           aria_pressed="false" if index else "true")
        for index, (key, label, count) in enumerate(choices)
    ]  # fmt: skip
    return el("div", *buttons, class_="filter", role="group", aria_label="Which trajectories to show")


def _card(trajectory: Trajectory, images: Images) -> Html:
    record = trajectory.record
    verdict = verdict_of(record)
    about = " · ".join(filter(None, (trajectory.note, f"{record.task.hops}-hop", record.task.kind)))
    return el(
        "article",
        el("header", el("p", el("span", verdict, class_=f"chip {verdict}"), about, class_="about"),
           el("h3", foreign(record.task.question)), _answers(trajectory)),
        steps(record, images), _tokens(trajectory),
        data_verdict=verdict,
    )  # fmt: skip


def _tokens(trajectory: Trajectory) -> Html:
    """As data, which nothing runs."""
    if trajectory.tokens is None:
        return Html("")
    data = Html(trajectory.tokens.replace("<", "\\u003c"))  # no text can end the element
    return el("script", data, type="application/json", class_="tokens")


def steps(record: EpisodeRecord, images: Images) -> Html:
    """The turns of an episode and what came of it."""
    marks = _marks(record)
    turns = [_turn(number, turn, record, marks, images) for number, turn in enumerate(record.turns, start=1)]
    return join([el("ol", *turns), _outcome(record)])


def verdict_of(record: EpisodeRecord) -> str:
    if record.reward is None:
        return "failed"
    return "right" if is_correct(record) else "wrong"


def _answers(trajectory: Trajectory) -> Html:
    record = trajectory.record
    rows = [("Answer", answer_of(record)), ("Gold", gold_of(record))]
    rows += [(name, join([answer_of(other), f" ({verdict_of(other)})"])) for name, other in trajectory.others]
    return el("dl", *[el("div", el("dt", name), el("dd", said)) for name, said in rows])


def answer_of(record: EpisodeRecord) -> Html:
    return foreign(record.answer) if record.answer is not None else el("em", f"none (stopped: {record.stop.value})")


def gold_of(record: EpisodeRecord) -> Html:
    """The gold answers."""
    return Html(" or ".join(foreign(answer) for answer in record.task.answers))


def _marks(record: EpisodeRecord) -> dict[PageRef, list[Mark]]:
    """Per page the boxes to draw: what was cropped, and the gold box once the page's size is known."""
    marks: defaultdict[PageRef, list[Mark]] = defaultdict(list)
    for turn in record.turns:
        for view in turn.observation.views if turn.observation else []:
            if turn.observation and turn.observation.kind == "crop":
                marks[view.ref].append(Mark(view.region, "cropped"))
                continue
            golds = [evidence.box for evidence in record.task.gold if evidence.ref == view.ref and evidence.box]
            size = view.region.x2, view.region.y2
            marks[view.ref] += [Mark(gold.scaled(*size), "gold") for gold in golds]
    return marks


def _turn(number: int, turn: Turn, record: EpisodeRecord, marks: dict[PageRef, list[Mark]], images: Images) -> Html:
    said = [el("p", foreign(turn.thought), class_="thought")] if turn.thought else []
    said.append(_action(turn))
    if turn.observation is not None:
        said += _reply(turn.observation, record)
    pictures = _pictures(turn.observation, marks, images)
    return el("li", el("div", *said, class_="said"), *pictures, value=number, class_="turn")


def _action(turn: Turn) -> Html:
    action = turn.action
    if isinstance(action, Search):
        return el("p", el("b", "search"), el("q", foreign(action.query)), class_="action")
    if isinstance(action, Crop):
        numbers = ", ".join(f"{value:g}" for value in action.box.as_tuple())
        return el("p", el("b", "crop"), f"[{numbers}]", class_="action")
    if isinstance(action, Custom):
        return el("p", el("b", foreign(action.name)), el("q", foreign(action.content)), class_="action")
    if isinstance(action, Answer):
        return el("p", el("b", "answer"), foreign(action.text), class_="action")
    invalid = el("p", el("b", "invalid"), foreign(turn.error or "no action"), class_="action invalid")
    return join([invalid, el("pre", foreign(turn.text))])


def _reply(observation: Observation, record: EpisodeRecord) -> list[Html]:
    said = [el("p", foreign(observation.text), class_="reply")] if observation.text else []
    if observation.hits:
        gold = [evidence.ref for evidence in record.task.gold]
        rows = [_hit(hit, hit.ref in gold, hit.ref in observation.pages) for hit in observation.hits[:HITS_SHOWN]]
        said.append(el("ol", *rows, class_="hits"))
    return said


def _hit(hit: Hit, gold: bool, shown: bool) -> Html:
    name = foreign(f"{hit.ref.document}, page {hit.ref.page}")
    notes = [el("small", word) for word, true in (("shown", shown), ("gold", gold)) if true]
    return el("li", el("b", name) if shown else name, *notes)


def _pictures(observation: Observation | None, marks: dict[PageRef, list[Mark]], images: Images) -> list[Html]:
    if observation is None:
        return []
    crop = observation.kind == "crop"
    pictures = [images.crop(view) if crop else images.page(view, marks[view.ref]) for view in observation.views]
    return [
        el("figure", picture, el("figcaption", _caption(view, crop)))
        for view, picture in zip(observation.views, pictures, strict=True)
    ]


def _caption(view: View, crop: bool) -> Html:
    place = f"{view.ref.document}, page {view.ref.page}"
    return join([foreign(f"crop of {place}" if crop else place), f" · the model saw {view.width} × {view.height} px"])


def _outcome(record: EpisodeRecord) -> Html:
    said: list[Html] = []
    if record.stop is not StopReason.ANSWER:
        said.append(el("span", f"stopped: {record.stop.value}"))
    if record.error:
        said.append(el("span", foreign(record.error)))
    if record.judgement is not None:
        verdict = {True: "right", False: "wrong", None: "no verdict"}[record.judgement.right]
        said.append(el("span", "judge ", el("b", verdict), f" ({record.judgement.by})"))
    if record.reward is not None:
        said += [el("span", f"{name} ", el("b", f"{value:.2f}")) for name, value in record.reward.parts.items()]
        said.append(el("span", "reward ", el("b", f"{record.reward.total:.2f}"), class_="total"))
    return el("footer", *said)
