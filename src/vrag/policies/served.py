"""A policy behind an OpenAI-compatible chat endpoint: any served model as the agent, by its prompt alone.

It speaks text: there are no token ids, so its episodes can be read and scored, and not trained on. What the server
can't give is an `InfrastructureError`; whatever the model says, also nothing or half an action, is a turn, and the
environment's to correct.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from vrag.actions import ACTIONS, closed_at, complete, stop_tags
from vrag.chat import Chat, ChatSettings, NoReply
from vrag.environment import EnvironmentConfig
from vrag.errors import UsageError
from vrag.geometry import ViewSpec
from vrag.policies.load import FAMILIES, family_view
from vrag.policies.recipe import PolicyRecipe
from vrag.types import Frozen, Message, Request, Sample, Usage

if TYPE_CHECKING:
    import httpx

Family = Literal["auto", "qwen2_5_vl", "qwen3_vl", "other"]
Known = Literal["qwen2_5_vl", "qwen3_vl"]
_NAMES: dict[Known, str] = {  # in the names of models
    "qwen2_5_vl": r"qwen-?2[._]5[-_]?vl",
    "qwen3_vl": r"qwen-?3[-_]?vl",
}
_CUT = frozenset({"length", "max_tokens"})
_MAX_SEED = 2**31 - 1  # some servers take no larger one
_MAX_STOPS = 4  # that OpenAI's servers take; a turn that isn't stopped is read up to its end


class ServedSettings(ChatSettings):
    """The model of a run, and how to ask it. `family` says how it writes boxes: "qwen2_5_vl" in pixels of the image,
    "qwen3_vl" in 0 to 1000 over it, "other" as the prompt then tells it to, in 0 to 1000; "auto" goes by the name.
    """

    key_variable: str = Field(default="VRAG_POLICY_KEY", exclude=True)
    timeout: float = Field(default=180.0, gt=0, exclude=True)  # before its first token a server reads all images
    total: float = Field(default=600.0, gt=0, exclude=True)
    family: Family = "auto"
    environment: EnvironmentConfig | None = Field(default=None, exclude=True)  # by a recipe, in place of the family's
    price_in: float | None = Field(default=None, ge=0, exclude=True)  # of a million tokens of prompt, in any currency
    price_out: float | None = Field(default=None, ge=0, exclude=True)  # of a million tokens that it says

    @model_validator(mode="after")
    def _both_prices(self) -> ServedSettings:
        if (self.price_in is None) != (self.price_out is None):
            raise ValueError("price_in and price_out belong together: give both, or neither")
        return self

    def by(self, recipe: PolicyRecipe) -> ServedSettings:
        """As the recipe says. Raises `UsageError` where the model's name says something else, and beside `family`."""
        if self.family != "auto":
            raise UsageError("a recipe of a policy says how it writes boxes, and so does family: give one of the two")
        named, view = family_of_name(self.model), recipe.environment.view
        if named and view.frame != FAMILIES[named][0]:
            raise UsageError(
                f"by its name {self.model} is a {named}, which writes boxes in the frame {FAMILIES[named][0]}; the "
                f"recipe says {view.frame}: choose the model's own"
            )
        omit, extra = (*recipe.omit, *self.omit), {**recipe.extra, **self.extra}
        return self.model_copy(update={"environment": recipe.environment, "omit": omit, "extra": extra})

    def priced(self, usage: Usage) -> Usage:
        """With what it cost, where there are prices."""
        if self.price_in is None or self.price_out is None:
            return usage
        cost = (usage.prompt_tokens * self.price_in + usage.completion_tokens * self.price_out) / 1e6
        return usage.model_copy(update={"cost": cost})


class Served(Frozen):
    """What may have a served policy."""

    policy: ServedSettings | None = None


def family_of_name(model: str) -> Known | None:
    """What a model's name says of its family."""
    return next((family for family, pattern in _NAMES.items() if re.search(pattern, model.casefold())), None)


def served_environment(settings: ServedSettings) -> EnvironmentConfig:
    """A recipe's; else the paper's, with images of a size that the servers of the family leave alone. Raises
    `UsageError` for a name that doesn't tell its family.
    """
    if settings.environment is not None:
        return settings.environment
    family = family_of_name(settings.model) if settings.family == "auto" else settings.family
    if family is None:
        raise UsageError(
            f"how does {settings.model} write boxes? Its name doesn't tell: --policy-set family=qwen2_5_vl (pixels), "
            "family=qwen3_vl (0 to 1000), or family=other (the prompt asks for 0 to 1000); or name a --policy-recipe"
        )
    if family in FAMILIES:
        return EnvironmentConfig(view=family_view(family))
    return EnvironmentConfig(view=ViewSpec(frame="relative1000"), prompt="vrag-1000-v1")


class ServedPolicy:
    """A `Policy` for any number of sessions; the server is sent the whole conversation each time, images too."""

    def __init__(
        self,
        settings: ServedSettings,
        *,
        key: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        own: Sequence[str] = (),
    ) -> None:
        """`own`: names of actions of one's own, where a turn ends too. The others are those of `vrag.chat.Chat`; raises
        `UsageError` as that does.
        """
        self._priced, self._own = settings.priced, tuple(own)
        self._chat = Chat(settings, what="policy server", key=key, transport=transport)
        self._stops = () if "stop" in settings.omit else stop_tags(*own)[:_MAX_STOPS]
        self._control = _control(self._own)

    async def generate(self, request: Request) -> Sample:
        """One turn. Raises `NoReply`, naming the server."""
        sampling = replace(request.sampling, seed=request.sampling.seed & _MAX_SEED)
        messages = [self._plain(message) for message in request.messages]
        try:
            reply = await self._chat.ask(messages, sampling, stop=self._stops, ends=self._ends)
        except NoReply as failure:
            failure.usage = self._priced(failure.usage)
            raise
        usage = self._priced(reply.usage)
        thought = f"<think>{reply.thought}</think>" if reply.thought else ""  # where it stood before the server read it
        if reply.finish in _CUT:
            return Sample(thought + reply.text, "length", usage=usage)
        text = complete(reply.text, self._own) if self._stops else reply.text
        return Sample(thought + text, "stop", usage=usage)

    def close(self, session: str) -> None:
        """Nothing to free."""

    def _ends(self, text: str) -> int | None:
        return closed_at(text, self._own)

    def _plain(self, message: Message) -> Message:
        """Without what a server would make a control token of, such as <|im_end|> on a page; actions stay as they
        are.
        """
        parts = [self._control.sub("< ", part) if isinstance(part, str) else part for part in message.parts]
        return replace(message, parts=parts)


def _control(own: Sequence[str]) -> re.Pattern[str]:
    """The beginning of what looks like a tag and is none of the grammar's."""
    known = "|".join(map(re.escape, ("think", *ACTIONS, *own)))
    return re.compile(rf"<(?=[A-Za-z/|])(?!\s{{0,3}}/?\s{{0,3}}(?:{known})\s{{0,3}}>)")
