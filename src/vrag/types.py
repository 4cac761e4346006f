"""The nouns of the project, in the order the data flows.

Pydantic models cross disk or network and hold no tensors; dataclasses stay inside the process.

Coordinates. A `Box` is (x1, y1, x2, y2), origin top-left, x right, y down, x2/y2 exclusive. Its frame is
named where it is used: *raw* = pixels of the stored page image; *relative* = fractions 0..1 of the page.
What a model writes is in its family's own frame and is mapped to raw by `vrag.geometry` alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image


class Frozen(BaseModel):
    """Base of everything that is written to disk: immutable, and unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# ------------------------------------------------------------------------------------------ documents


class Box(Frozen):
    """A rectangle; x2 > x1 and y2 > y1 are checked where boxes enter (actions, datasets), not here."""

    x1: float
    y1: float
    x2: float
    y2: float

    @property
    def width(self) -> float:
        return self.x2 - self.x1

    @property
    def height(self) -> float:
        return self.y2 - self.y1

    def scaled(self, x: float, y: float) -> Box:
        return Box(x1=self.x1 * x, y1=self.y1 * y, x2=self.x2 * x, y2=self.y2 * y)

    def holds(self, other: Box) -> bool:
        """Whether all of `other` lies in it, edges included."""
        return self.x1 <= other.x1 and other.x2 <= self.x2 and self.y1 <= other.y1 and other.y2 <= self.y2

    def as_tuple(self) -> tuple[float, float, float, float]:
        return self.x1, self.y1, self.x2, self.y2


class Word(Frozen):
    """One word of the text layer or of OCR; `box` in raw pixels. `line` groups words of one line."""

    text: str
    box: Box
    line: int = 0


class PageRef(Frozen):
    """A page as people and datasets name it: the document's name in its corpus and a 1-based number."""

    document: str
    page: int = Field(ge=1)


class Page(Frozen):
    """A stored page. `id` is made of the document's content hash and the page number, so it is safe as a path."""

    id: str
    document_id: str
    ref: PageRef
    width: int  # raw pixels
    height: int
    text: str
    text_source: Literal["layer", "ocr", "given", "none"]  # "given": by a dataset, without boxes of its words


class Hit(Frozen):
    """One retrieved page; larger `score` is better. A list of hits is in retrieval order.

    `ranks`: by which retrievers it was found, and at which place (1: first), where several are fused.
    """

    page_id: str
    ref: PageRef
    score: float
    ranks: dict[str, int] = {}


# -------------------------------------------------------------------------------------------- vectors


@dataclass(frozen=True)
class PatchGrid:
    """Which vectors of a page stand for its patches: `rows` x `columns` of them, row by row, from vector `first` on."""

    first: int
    rows: int
    columns: int


@dataclass(frozen=True)
class PageVectors:
    """What an encoder makes of one page: `vectors` [V, D], fp32, none longer than 1; V = 1 for a dense encoder.

    `grid` is None where vectors don't stand for patches.
    """

    vectors: np.ndarray
    grid: PatchGrid | None = None


# ---------------------------------------------------------------------------------------------- tasks


class Evidence(Frozen):
    """Where an answer stands: a page, and a box in relative coordinates (None: the whole page).

    `relevance` is the page's grade where a dataset has grades; nDCG weighs pages by it.
    """

    ref: PageRef
    box: Box | None = None
    relevance: int = Field(default=1, ge=1)


class Task(Frozen):
    """One question with its gold answer. `answers` are alternatives, each right; `gold` is ordered by hop."""

    id: str
    question: str
    answers: list[str] = []
    gold: list[Evidence] = []
    hops: int = 1
    kind: str = "unknown"  # kind of page: table, bar, line, pie, cards, …
    source: str = "unknown"  # dataset and split
    document: str | None = None  # the one that the question is about, where it says so or a dataset does
    meta: dict[str, Any] = {}


# -------------------------------------------------------------------------------------------- actions


class Search(Frozen):
    name: Literal["search"] = "search"
    query: str


class Crop(Frozen):
    """`<bbox>`: coordinates as the policy wrote them, in its family's frame over the last image shown."""

    name: Literal["bbox"] = "bbox"
    box: Box


class Answer(Frozen):
    name: Literal["answer"] = "answer"
    text: str


class Custom(Frozen):
    """An action of one's own, by its tag (see `vrag.scene`). `content` is what stood between the tags."""

    name: str
    content: str


Action = Search | Crop | Answer | Custom


class View(Frozen):
    """What the encoder saw: `region` (raw pixels of page `page_id`) resized to `width` x `height` pixels."""

    page_id: str
    ref: PageRef
    region: Box
    width: int
    height: int


class Observation(Frozen):
    """What the environment replied. `hits` is all that search returned.

    `view` is the image that a crop acts on; `before` are pages that the same search showed before it. `read` are the
    hits that were shown as `text` instead. A corrective text has none of them.
    """

    kind: Literal["page", "crop", "message"]
    text: str = ""
    view: View | None = None
    hits: list[Hit] = []
    before: list[View] = []
    read: list[Hit] = []

    @property
    def views(self) -> list[View]:
        """All images, in the order in which they were shown."""
        return [*self.before, self.view] if self.view is not None else []

    @property
    def pages(self) -> list[PageRef]:
        """What was shown, as image or as text, in order."""
        return [view.ref for view in self.views] or [hit.ref for hit in self.read]


class Turn(Frozen):
    """One generation and what came of it. `error` says why `text` is no valid action. `read_from`: see `Sample`."""

    text: str
    action: Action | None = None
    thought: str = ""
    error: str | None = None
    observation: Observation | None = None
    read_from: View | None = None


class StopReason(str, Enum):
    """Why an episode ended; also a metric."""

    ANSWER = "answer"  # the policy answered: the only way to finish
    TURNS = "turns"  # the turn budget is spent
    LENGTH = "length"  # the token budget is spent, or the next observation would not fit
    PIXELS = "pixels"  # the pixel budget is spent
    INVALID = "invalid"  # too many invalid actions in a row
    ERROR = "error"  # infrastructure failed; never scored as a wrong answer


# ----------------------------------------------------------------------------------- conversation


@dataclass(frozen=True)
class ImagePart:
    """An image as the model sees it: already resized to `view.width` x `view.height`, mode RGB."""

    image: Image
    view: View


@dataclass(frozen=True)
class Message:
    """One chat message. Images come in user messages, as in the paper's released checkpoint."""

    role: Literal["system", "user", "assistant"]
    parts: list[str | ImagePart]


@dataclass(frozen=True)
class Sampling:
    """How to sample one turn. `temperature` 0 is greedy; `seed` makes one session reproducible."""

    temperature: float = 1.0
    max_tokens: int = 512
    seed: int = 0


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """One image as a model takes it, told apart by identity. `grid` (t, h, w) in patches.

    Its pixels are made by `patches` when they are asked for, for they take six times what the image takes.
    """

    grid: tuple[int, int, int]
    patches: Callable[[], np.ndarray]

    @property
    def pixels(self) -> np.ndarray:
        """[t*h*w, channels*temporal*patch*patch], fp32. Raises `InvariantError` where they don't fill the grid."""
        return self.patches()


@dataclass(frozen=True)
class Encoded:
    """Token ids [L] of some messages and their images, in order of appearance."""

    ids: list[int]
    images: list[EncodedImage] = field(default_factory=lambda: [])


@dataclass(frozen=True)
class Request:
    """What a policy may use to speak: the conversation so far, as messages and (with a codec) as tokens."""

    session: str
    messages: list[Message]
    sampling: Sampling
    input_ids: list[int] = field(default_factory=lambda: [])
    images: list[EncodedImage] = field(default_factory=lambda: [])


class Usage(Frozen):
    """What a model server was asked: requests, and tokens as the server counts them (none where it doesn't). `cost` is
    theirs, in the currency of the prices that were given; None without any.
    """

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            calls=self.calls + other.calls,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            cost=None if self.cost is None and other.cost is None else (self.cost or 0) + (other.cost or 0),
        )


@dataclass(frozen=True)
class Sample:
    """One generation. `ids`/`logprobs` [L] are empty for a policy that speaks only text; `usage` is None for one that
    asks no server. `read_from` is where an answer stands on a page that was shown, for a policy that knows: without it
    that is taken to be what was looked at last.
    """

    text: str
    finish: Literal["stop", "length"]
    ids: list[int] = field(default_factory=lambda: [])
    logprobs: list[float] = field(default_factory=lambda: [])
    usage: Usage | None = None
    read_from: View | None = None


@dataclass(frozen=True)
class Step:
    """The environment's reply. `messages` are to be appended to the conversation; empty when `stop` is set."""

    turn: Turn
    messages: list[Message]
    stop: StopReason | None = None
