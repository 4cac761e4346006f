"""Encoding a repeated image once changes nothing: not the logits, not the gradients."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from tests.tiny import make_tiny, roll_out
from vrag.errors import InvariantError
from vrag.geometry import ViewSpec, page_view
from vrag.policies import vision
from vrag.testing import MemoryStore
from vrag.training.batch import collate
from vrag.training.logprobs import sampled_scores
from vrag.types import EncodedImage, ImagePart


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl"])
def test_siblings_that_saw_the_same_images_share_the_vision_tower(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = make_tiny(family)
    episodes = [*roll_out(tiny, ["1", "2", "3"]), *roll_out(tiny, ["1", "2", "3"], seed=1)]
    tokens = [e.tokens for e in episodes if e.tokens]
    for a, b in zip(tokens[:3], tokens[3:], strict=True):
        shared = min(len(a.images), len(b.images))
        b.images[:shared] = a.images[:shared]  # the same task shows the same noise: make it one object
    patches: list[int] = []
    tower = tiny.model.model.visual
    tower.register_forward_pre_hook(lambda module, args: patches.append(args[0].shape[0]))

    def run() -> tuple[torch.Tensor, torch.Tensor]:
        codec = tiny.codec
        pad = codec.tokenizer.pad_token_id
        batch = collate(tokens, pad_id=pad, image_pad_id=codec.image_pad_id, model=tiny.model)
        tiny.model.zero_grad()
        logprobs = sampled_scores(tiny.model, batch, sorted(codec.forbidden_ids)).logprobs
        logprobs.sum().backward()
        return logprobs.detach(), tower.patch_embed.proj.weight.grad.clone()

    shared_logprobs, shared_gradient = run()
    monkeypatch.setattr(vision, "_takes_features", lambda kind: False)
    plain_logprobs, plain_gradient = run()
    assert patches[0] < patches[1]
    assert torch.allclose(shared_logprobs, plain_logprobs, atol=1e-5)
    assert torch.allclose(shared_gradient, plain_gradient, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl"])
def test_a_frozen_tower_sees_an_image_once_until_its_weights_change(family: str) -> None:
    tiny = make_tiny(family)
    tokens = [e.tokens for e in roll_out(tiny, ["1", "2", "3"]) if e.tokens]
    codec, tower = tiny.codec, tiny.model.model.visual
    for parameter in tower.parameters():
        parameter.requires_grad_(False)
    patches: list[int] = []
    tower.register_forward_pre_hook(lambda module, args: patches.append(args[0].shape[0]))
    seen = sum(image.pixels.shape[0] for one in tokens for image in one.images)

    def run(cached: bool) -> torch.Tensor:
        with pytest.MonkeyPatch.context() as patch:
            if not cached:
                patch.setattr(vision, "_takes_features", lambda kind: False)
            pad = codec.tokenizer.pad_token_id
            batch = collate(tokens, pad_id=pad, image_pad_id=codec.image_pad_id, model=tiny.model)
            return sampled_scores(tiny.model, batch, sorted(codec.forbidden_ids)).logprobs

    plain = run(cached=False)
    assert patches == [seen]
    first, second = run(cached=True), run(cached=True)
    assert sum(patches) <= 2 * seen, "the rollout has seen them all"
    assert torch.allclose(first, plain, atol=1e-5) and torch.equal(first, second)
    with torch.no_grad():
        tower.patch_embed.proj.weight.mul_(1.5)
    patches.clear()
    changed = run(cached=True)
    assert patches == [seen] and not torch.allclose(changed, first, atol=1e-5)
    assert torch.allclose(changed, run(cached=False), atol=1e-5)


def test_features_go_when_their_image_goes() -> None:
    tiny = make_tiny("qwen3_vl")
    tokens = next(e.tokens for e in roll_out(tiny, ["2"]) if e.tokens and e.tokens.images)
    image = EncodedImage(tokens.images[0].grid, tokens.images[0].patches)
    with torch.no_grad():
        vision.image_inputs(tiny.model, [image])
    kept = vision._memories[tiny.model]._kept
    key = id(image)
    assert key in kept
    del image
    assert key not in kept


def test_a_processor_that_does_not_fill_the_grid_is_caught_where_the_pixels_are_asked_for() -> None:
    tiny = make_tiny("qwen3_vl")
    image = tiny.codec.encode_pixels(Image.new("RGB", (4 * tiny.factor, 2 * tiny.factor)))
    assert image.grid == (1, 4, 8)
    made = image.pixels
    assert len(made) == 32
    tiny.codec.image_processor = lambda **given: {"pixel_values": made[:-1]}
    with pytest.raises(InvariantError, match=r"31 patches of an image with grid \(1, 4, 8\)"):
        _ = tiny.codec.encode_pixels(Image.new("RGB", (4 * tiny.factor, 2 * tiny.factor))).pixels


def test_the_images_seen_last_are_remembered() -> None:
    tiny = make_tiny("qwen3_vl")
    tiny.codec.remembered = 2
    spec = ViewSpec(factor=tiny.factor, min_pixels=tiny.factor**2, max_pixels=16 * tiny.factor**2)
    pages = [MemoryStore().add("d", number, [], (64, 64)) for number in (1, 2, 3)]
    views = [page_view(page, spec) for page in pages]
    parts = [ImagePart(Image.new("RGB", (view.width, view.height)), view) for view in views]
    first = tiny.codec.encode_image(parts[0])
    tiny.codec.encode_image(parts[1])
    assert tiny.codec.encode_image(parts[0]) is first
    tiny.codec.encode_image(parts[2])
    assert tiny.codec.encode_image(parts[0]) is first, "seen since"
    assert len(tiny.codec._encoded) == 2
