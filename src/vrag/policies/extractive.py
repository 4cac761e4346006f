"""A policy without any model: it searches, finds the words that match the question, crops and reads there.

It reads the text layer or the OCR words with their boxes, so it answers known-item questions ("how many …",
"what is the default …") where the words of the question stand near the answer, and nothing that must be
computed or seen. It is labelled as what it is: a baseline, and a first use on a machine without weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vrag.actions import defuse, parse, render
from vrag.geometry import ViewSpec, crop_view, from_raw
from vrag.policies.reading import Question, Reading, read_page
from vrag.policies.terms import content_words
from vrag.prompts import question_of, teaches_crop
from vrag.protocols import PageStore
from vrag.types import Action, Answer, Box, Crop, ImagePart, Message, Request, Sample, Search, View

NOTHING = "not found"
SEES_IMAGES = "extractive looks up words of the images that it is shown"  # so nothing where pages are shown as text
_OTHER = 0.5  # what a page is worth that lacks a name of the question


class ExtractivePolicy:
    """Looks at up to `max_pages` pages until one covers `enough` of the question, crops there, and answers; "not found"
    when the best of them covers no more than `least`.

    Stateless: all it knows is in the request, so it serves any number of sessions. `spec` is that of the
    environment, because the box is written in its frame.
    """

    def __init__(
        self,
        store: PageStore,
        spec: ViewSpec | None = None,
        *,
        max_pages: int = 3,
        enough: float = 0.65,
        least: float = 1 / 3,
    ) -> None:
        self._store = store
        self._spec = spec or ViewSpec()
        self._max_pages, self._enough, self._least = max_pages, enough, least

    async def generate(self, request: Request) -> Sample:
        move = self._act(request.messages)
        return Sample(text=render(move.action, _plain(move.thought)), finish="stop", read_from=move.read_from)

    def close(self, session: str) -> None:
        """Nothing to free."""

    def _act(self, messages: Sequence[Message]) -> _Move:
        prompt = _text(messages[0])
        text, may_crop = question_of(prompt), teaches_crop(prompt)
        question = Question.of(text)
        views = [part.view for message in messages for part in message.parts if isinstance(part, ImagePart)]
        if not views:
            return self._search(text) if len(messages) == 1 else _nothing("no page matches")
        readings = [self._read(view, question) for view in views]
        if isinstance(parse(_text(messages[-2])).action, Crop):
            return _answer(f"I read it here{self._doubt(readings[-1])}", readings[-1], views[-1])
        best = max(range(len(views)), key=lambda i: (_worth(readings[i]), -i))
        reading, last = readings[best], len(views) - 1
        shown = any(isinstance(part, ImagePart) for part in messages[-1].parts)
        if shown and _worth(reading) < self._enough and len(views) < self._max_pages:
            return self._search(text, "this page covers too little of the question; see the next one")
        if reading is None:
            return _nothing()
        if _worth(reading) <= self._least:
            where = views[best].ref
            return _nothing(f"the closest is page {where.page} of {where.document}{self._doubt(reading)}")
        if best != last or not shown or not may_crop:
            return self._settle(reading, views[best])
        return _Move("the words of the question stand here", Crop(box=self._box(reading, views[best])))

    def _search(self, question: str, thought: str = "") -> _Move:
        query = _plain(" ".join(content_words(question))) or "?"
        return _Move(thought or f"find {query}", Search(query=query))

    def _doubt(self, reading: Reading | None) -> str:
        covered = reading.coverage if reading else 0.0
        doubts = [f"covers {covered:.0%} of the question"] if covered < self._enough else []
        if reading and reading.missing:
            doubts.append(f"doesn't say {', '.join(reading.missing)}")
        return "".join(f", and {doubt}" for doubt in doubts)

    def _settle(self, reading: Reading, view: View) -> _Move:
        """Answer from a page that can't be cropped any more."""
        seen = crop_view(self._store.page(view.page_id), view, self._box(reading, view), self._spec)
        return _answer(f"page {view.ref.page} of {view.ref.document} fits best{self._doubt(reading)}", reading, seen)

    def _box(self, reading: Reading, view: View) -> Box:
        """Around what was read, with some space that doesn't reach the next line, as written in the frame."""
        box = reading.box
        spare = 0.3 * max(word.box.height for word in reading.passage.words)
        grown = Box(x1=box.x1 - spare, y1=box.y1 - spare, x2=box.x2 + spare, y2=box.y2 + spare)
        return from_raw(view, grown, self._spec.frame)

    def _read(self, view: View, question: Question) -> Reading | None:
        return read_page(self._store.words(view.page_id), question, view.region, view.ref.document)


@dataclass(frozen=True)
class _Move:
    thought: str
    action: Action
    read_from: View | None = None


def _worth(reading: Reading | None) -> float:
    """The coverage, of which half is lost where the page is about something of another name."""
    return (reading.coverage if reading else 0.0) * (_OTHER if reading and reading.missing else 1.0)


def _answer(thought: str, reading: Reading | None, view: View) -> _Move:
    text = _plain(reading.answer) if reading else ""
    return _Move(thought, Answer(text=text), view) if text else _nothing()


def _nothing(thought: str = "nothing here answers it") -> _Move:
    return _Move(thought, Answer(text=NOTHING))


def _text(message: Message) -> str:
    return "".join(part for part in message.parts if isinstance(part, str))


def _plain(text: str) -> str:
    """On one line, without tags of the grammar: what a page says must not act through this policy."""
    return defuse(" ".join(text.split()))
