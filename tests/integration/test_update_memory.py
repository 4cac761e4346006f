"""What saves memory in an update changes nothing that is learned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from tests.tiny import Tiny, make_tiny, roll_out
from vrag.training.batch import Batch, collate
from vrag.training.logprobs import sampled_scores
from vrag.training.memory import checkpoint_activations, keep_products


@pytest.fixture(params=["qwen2_5_vl", "qwen3_vl"])
def tiny(request: pytest.FixtureRequest) -> Tiny:
    tiny = make_tiny(request.param)
    tiny.model.train()
    return tiny


def batch_of(tiny: Tiny) -> Batch:
    tokens = [e.tokens for e in roll_out(tiny, ["1", "2", "3", "4"]) if e.tokens]
    codec = tiny.codec
    return collate(tokens, pad_id=codec.tokenizer.pad_token_id, image_pad_id=codec.image_pad_id, model=tiny.model)


def learned(tiny: Tiny, batch: Batch, **settings: Any) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """The scores, and the gradient of the summed log-probabilities."""
    tiny.model.zero_grad()
    scores = sampled_scores(tiny.model, batch, sorted(tiny.codec.forbidden_ids), **settings)
    scores.logprobs.sum().backward()
    found = [p.grad.clone() for p in tiny.model.parameters() if p.grad is not None]
    return [scores.logprobs.detach(), scores.entropy, scores.best.float()], found


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return all(torch.allclose(x, y, rtol=1e-4, atol=1e-5) for x, y in zip(a, b, strict=True))


def test_chunked_scores_equal_whole_ones_and_never_hold_more_logits(tiny: Tiny) -> None:
    batch, rows = batch_of(tiny), list[int]()
    whole, gradient = learned(tiny, batch)
    tiny.model.lm_head.register_forward_hook(lambda module, args, out: rows.append(out.shape[0]))
    vocabulary = tiny.model.lm_head.weight.shape[0]
    chunked, chunked_gradient = learned(tiny, batch, chunk_bytes=7 * 4 * vocabulary)
    assert max(rows) == 7 and sum(rows) == 2 * len(whole[0]), "each chunk once more for the gradient"
    assert same(whole, chunked) and same(gradient, chunked_gradient)


@pytest.mark.parametrize(("keep_less", "share"), [(checkpoint_activations, 0.35), (keep_products, 0.7)])
def test_what_is_computed_again_isnt_kept_and_changes_nothing(
    tiny: Tiny, keep_less: Callable[[Any], None], share: float
) -> None:
    batch = batch_of(tiny)

    def kept() -> int:
        """Bytes that are there after a forward and weren't before."""
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
            scores = sampled_scores(tiny.model, batch)
        assert scores.logprobs.requires_grad
        return sum(event.self_cpu_memory_usage for event in found.key_averages())

    plain, before = learned(tiny, batch), kept()
    keep_less(tiny.model)
    again, after = learned(tiny, batch), kept()
    assert same(plain[0], again[0]) and same(plain[1], again[1])
    assert 0 < after < before * share, (after, before)


def test_attention_keeps_nothing_quadratic_in_the_length_and_padding_changes_nothing(tiny: Tiny) -> None:
    tokens = [e.tokens for e in roll_out(tiny, ["1", "2", "3", "4"]) if e.tokens]
    together = batch_of(tiny)
    length, shapes = together.input_ids.shape[1], list[torch.Size]()

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        shapes.append(tensor.shape[-2:])
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        scores = sampled_scores(tiny.model, together)
    assert shapes and (length, length) not in shapes
    pad, image = tiny.codec.tokenizer.pad_token_id, tiny.codec.image_pad_id
    apart = [sampled_scores(tiny.model, collate([o], pad_id=pad, image_pad_id=image, model=tiny.model)) for o in tokens]
    assert len({len(one.ids) for one in tokens}) == 4, "the batch must be ragged"
    assert torch.allclose(scores.logprobs, torch.cat([one.logprobs for one in apart]), atol=1e-5)


def test_the_rollout_of_a_checkpointed_model_still_has_its_cache(tiny: Tiny) -> None:
    expected = [e.tokens.ids for e in roll_out(tiny, ["1", "2"]) if e.tokens]
    checkpoint_activations(tiny.model)
    assert [e.tokens.ids for e in roll_out(tiny, ["1", "2"]) if e.tokens] == expected
