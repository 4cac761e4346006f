"""A policy without any model: it searches, finds the words that match the question, crops and reads there.

It reads the text layer or the OCR words with their boxes, so it answers known-item questions ("how many …",
"what is the default …") where the words of the question stand near the answer, and nothing that must be
computed or seen. It is labelled as what it is: a baseline, and a first use on a machine without weights.
"""

from __future__ import annotations

from collections.abc import Sequence

from vrag.actions import defuse, parse, render
from vrag.geometry import ViewSpec, from_raw
from vrag.policies.reading import Question, Reading, read_page
from vrag.policies.terms import content_words
from vrag.prompts import question_of
from vrag.protocols import PageStore
from vrag.types import Action, Answer, Box, Crop, ImagePart, Message, Request, Sample, Search, View

NOTHING = "not found"


class ExtractivePolicy:
    """Looks at up to `max_pages` pages until one covers `enough` of the question, crops there, and answers.

    Stateless: all it knows is in the request, so it serves any number of sessions. `spec` is that of the
    environment, because the box is written in its frame.
    """

    def __init__(
        self, store: PageStore, spec: ViewSpec | None = None, *, max_pages: int = 3, enough: float = 0.65
    ) -> None:
        self._store = store
        self._spec = spec or ViewSpec()
        self._max_pages, self._enough = max_pages, enough

    async def generate(self, request: Request) -> Sample:
        thought, action = self._act(request.messages)
        return Sample(text=render(action, _plain(thought)), finish="stop")

    def close(self, session: str) -> None:
        """Nothing to free."""

    def _act(self, messages: Sequence[Message]) -> tuple[str, Action]:
        text = question_of(_text(messages[0]))
        question = Question.of(text)
        views = [part.view for message in messages for part in message.parts if isinstance(part, ImagePart)]
        if not views:
            return self._search(text) if len(messages) == 1 else ("no page matches", Answer(text=NOTHING))
        readings = [self._read(view, question) for view in views]
        if isinstance(parse(_text(messages[-2])).action, Crop):
            return _answer(readings[-1], "I read it here")
        best = max(range(len(views)), key=lambda i: (_coverage(readings[i]), -i))
        reading, last = readings[best], len(views) - 1
        shown = any(isinstance(part, ImagePart) for part in messages[-1].parts)
        if shown and _coverage(reading) < self._enough and len(views) < self._max_pages:
            return self._search(text, "this page covers too little of the question; see the next one")
        if reading is None or best != last or not shown:
            return _answer(reading, f"page {views[best].ref.page} of {views[best].ref.document} fits best")
        return "the words of the question stand here", Crop(box=self._box(views[best], reading))

    def _search(self, question: str, thought: str = "") -> tuple[str, Action]:
        query = _plain(" ".join(content_words(question))) or "?"
        return thought or f"find {query}", Search(query=query)

    def _read(self, view: View, question: Question) -> Reading | None:
        return read_page(self._store.words(view.page_id), question, view.region)

    def _box(self, view: View, reading: Reading) -> Box:
        """Around what was read, with some space that doesn't reach the next line, as written in the frame."""
        box = reading.box
        spare = 0.3 * max(word.box.height for word in reading.passage.words)
        grown = Box(x1=box.x1 - spare, y1=box.y1 - spare, x2=box.x2 + spare, y2=box.y2 + spare)
        return from_raw(view, grown, self._spec.frame)


def _coverage(reading: Reading | None) -> float:
    return reading.coverage if reading else 0.0


def _answer(reading: Reading | None, thought: str) -> tuple[str, Action]:
    text = _plain(reading.answer) if reading else ""
    return (thought, Answer(text=text)) if text else ("nothing here answers it", Answer(text=NOTHING))


def _text(message: Message) -> str:
    return "".join(part for part in message.parts if isinstance(part, str))


def _plain(text: str) -> str:
    """On one line, without tags of the grammar: what a page says must not act through this policy."""
    return defuse(" ".join(text.split()))
