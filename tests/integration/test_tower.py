"""A trained vision tower sees each image of a step once, which changes nothing that it learns."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch

from tests.tiny import Tiny, make_tiny, roll_out
from vrag.episode import Tokens
from vrag.policies import vision
from vrag.training.batch import collate
from vrag.training.logprobs import sampled_scores
from vrag.training.lora import PolicyLora, trainable
from vrag.training.tower import seeing_once
from vrag.types import EncodedImage

FAMILIES = ["qwen2_5_vl", "qwen3_vl"]


def siblings(tiny: Tiny) -> list[Tokens]:
    """Two episodes of each task; where both have a first, second… image, these are one object."""
    tokens = [e.tokens for seed in (0, 1) for e in roll_out(tiny, ["1", "2", "3"], seed=seed) if e.tokens]
    for a, b in zip(tokens[:3], tokens[3:], strict=True):
        shared = min(len(a.images), len(b.images))
        b.images[:shared] = a.images[:shared]
    return tokens


def images_of(tokens: list[Tokens]) -> list[EncodedImage]:
    return [image for one in tokens for image in one.images]


def score(tiny: Tiny, tokens: list[Tokens]) -> torch.Tensor:
    pad = tiny.codec.tokenizer.pad_token_id
    batch = collate(tokens, pad_id=pad, image_pad_id=tiny.codec.image_pad_id, model=tiny.model)
    return sampled_scores(tiny.model, batch, sorted(tiny.codec.forbidden_ids)).logprobs


def gradients(tiny: Tiny, tokens: list[Tokens], context: Any) -> dict[str, torch.Tensor]:
    """Of the summed log-probabilities, an episode a micro-batch."""
    tiny.model.zero_grad()
    with context:
        for one in tokens:
            score(tiny, [one]).sum().backward()
    return {name: p.grad.clone() for name, p in tiny.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("family", FAMILIES)
def test_each_image_passes_once_with_a_graph_and_the_gradient_is_the_same(family: str) -> None:
    tiny = make_tiny(family)
    tokens = siblings(tiny)
    patches: list[int] = []

    def watch(module: Any, args: Any) -> None:
        if torch.is_grad_enabled():
            patches.append(args[0].shape[0])

    tiny.model.model.visual.register_forward_pre_hook(watch)
    plain = gradients(tiny, tokens, nullcontext())
    every, images = sum(patches), images_of(tokens)
    distinct = sum(len(image.pixels) for image in vision.distinct(images))
    largest = max(len(image.pixels) for image in images)
    patches.clear()
    once = gradients(tiny, tokens, seeing_once(tiny.model, images, max_patches=largest))
    assert sum(patches) == distinct < every
    assert len(patches) > 1 and max(patches) == largest, "in parts of bounded size"
    assert plain.keys() == once.keys() and any("visual" in name for name in once)
    for name, gradient in plain.items():
        assert torch.allclose(gradient, once[name], rtol=1e-3, atol=1e-5), name


def test_an_image_that_reached_no_loss_gets_no_gradient() -> None:
    tiny = make_tiny("qwen3_vl")
    tokens = siblings(tiny)
    shown = [one for one in tokens if one.images]
    unused = next(one for one in tokens if one.images and one.images[0] is not shown[0].images[0])
    alone = gradients(tiny, shown[:1], seeing_once(tiny.model, shown[0].images, 10_000))
    beside = gradients(tiny, shown[:1], seeing_once(tiny.model, [*shown[0].images, *unused.images], 10_000))
    for name, gradient in alone.items():
        assert torch.allclose(gradient, beside[name], rtol=1e-3, atol=1e-5), name


def test_a_frozen_tower_is_left_alone() -> None:
    tiny = make_tiny("qwen3_vl")
    tokens = siblings(tiny)
    tiny.model.model.visual.requires_grad_(False)
    plain = gradients(tiny, tokens, nullcontext())
    once = gradients(tiny, tokens, seeing_once(tiny.model, images_of(tokens), 10_000))
    assert all(torch.equal(plain[name], once[name]) for name in plain) and plain.keys() == once.keys()


def test_a_step_that_fails_leaves_no_features_behind() -> None:
    tiny = make_tiny("qwen3_vl")
    tokens = siblings(tiny)
    before = score(tiny, tokens[:2]).detach()
    with pytest.raises(RuntimeError), seeing_once(tiny.model, images_of(tokens), 10_000):
        raise RuntimeError
    with torch.no_grad():
        tiny.model.model.visual.patch_embed.proj.weight.mul_(1.5)
    assert not torch.allclose(score(tiny, tokens[:2]), before, atol=1e-5)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft 0.21 with transformers 5.24
def test_the_starting_models_tower_is_seen_through_without_its_adapters() -> None:
    pytest.importorskip("peft")
    tiny = make_tiny("qwen3_vl")
    tokens = [one for one in siblings(tiny) if one.images]
    with torch.no_grad():
        start = score(tiny, tokens)
        trained = trainable(tiny.model, PolicyLora(rank=4), freeze_vision=False, seed=0)
        for name, parameter in trained.named_parameters():
            if "lora_B" in name and "visual" in name:
                parameter.normal_()
        adapted = score(tiny, tokens)
        with trained.disable_adapter():
            assert torch.allclose(score(tiny, tokens), start, atol=1e-5)
        assert not torch.allclose(adapted, start, atol=1e-3) and torch.allclose(score(tiny, tokens), adapted, atol=1e-5)
