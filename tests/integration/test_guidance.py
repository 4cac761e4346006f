"""Guided attention: the scores are the model's own, and the loss pulls them to the target."""

import pytest
import torch

from tests.tiny import Tiny, make_tiny, roll_out
from vrag.training.batch import Batch, collate
from vrag.training.guidance import Glance, GuidanceConfig, guidance_loss, kept_scores
from vrag.training.supervised import Example, supervised_step

CONFIG = GuidanceConfig(layer=1, heads=2)


@pytest.fixture(scope="module")
def tiny() -> Tiny:
    return make_tiny("qwen3_vl")


@pytest.fixture(scope="module")
def batch(tiny: Tiny) -> Batch:
    tokens = [e.tokens for e in roll_out(tiny, ["1", "2"]) if e.tokens]
    codec = tiny.codec
    return collate(tokens, pad_id=codec.tokenizer.pad_token_id, image_pad_id=codec.image_pad_id, model=tiny.model)


def test_the_kept_scores_are_those_that_the_layer_attends_with(tiny: Tiny, batch: Batch) -> None:
    with torch.no_grad(), kept_scores(tiny.model, CONFIG) as scores:
        guided = tiny.model.model(**batch.inputs(tiny.model), use_cache=False).last_hidden_state
    assert scores.values is not None
    before = tiny.model.config.text_config._attn_implementation
    tiny.model.config.text_config._attn_implementation = "eager"
    try:
        with torch.no_grad():
            plain = tiny.model.model(**batch.inputs(tiny.model), use_cache=False, output_attentions=True)
    finally:
        tiny.model.config.text_config._attn_implementation = before
    assert torch.allclose(guided, plain.last_hidden_state, atol=1e-5)
    length = int(batch.attention_mask[0].sum())
    causal = torch.full((length, length), float("-inf")).triu(1)
    weights = (scores.values[0, :, :length, :length] + causal).softmax(-1)
    assert torch.allclose(weights, plain.attentions[1][0, :2, :length, :length], atol=1e-5)


def test_the_models_attention_is_put_back(tiny: Tiny) -> None:
    before = tiny.model.config.text_config._attn_implementation
    with pytest.raises(RuntimeError), kept_scores(tiny.model, CONFIG):
        raise RuntimeError
    assert tiny.model.config.text_config._attn_implementation == before


def test_looking_at_the_target_costs_nothing_and_looking_elsewhere_does() -> None:
    images = torch.tensor([[False, True, True, True, False, False]])
    scores = torch.zeros(1, 2, 6, 6)
    scores[..., 0] = 100.0  # text may be attended to as much as one likes
    even, right = guidance_loss(scores, images, [[Glance(4, 6, 2)]])
    assert even.item() == pytest.approx(torch.tensor(3.0).log().item()) and right == [False]
    scores[0, :, 4:, 2] = 50.0
    sure, right = guidance_loss(scores, images, [[Glance(4, 6, 2)]])
    assert sure.item() == pytest.approx(0.0, abs=1e-6) and right == [True]


def test_a_few_steps_of_guidance_find_the_target() -> None:
    tiny = make_tiny("qwen3_vl")
    tokens = next(e.tokens for e in roll_out(tiny, ["2"]) if e.tokens and e.tokens.images)
    pads = [i for i, token in enumerate(tokens.ids) if token == tiny.codec.image_pad_id]
    after = len(tokens.ids) - 1
    example = Example(tokens, [0.001] * sum(tokens.loss_mask), (Glance(after - 1, after, pads[0]),))
    optimizer = torch.optim.Adam(tiny.model.parameters(), lr=3e-3)
    looked: list[bool] = []
    for _ in range(40):
        result = supervised_step(tiny.model, tiny.codec, [example], 8192, guidance=CONFIG)
        optimizer.step()
        optimizer.zero_grad()
        looked.append(result.looked[0][0])
    assert not looked[0] and all(looked[-5:])
