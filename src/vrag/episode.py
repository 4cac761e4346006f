"""An episode: what was said, what was seen, and the exact tokens that training will use.

Masks are made while the episode is made and never recovered from text afterwards. `Tokens.check` raises
`InvariantError` on each disagreement that elsewhere has trained models blind without an error.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal

from vrag.errors import InvariantError
from vrag.protocols import Codec
from vrag.types import EncodedImage, Frozen, Message, StopReason, Task, Turn, Usage


@dataclass
class Tokens:
    """The token side of an episode.

    `prompt_ids` [P]; `response_ids`, `loss_mask`, `logprobs` [R] cover everything after the prompt: 1 in the
    mask where the policy sampled the token, 0 on observations and on the template's glue, where `logprobs` is
    0.0. `images` are in order of appearance over prompt and response.
    """

    prompt_ids: list[int]
    response_ids: list[int] = field(default_factory=lambda: [])
    loss_mask: list[int] = field(default_factory=lambda: [])
    logprobs: list[float] = field(default_factory=lambda: [])
    images: list[EncodedImage] = field(default_factory=lambda: [])

    @property
    def ids(self) -> list[int]:
        return self.prompt_ids + self.response_ids

    def add_sampled(self, ids: list[int], logprobs: list[float]) -> None:
        self.response_ids += ids
        self.loss_mask += [1] * len(ids)
        self.logprobs += logprobs

    def add_observed(self, ids: list[int], images: list[EncodedImage]) -> None:
        self.response_ids += ids
        self.loss_mask += [0] * len(ids)
        self.logprobs += [0.0] * len(ids)
        self.images += images

    def turn_lengths(self) -> list[int]:
        """How many tokens the policy sampled in each of its turns."""
        return [end - start for start, end in self.sampled_runs()]

    def sampled_runs(self) -> list[tuple[int, int]]:
        """Where in `ids` each turn of the policy starts and ends (exclusive)."""
        runs: list[tuple[int, int]] = []
        position = len(self.prompt_ids)
        for sampled, run in groupby(self.loss_mask):
            start, position = position, position + len(list(run))
            if sampled:
                runs.append((start, position))
        return runs

    def image_starts(self, image_pad_id: int) -> list[int]:
        """Where in `ids` each image's run of pads starts."""
        ids = self.ids
        return [i for i, token in enumerate(ids) if token == image_pad_id and (i == 0 or ids[i - 1] != token)]

    def check(self, codec: Codec, name: str) -> None:
        """Raise `InvariantError` unless tokens, mask, log-probabilities and images agree."""
        lengths = {len(self.response_ids), len(self.loss_mask), len(self.logprobs)}
        if len(lengths) != 1:
            raise InvariantError(f"episode {name}: response_ids, loss_mask and logprobs differ in length: {lengths}")
        if not set(self.loss_mask) <= {0, 1}:
            raise InvariantError(f"episode {name}: loss_mask holds values other than 0 and 1")
        self._check_images(codec, name)
        forbidden = codec.forbidden_ids
        sampled = [i for i, m in zip(self.response_ids, self.loss_mask, strict=True) if m]
        if leaked := forbidden.intersection(sampled):
            raise InvariantError(f"episode {name}: the policy sampled reserved token ids {sorted(leaked)}")
        if any(lp != 0.0 for lp, m in zip(self.logprobs, self.loss_mask, strict=True) if not m):
            raise InvariantError(f"episode {name}: an observation token carries a log-probability")
        if any(not lp <= 0.0 for lp, m in zip(self.logprobs, self.loss_mask, strict=True) if m):
            raise InvariantError(f"episode {name}: a sampled token's log-probability is positive or NaN")

    def _check_images(self, codec: Codec, name: str) -> None:
        runs = _run_lengths(self.ids, codec.image_pad_id)
        expected = [t * h * w // codec.merge_size**2 for t, h, w in (image.grid for image in self.images)]
        if len(runs) != len(expected):
            raise InvariantError(f"episode {name}: {len(runs)} runs of image pads for {len(expected)} images")
        if runs != expected:
            raise InvariantError(f"episode {name}: image pads {runs} do not match the grids' {expected}")


def _run_lengths(ids: list[int], pad: int) -> list[int]:
    runs: list[int] = []
    previous = None
    for token in ids:
        if token == pad:
            if previous == pad:
                runs[-1] += 1
            else:
                runs.append(1)
        previous = token
    return runs


class Reward(Frozen):
    """`total` is the weighted sum; `parts` are the unweighted terms, each logged apart."""

    total: float
    parts: dict[str, float]


class Judgement(Frozen):
    """What a judge said of an answer, and what it cost. `right` is None where it couldn't say."""

    right: bool | None
    by: Literal["rules", "cache", "model"]  # who said so: only a model was asked
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class EpisodeRecord(Frozen):
    """An episode on disk: everything a reader or a metric needs, no tensors."""

    task: Task
    sample: int = 0
    seed: int = 0
    turns: list[Turn]
    stop: StopReason
    answer: str | None = None
    reward: Reward | None = None  # None: not scored (infrastructure failed); never counted as wrong
    error: str | None = None
    judgement: Judgement | None = None  # None: no judge was there
    usage: Usage | None = None  # of the policy's server; None: it asked none
    sampled_tokens: int = 0
    total_tokens: int = 0
    seconds: float = 0.0

    def episode(self) -> Episode:
        """To be scored again: without tokens, reward and error."""
        return Episode(
            task=self.task,
            turns=self.turns,
            stop=self.stop,
            answer=self.answer,
            tokens=None,
            sample=self.sample,
            seed=self.seed,
            seconds=self.seconds,
        )


@dataclass
class Episode:
    """One finished rollout. `reward` is None until scored, and stays None when infrastructure failed; `error` says
    what failed. `messages` is the conversation as the policy saw it, with what the policy said.
    """

    task: Task
    turns: list[Turn]
    stop: StopReason
    answer: str | None
    tokens: Tokens | None
    sample: int = 0
    seed: int = 0
    reward: Reward | None = None
    error: str | None = None
    judgement: Judgement | None = None
    usage: Usage | None = None
    seconds: float = 0.0
    messages: list[Message] = field(default_factory=lambda: [])

    def record(self) -> EpisodeRecord:
        tokens = self.tokens
        return EpisodeRecord(
            task=self.task,
            sample=self.sample,
            seed=self.seed,
            turns=self.turns,
            stop=self.stop,
            answer=self.answer,
            reward=self.reward,
            error=self.error,
            judgement=self.judgement,
            usage=self.usage,
            sampled_tokens=sum(tokens.loss_mask) if tokens else 0,
            total_tokens=len(tokens.ids) if tokens else 0,
            seconds=self.seconds,
        )
