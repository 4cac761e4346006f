"""The tokens of a kept episode: its text as the model saw it, what of it the policy sampled, and what the update made
of that.

Runs of tokens are `spans`, in order. Joined, the pieces of all spans are the decoded episode without image pads.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Annotated, Literal

from pydantic import Field

from vrag.episode import Episode, Tokens
from vrag.types import Frozen, ImagePart, PageRef

DIGITS = 5  # after the point

Number = float | None  # None: wasn't finite


class Observed(Frozen):
    """Tokens that the policy was given: prompt, observations, the template's glue. They are masked in the loss."""

    type: Literal["observed"] = "observed"
    pieces: list[str]


class Pads(Frozen):
    """An image, in place of its `count` pad tokens: a page, or a crop of it."""

    type: Literal["image"] = "image"
    ref: PageRef
    crop: bool
    count: int


class Update(Frozen):
    """What the update saw of the tokens of a span. `logprobs`: by its own forward, before it moved the weights.
    `ratios`: the importance ratios that the loss took. `entropy` in nats. `clipped`: -1 where the lower bound acted, 1
    where the upper one did.
    """

    logprobs: list[Number]
    ratios: list[Number]
    entropy: list[Number]
    clipped: list[Literal[-1, 0, 1]]


class Sampled(Frozen):
    """Tokens that the policy wrote in one turn; the loss is over these. `logprobs`: at rollout. `update` is None where
    the episode had no gradient.
    """

    type: Literal["sampled"] = "sampled"
    pieces: list[str]
    logprobs: list[Number]
    update: Update | None = None


Span = Annotated[Observed | Pads | Sampled, Field(discriminator="type")]


class TokenTrace(Frozen):
    """`advantage` is that of every sampled token, as an episode has one for all; None where the update left the episode
    out.
    """

    advantage: float | None
    spans: list[Span]


@dataclass(frozen=True)
class UpdateScores:
    """The columns of `Update` for all m sampled tokens of an episode, each [m]."""

    logprobs: list[float]
    ratios: list[float]
    entropy: list[float]
    clipped: list[int]

    def part(self, start: int, end: int) -> Update:
        return Update(
            logprobs=_rounded(self.logprobs[start:end]),
            ratios=_rounded(self.ratios[start:end]),
            entropy=_rounded(self.entropy[start:end]),
            clipped=self.clipped[start:end],  # type: ignore[arg-type]
        )


def trace_of(
    episode: Episode, pieces: Sequence[str], image_pad_id: int, advantage: float | None, scores: UpdateScores | None
) -> TokenTrace:
    """The trace of an episode with tokens; `pieces` [L] is the text of each of its ids."""
    tokens = episode.tokens
    if tokens is None:
        raise ValueError(f"episode {episode.task.id}: has no tokens")
    images, logprobs = _images(episode), [0.0] * len(tokens.prompt_ids) + tokens.logprobs
    spans: list[Span] = []
    seen = 0
    for kind, start, end in _runs(tokens, image_pad_id):
        if kind == "image":
            ref, crop = next(images)
            spans.append(Pads(ref=ref, crop=crop, count=end - start))
        elif kind == "observed":
            spans.append(Observed(pieces=list(pieces[start:end])))
        else:
            before, seen = seen, seen + end - start
            update = scores.part(before, seen) if scores else None
            spans.append(Sampled(pieces=list(pieces[start:end]), logprobs=_rounded(logprobs[start:end]), update=update))
    return TokenTrace(advantage=advantage, spans=spans)


def _runs(tokens: Tokens, image_pad_id: int) -> Iterator[tuple[str, int, int]]:
    """(kind, start, end) of the runs of tokens of one kind, over the whole episode."""
    mask = [0] * len(tokens.prompt_ids) + tokens.loss_mask
    kinds = [
        "sampled" if sampled else "image" if id == image_pad_id else "observed"
        for id, sampled in zip(tokens.ids, mask, strict=True)
    ]
    end = 0
    for kind, run in groupby(kinds):
        start, end = end, end + len(list(run))
        yield kind, start, end


def _images(episode: Episode) -> Iterator[tuple[PageRef, bool]]:
    """Of each image that the policy was shown, in order: its page, and whether it is a crop."""
    looks = [turn.observation for turn in episode.turns if turn.observation is not None]
    crops = [view for look in looks if look.kind == "crop" for view in look.views]
    parts = (part for message in episode.messages for part in message.parts)
    return ((part.view.ref, part.view in crops) for part in parts if isinstance(part, ImagePart))


def _rounded(values: Iterable[float]) -> list[Number]:
    return [round(value, DIGITS) if math.isfinite(value) else None for value in values]
