"""Each invariant of an episode's tokens raises; each has trained models blind elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from vrag.episode import Tokens
from vrag.errors import InvariantError
from vrag.types import EncodedImage

PAD, RESERVED = 99, frozenset({99, 98})


@dataclass
class OnlyNumbers:
    """As much of a codec as the checks need."""

    image_pad_id: int = PAD
    merge_size: int = 2
    forbidden_ids: frozenset[int] = RESERVED
    end_of_turn_id: int = 1
    calls: list[str] = field(default_factory=list)


def image(t: int = 1, h: int = 4, w: int = 2) -> EncodedImage:
    return EncodedImage((t, h, w), lambda: np.zeros((t * h * w, 3), np.float32))


def good() -> Tokens:
    tokens = Tokens([5, 6])
    tokens.add_sampled([7, 1], [-0.5, -0.1])
    tokens.add_observed([8, PAD, PAD, 9], [image()])
    tokens.add_sampled([7], [-0.2])
    return tokens


def check(tokens: Tokens) -> None:
    tokens.check(OnlyNumbers(), "sample-1")  # type: ignore[arg-type]


def test_a_sound_episode_passes() -> None:
    check(good())


def test_images_are_counted_over_prompt_and_response() -> None:
    tokens = Tokens([5, PAD, PAD], images=[image()])
    tokens.add_sampled([7], [-0.1])
    check(tokens)


def lose_an_image(tokens: Tokens) -> None:
    tokens.images.clear()


def lose_a_pad(tokens: Tokens) -> None:
    tokens.response_ids[3] = 8


def swap_the_grid(tokens: Tokens) -> None:
    tokens.images[0] = image(h=4, w=4)


def shorten_the_mask(tokens: Tokens) -> None:
    tokens.loss_mask.pop()


def shorten_the_logprobs(tokens: Tokens) -> None:
    tokens.logprobs.pop()


def train_on_an_observation(tokens: Tokens) -> None:
    tokens.loss_mask[3] = 1


def give_an_observation_a_logprob(tokens: Tokens) -> None:
    tokens.logprobs[2] = -0.3


def make_a_logprob_nan(tokens: Tokens) -> None:
    tokens.logprobs[0] = float("nan")


def make_a_logprob_positive(tokens: Tokens) -> None:
    tokens.logprobs[0] = 0.4


def mask_by_halves(tokens: Tokens) -> None:
    tokens.loss_mask[0] = 2


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lose_an_image, "1 runs of image pads for 0 images"),
        (lose_a_pad, "do not match"),
        (swap_the_grid, "do not match"),
        (shorten_the_mask, "differ in length"),
        (shorten_the_logprobs, "differ in length"),
        (train_on_an_observation, "reserved token"),
        (give_an_observation_a_logprob, "observation token"),
        (make_a_logprob_nan, "positive or NaN"),
        (make_a_logprob_positive, "positive or NaN"),
        (mask_by_halves, "other than 0 and 1"),
    ],
)
def test_each_invariant_raises_and_names_the_sample(spoil, said: str) -> None:  # type: ignore[no-untyped-def]
    tokens = good()
    spoil(tokens)
    with pytest.raises(InvariantError, match=said) as raised:
        check(tokens)
    assert "sample-1" in str(raised.value)
