"""A model that attends by products sees and reads the same, and passes on the same gradient."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.tiny import Tiny, make_tiny, roll_out
from vrag.training import attention
from vrag.training.attention import TEXT, TOWER, quick_attention
from vrag.training.memory import checkpoint_activations
from vrag.training.precision import Precision, autocast
from vrag.training.supervised import Example, supervised_step


@pytest.fixture(scope="module", params=["qwen3_vl", "qwen2_5_vl"])
def tiny(request: pytest.FixtureRequest) -> Tiny:
    return make_tiny(request.param)


def seen(tiny: Tiny, *, quick: bool, precision: Precision = "bf16") -> tuple[torch.Tensor, torch.Tensor]:
    """Of two images of different sizes: what the tower makes of them, and the gradient of its first layer."""
    tower = tiny.model.model.visual
    grids = torch.tensor([[1, 4, 6], [1, 8, 2]])
    width = tower.patch_embed.in_channels * tower.patch_embed.temporal_patch_size * tower.patch_embed.patch_size**2
    pixels = torch.randn(40, width, generator=torch.Generator().manual_seed(0))
    tiny.model.zero_grad()
    with autocast(tiny.model, precision), quick_attention(tiny.model, "bf16" if quick else "fp32"):
        out = tower(pixels, grid_thw=grids).pooler_output
    (out.float() ** 2).sum().backward()
    gradient = tower.blocks[0].attn.qkv.weight.grad
    assert gradient is not None
    return out.detach().float(), gradient.clone()


def read(
    tiny: Tiny, *, quick: bool, precision: Precision = "bf16", mask: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Of two rows of text: what comes out before the head, and the gradient of the first layer."""
    text = tiny.model.model.language_model
    inputs = torch.randn(2, 23, text.config.hidden_size, generator=torch.Generator().manual_seed(0))
    tiny.model.zero_grad()
    with autocast(tiny.model, precision), quick_attention(tiny.model, "bf16" if quick else "fp32"):
        out = text(inputs_embeds=inputs, attention_mask=mask).last_hidden_state
        (out.float() ** 2).mul(torch.arange(23.0)[None, :, None]).sum().backward()
    gradient = text.layers[0].self_attn.q_proj.weight.grad
    assert gradient is not None
    return out.detach().float(), gradient.clone()


def test_it_sees_what_the_librarys_attention_sees(tiny: Tiny) -> None:
    (plain, slope), (quick, quick_slope) = seen(tiny, quick=False), seen(tiny, quick=True)
    assert not torch.equal(plain, quick), "another way was taken"
    for one, other in ((plain, quick), (slope, quick_slope)):
        assert (one - other).norm() < 0.02 * one.norm()  # bf16 has eight bits


@pytest.mark.parametrize("look", [seen, read])
def test_it_is_as_near_to_fp32_as_the_librarys_attention(tiny: Tiny, look: Callable[..., Any]) -> None:
    exact, plain, quick = look(tiny, quick=False, precision="fp32"), look(tiny, quick=False), look(tiny, quick=True)
    assert not torch.equal(plain[0], quick[0]), "another way was taken"
    for right, one, other in zip(exact, plain, quick, strict=True):
        assert (other - right).norm() < 1.5 * (one - right).norm() < 0.5 * right.norm(), "bf16 has eight bits"


@pytest.mark.parametrize(("precision", "names"), [("bf16", (TOWER, TEXT)), ("fp32", None)])
def test_the_models_own_attention_is_put_back(tiny: Tiny, precision: Precision, names: tuple[str, str] | None) -> None:
    configs = tiny.model.config.vision_config, tiny.model.config.text_config

    def used() -> tuple[str, ...]:
        return tuple(config._attn_implementation for config in configs)

    before = used()
    with pytest.raises(RuntimeError), quick_attention(tiny.model, precision):
        assert used() == (names or before)
        raise RuntimeError
    assert used() == before


@pytest.mark.parametrize("look", [seen, read])
def test_what_is_long_is_left_to_the_library(
    tiny: Tiny, look: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "LONGEST", 0)
    (plain, slope), (quick, quick_slope) = look(tiny, quick=False), look(tiny, quick=True)
    assert torch.equal(plain, quick) and torch.equal(slope, quick_slope)


def test_text_with_a_mask_is_left_to_the_library(tiny: Tiny) -> None:
    mask = torch.ones(2, 23, dtype=torch.long)
    mask[0, :5] = 0
    (plain, slope), (quick, quick_slope) = (read(tiny, quick=quick, mask=mask) for quick in (False, True))
    assert torch.equal(plain, quick) and torch.equal(slope, quick_slope)


@pytest.mark.parametrize("family", ["qwen3_vl", "qwen2_5_vl"])
def test_layers_that_are_computed_again_attend_in_the_same_way(family: str) -> None:
    def slope(*, again: bool) -> torch.Tensor:
        tiny = make_tiny(family)
        if again:
            checkpoint_activations(tiny.model)
        tokens = next(e.tokens for e in roll_out(tiny, ["2"]) if e.tokens and e.tokens.images)
        tiny.model.train()
        example = Example(tokens, [1.0] * sum(tokens.loss_mask))
        supervised_step(tiny.model, tiny.codec, [example], 8192, "bf16")
        return tiny.model.model.visual.blocks[0].attn.qkv.weight.grad

    kept, again = slope(again=False), slope(again=True)
    assert kept.abs().max() > 0 and torch.allclose(kept, again, rtol=1e-3, atol=1e-6)
