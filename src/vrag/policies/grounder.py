"""A grounding model: where on an image is what someone wants to see? (paper, section 3.3)"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from pydantic import Field, model_validator

from vrag.chat import ChatSettings, NoReply, Objection, Reply
from vrag.errors import CorpusError, DataError, DocumentError, InfrastructureError
from vrag.geometry import Frame, ViewSpec, as_seen, extent, from_raw, to_raw
from vrag.policies.planner_prompt import GROUNDER, correction, grounder_prompt, read_box
from vrag.types import Box, ImagePart, Message, Sampling, View
from vrag.views import ViewRenderer


class Asks(Protocol):
    """A model to ask: a `vrag.chat.Chat`, or what stands before one."""

    async def ask(
        self, messages: Sequence[Message], sampling: Sampling | None = None, objection: Objection | None = None
    ) -> Reply: ...


class Unteachable(DataError):
    """An episode that a model can't play on: it answered, and each time with what can't be used. `reason` is short."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


async def usable(asked: Asks, messages: Sequence[Message], sampling: Sampling, objection: Objection, who: str) -> str:
    """What the model says in the end. Raises `Unteachable` where it is objected to until the tries are spent, `NoReply`
    where there is no answer.
    """
    try:
        return (await asked.ask(messages, sampling, objection)).text
    except NoReply as failure:
        if failure.objected:
            raise Unteachable(f"{who} said nothing that can be used", str(failure)) from failure
        raise


class GrounderSettings(ChatSettings):
    """The grounding model, the `frame` in which it draws, and the size at which it is sent images: pixels within the
    budget, sides that are multiples of `factor`. For a model that draws in absolute pixels these are to be what its
    server's image processor leaves alone, or its boxes are of another image than the one that was sent.
    """

    key_variable: str = Field(default="VRAG_GROUNDER_KEY", exclude=True)
    prompt: Literal["grounder-v1"] = GROUNDER
    frame: Frame = "absolute"
    factor: int = Field(default=28, ge=1)
    min_pixels: int = Field(default=256 * 28 * 28, ge=1)
    max_pixels: int = Field(default=1280 * 28 * 28, ge=1)
    temperature: float = Field(default=0.0, ge=0)
    max_tokens: int = Field(default=512, ge=1)

    @model_validator(mode="after")
    def _admits_a_size(self) -> GrounderSettings:
        self.view()
        return self

    def view(self) -> ViewSpec:
        """How it is shown images."""
        return ViewSpec(
            frame=self.frame, factor=self.factor, min_pixels=self.min_pixels, max_pixels=self.max_pixels, min_crop=1
        )


@dataclass(frozen=True)
class Sought:
    """What is to be seen larger: in words ("" where there are none but the thought), and where about, in raw pixels."""

    words: str
    thought: str
    question: str
    guess: Box | None = None


class Grounder:
    """Usable by any number of episodes at once."""

    def __init__(self, model: Asks, settings: GrounderSettings, renderer: ViewRenderer) -> None:
        self._model, self._settings, self._renderer = model, settings, renderer
        self._spec = settings.view()

    async def box(self, view: View, sought: Sought, seed: int) -> Box:
        """Where on the part of the page that `view` shows `sought` is, in raw pixels. Raises as `usable` does, and
        `InfrastructureError` where the page can't be shown.
        """
        shown = as_seen(view, self._spec)
        width, height = extent(shown, self._spec.frame)

        def objection(text: str) -> str | None:
            try:
                read_box(text, width, height)
            except ValueError as reason:
                return correction(str(reason))
            return None

        sampling = Sampling(self._settings.temperature, self._settings.max_tokens, seed)
        question = Message("user", [self._image(shown), self._prompt(shown, sought)])
        text = await usable(self._model, [question], sampling, objection, "grounder")
        return to_raw(shown, read_box(text, width, height), self._spec.frame)

    def _prompt(self, shown: View, sought: Sought) -> str:
        frame = self._spec.frame
        guess = from_raw(shown, sought.guess, frame) if sought.guess is not None else None
        return grounder_prompt(sought.question, sought.words, sought.thought, guess, (shown.width, shown.height), frame)

    def _image(self, view: View) -> ImagePart:
        try:
            return ImagePart(self._renderer.image(view), view)
        except (CorpusError, DocumentError) as error:
            where = f"page {view.ref.page} of {view.ref.document}"
            raise InfrastructureError(f"{where} can't be shown: {error}; index its document again") from error
