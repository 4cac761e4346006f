"""What siblings share is computed once, and nothing that is learned changes."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch

from tests.tiny import Tiny, make_tiny, roll_out
from vrag.episode import Tokens
from vrag.training.batch import Batch, collate
from vrag.training.logprobs import sampled_scores
from vrag.training.memory import checkpoint_activations
from vrag.training.prefix_tree import PrefixTree, prefix_tree, side_by_side
from vrag.types import EncodedImage


@pytest.fixture(params=["qwen2_5_vl", "qwen3_vl"])
def tiny(request: pytest.FixtureRequest) -> Tiny:
    tiny = make_tiny(request.param)
    tiny.model.train()
    return tiny


def rolled(tiny: Tiny, names: list[str]) -> list[Tokens]:
    """Episodes of the same name begin alike and end otherwise."""
    return [e.tokens for e in roll_out(tiny, names) if e.tokens]


def padded(tiny: Tiny, episodes: list[Tokens]) -> Batch:
    return collate(episodes, **settings(tiny))


def tree(tiny: Tiny, episodes: list[Tokens]) -> PrefixTree:
    return prefix_tree(episodes, **settings(tiny))


def settings(tiny: Tiny) -> dict[str, Any]:
    codec = tiny.codec
    return {"pad_id": codec.tokenizer.pad_token_id, "image_pad_id": codec.image_pad_id, "model": tiny.model}


def learned(tiny: Tiny, batch: Batch | PrefixTree) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Log-probabilities, and the gradient of a sum in which each weighs otherwise."""
    tiny.model.zero_grad()
    with batch.attending(tiny.model):
        logprobs = sampled_scores(tiny.model, batch, sorted(tiny.codec.forbidden_ids)).logprobs
        (logprobs * torch.linspace(-1, 1, len(logprobs))).sum().backward()
    return logprobs.detach(), [p.grad.clone() for p in tiny.model.parameters() if p.grad is not None]


def same(one: tuple[torch.Tensor, list[torch.Tensor]], other: tuple[torch.Tensor, list[torch.Tensor]]) -> bool:
    largest = max(float(gradient.abs().max()) for gradient in one[1])
    close = [torch.allclose(a, b, rtol=1e-4, atol=1e-6 * largest) for a, b in zip(one[1], other[1], strict=True)]
    return torch.allclose(one[0], other[0], atol=1e-5) and all(close)


def said_at_last(tokens: Tokens, end: int, ids: list[int]) -> Tokens:
    """The same up to the `end` of its last image in the response, then these sampled ids."""
    kept = Tokens(tokens.prompt_ids, tokens.response_ids[:end], tokens.loss_mask[:end], tokens.logprobs[:end])
    kept.images = list(tokens.images)
    kept.add_sampled(ids, [-1.0] * len(ids))
    return kept


@pytest.mark.parametrize("checkpointed", [False, True])
def test_a_tree_scores_and_learns_as_the_episodes_one_by_one(tiny: Tiny, checkpointed: bool) -> None:
    episodes = rolled(tiny, ["1", "2", "1", "3", "1", "2"])
    assert len({len(one.ids) for one in episodes}) > 2, "the batch must be ragged"
    assert max(len(one.images) for one in episodes) >= 3, "some must have several images"
    expected = learned(tiny, padded(tiny, episodes))
    if checkpointed:
        checkpoint_activations(tiny.model)
    made = tree(tiny, episodes)
    assert len(made.first) < sum(len(one.ids) for one in episodes)
    assert same(learned(tiny, made), expected)


def test_branches_share_all_that_stands_before_they_part(tiny: Tiny) -> None:
    whole = max(rolled(tiny, ["1", "2"]), key=lambda one: len(one.images))
    shown = max(i for i, token in enumerate(whole.response_ids) if token == tiny.codec.image_pad_id) + 1
    parted = [said_at_last(whole, shown, ids) for ids in ([68, 70, 71], [69, 70, 71], [68, 70, 72], [68, 70, 71])]
    made = tree(tiny, parted)
    assert len(made.first) == len(parted[0].ids) + 3 + 1 + 0
    assert len(made.images) == len(whole.images)
    assert same(learned(tiny, made), learned(tiny, padded(tiny, parted)))


def test_other_images_behind_equal_tokens_are_not_shared(tiny: Tiny) -> None:
    one = max(rolled(tiny, ["1", "2"]), key=lambda one: len(one.images))
    image = one.images[0]
    darker = EncodedImage(image.grid, lambda: image.pixels - 1)
    other = replace(one, images=[darker, *one.images[1:]])
    made = tree(tiny, [one, other])
    before = one.ids.index(tiny.codec.image_pad_id)
    assert len(made.first) == 2 * len(one.ids) - before
    scores, gradient = learned(tiny, made)
    assert same((scores, gradient), learned(tiny, padded(tiny, [one, other])))
    half = len(scores) // 2
    assert not torch.allclose(scores[:half], scores[half:], atol=1e-3), "the image must matter, or this proves nothing"


def test_portions_hold_siblings_together_the_longest_first(tiny: Tiny) -> None:
    episodes = rolled(tiny, ["1", "2", "3", "1", "2", "3", "1"])
    longest = max(range(7), key=lambda i: len(episodes[i].ids))
    limit = 2 * len(episodes[longest].ids)
    found = list(side_by_side(episodes, limit))
    assert sorted(i for part in found for i in part) == list(range(7))
    assert all(sum(len(episodes[i].ids) for i in part) <= limit for part in found)
    prompts = [tuple(episodes[i].prompt_ids) for part in found for i in part]
    assert prompts[0] == tuple(episodes[longest].prompt_ids)
    assert sum(a != b for a, b in pairwise(prompts)) == 2, "each prompt's in one piece"
    assert [len(part) for part in side_by_side(episodes, 1)] == [1] * 7, "one that doesn't fit goes alone"
