"""What a client is told of an episode while it runs: one event for each thing that happens, by `type`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from vrag.servers.agent.places import EvidencePlace, HitPlace, PagePlace
from vrag.types import Box, Frozen, StopReason


class Started(Frozen):
    """First of all: which question is asked of what."""

    type: Literal["start"] = "start"
    id: str
    corpus: str
    policy: str
    question: str


class StepStarted(Frozen):
    """The policy is about to speak for the `step`th time. Step 0 is a search that the environment makes itself."""

    type: Literal["step"] = "step"
    step: int


class Thought(Frozen):
    type: Literal["thought"] = "thought"
    step: int
    text: str


class Query(Frozen):
    type: Literal["query"] = "query"
    step: int
    query: str


class FoundPages(Frozen):
    """All that a search found, best first."""

    type: Literal["found"] = "found"
    step: int
    hits: list[HitPlace]


class PageShown(Frozen):
    """A page that the policy was shown, as an image or as its text."""

    type: Literal["page"] = "page"
    step: int
    page: PagePlace
    score: float | None
    shown: Literal["image", "text"]


class BoxDrawn(Frozen):
    """What the policy wants to see larger, as it wrote it: in its own frame, over the image that it saw last."""

    type: Literal["box"] = "box"
    step: int
    written: Box


class Acted(Frozen):
    """An action of the user's own (`vrag.scene`)."""

    type: Literal["action"] = "action"
    step: int
    name: str
    content: str


class CropShown(Frozen):
    """What it was shown of the box: `box` in fractions of the page, `pixels` in those of the page's image; `crop` is
    the path of that part.
    """

    type: Literal["crop"] = "crop"
    step: int
    page: PagePlace
    box: Box
    pixels: Box
    crop: str


class Told(Frozen):
    """What the policy was told in place of a page: that nothing was found, or that all of it was seen already."""

    type: Literal["message"] = "message"
    step: int
    text: str


class InvalidAction(Frozen):
    """What the policy wrote is no action that can be carried out; it was told why, unless that ended the episode."""

    type: Literal["invalid"] = "invalid"
    step: int
    reason: str
    text: str


class Answered(Frozen):
    """`found`: False where the answer is that there is none; then there is no evidence for it either."""

    type: Literal["answer"] = "answer"
    text: str
    evidence: EvidencePlace | None
    found: bool = True


class Spent(Frozen):
    """Tokens, as the model server counts them, or as the embedded engine does; requests to a model server, and their
    cost where its prices are known.
    """

    type: Literal["usage"] = "usage"
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None


class Failed(Frozen):
    """Why there will be no answer that isn't the policy's fault; the server's log says more."""

    type: Literal["error"] = "error"
    code: Literal["infrastructure", "timeout", "internal"]
    message: str


class Stopped(Frozen):
    """The last one, always."""

    type: Literal["stop"] = "stop"
    reason: StopReason
    steps: int
    seconds: float


Event = Annotated[
    Started
    | StepStarted
    | Thought
    | Query
    | FoundPages
    | PageShown
    | BoxDrawn
    | Acted
    | CropShown
    | Told
    | InvalidAction
    | Answered
    | Spent
    | Failed
    | Stopped,
    Field(discriminator="type"),
]
