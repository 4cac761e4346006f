"""The expert that needs no gold box: a planning model and a grounding model behind endpoints (paper, section 3.3).

The planner thinks, searches, says what it wants to see larger, and answers. Every box is drawn by the grounder. What is
said in the end is the grammar of the model that is to learn, with boxes in its frame: its own text never has a word of
the planner's `<look>`, nor a coordinate of the grounder's.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Literal

from pydantic import Field

from vrag.actions import ACTIONS, ActionSpec, defuse, parse, render
from vrag.chat import ChatSettings
from vrag.environment import EnvironmentConfig
from vrag.geometry import Frame, extent, from_raw, to_raw
from vrag.policies.grounder import Asks, Grounder, Sought, usable
from vrag.policies.planner_prompt import LAST, NO_IMAGE, NO_THOUGHT, PLANNER, correction, planner_prompt
from vrag.prompts import INVERTED, outside, question_of
from vrag.types import Action, Answer, Box, Crop, ImagePart, Message, Request, Sample, Search, View


class PlannerSettings(ChatSettings):
    """The planning model. `frame`: of the boxes that it draws itself, which only tell the grounder where about."""

    key_variable: str = Field(default="VRAG_PLANNER_KEY", exclude=True)
    prompt: Literal["planner-v1"] = PLANNER
    frame: Frame = "absolute"
    temperature: float = Field(default=0.7, ge=0)
    max_tokens: int = Field(default=1024, ge=1)


class Look(Search):
    """`<look>`, an action of the planner alone: `query` says what it wants to see larger."""


class PlannerPolicy:
    """Plays one episode: make one for each. Raises `Unteachable` when a model says nothing that can be used, and
    `InfrastructureError` when there is no answer.

    The planner sees exactly what the pupil will have seen, at the same size, so that it tells no more than can be read.
    """

    def __init__(
        self, planner: Asks, settings: PlannerSettings, grounder: Grounder, environment: EnvironmentConfig
    ) -> None:
        self._planner, self._settings, self._grounder, self._environment = planner, settings, grounder, environment
        self._actions = _actions(environment)
        self._said: list[str] = []  # the planner's own words, turn by turn

    async def generate(self, request: Request) -> Sample:
        question, view = question_of(_text(request.messages[0])), _cropped_view(request.messages, self._environment)
        sampling = replace(request.sampling, max_tokens=self._settings.max_tokens)
        last = len(self._said) + 1 >= self._budget()
        text = await usable(
            self._planner,
            self._conversation(question, request.messages),
            sampling,
            lambda said: self._objection(said, view, last),
            "planner",
        )
        self._said.append(text)
        parsed = parse(text, self._actions)
        assert parsed.action is not None  # else there had been an objection
        action = await self._aimed(parsed.action, parsed.thought, question, view, request.sampling.seed)
        return Sample(text=render(action, defuse(parsed.thought)), finish="stop")

    def close(self, session: str) -> None:
        """Nothing to free: the state is that of the one episode."""

    def _budget(self) -> int:
        return self._environment.max_turns + self._environment.final_turn

    def _conversation(self, question: str, messages: list[Message]) -> list[Message]:
        """What happened, with the planner's own prompt and words in place of the pupil's."""
        prompt = planner_prompt(question, self._environment, self._settings.frame, self._budget())
        said = iter(self._said)
        own = [Message("assistant", [next(said)]) if m.role == "assistant" else m for m in messages[1:]]
        return [Message("user", [prompt]), *own]

    def _objection(self, text: str, view: View | None, last: bool) -> str | None:
        parsed = parse(text, self._actions)
        wrong = parsed.error
        if wrong is None and not parsed.has_think:
            wrong = NO_THOUGHT
        elif wrong is None and last and not isinstance(parsed.action, Answer):
            wrong = LAST
        elif wrong is None and isinstance(parsed.action, (Look, Crop)):
            wrong = self._unseen(parsed.action, view)
        return None if wrong is None else correction(wrong)

    def _unseen(self, action: Look | Crop, view: View | None) -> str | None:
        """Why it can't be looked at."""
        if view is None:
            return NO_IMAGE
        if isinstance(action, Look):
            return None
        box, (width, height) = action.box, extent(view, self._settings.frame)
        if not (box.x2 > box.x1 and box.y2 > box.y1):
            return INVERTED
        inside = box.x1 >= 0 and box.y1 >= 0 and box.x2 <= width and box.y2 <= height
        return None if inside else outside(box, width, height)

    async def _aimed(self, action: Action, thought: str, question: str, view: View | None, seed: int) -> Action:
        """`action` as the pupil writes it: a look becomes the grounder's box, in the pupil's frame."""
        if not isinstance(action, (Look, Crop)):
            return action
        assert view is not None  # else there had been an objection
        words, guess = (action.query, None) if isinstance(action, Look) else ("", self._raw(action.box, view))
        raw = await self._grounder.box(view, Sought(words, thought, question, guess), seed)
        return Crop(box=from_raw(view, raw, self._environment.view.frame))

    def _raw(self, box: Box, view: View) -> Box:
        return to_raw(view, box, self._settings.frame)


def _actions(environment: EnvironmentConfig) -> dict[str, ActionSpec]:
    """The pupil's, and `<look>` beside `<bbox>`."""
    actions = {name: ACTIONS[name] for name in environment.actions}
    if "bbox" in actions:
        actions["look"] = ActionSpec("look", _parse_look, "<look>what to look at</look>")
    return actions


def _parse_look(content: str) -> Action:
    if not content.strip():
        raise ValueError("<look> is empty")
    return Look(query=content.strip())


def _text(message: Message) -> str:
    return "".join(part for part in message.parts if isinstance(part, str))


def _cropped_view(messages: list[Message], environment: EnvironmentConfig) -> View | None:
    """Of the image that a crop acts on: the one shown last, or the last that isn't a crop."""
    found = None
    for said, shown in pairwise(messages):
        views = [part.view for part in shown.parts if isinstance(part, ImagePart)]
        cropped = environment.crops_of == "page" and isinstance(parse(_text(said)).action, Crop)
        if views and not cropped:
            found = views[-1]
    return found
