"""Guided attention: the scores are the model's own, and the loss pulls them to the target."""

import pytest
import torch

from tests.tiny import Tiny, make_tiny, roll_out
from vrag.errors import InvariantError
from vrag.training.batch import Batch, collate
from vrag.training.guidance import Glance, GuidanceConfig, GuidedHeads, guidance_loss, kept_heads
from vrag.training.supervised import Example, SupervisedStep, supervised_step

CONFIG = GuidanceConfig(layer=1, image_heads=1, text_heads=1)


@pytest.fixture(scope="module")
def tiny() -> Tiny:
    return make_tiny("qwen3_vl")


@pytest.fixture(scope="module")
def batch(tiny: Tiny) -> Batch:
    tokens = [e.tokens for e in roll_out(tiny, ["1", "2"]) if e.tokens]
    codec = tiny.codec
    return collate(tokens, pad_id=codec.tokenizer.pad_token_id, image_pad_id=codec.image_pad_id, model=tiny.model)


def test_the_kept_scores_are_those_that_the_layer_attends_with(tiny: Tiny, batch: Batch) -> None:
    with torch.no_grad(), kept_heads(tiny.model, CONFIG) as kept:
        guided = tiny.model.model(**batch.inputs(tiny.model), use_cache=False).last_hidden_state
    scores = kept[0].queries @ kept[0].keys.transpose(2, 3) * kept[0].scaling
    before = tiny.model.config.text_config._attn_implementation
    tiny.model.config.text_config._attn_implementation = "eager"
    try:
        with torch.no_grad():
            plain = tiny.model.model(**batch.inputs(tiny.model), use_cache=False, output_attentions=True)
    finally:
        tiny.model.config.text_config._attn_implementation = before
    assert torch.allclose(guided, plain.last_hidden_state, atol=1e-5)
    length = int(batch.loss_mask[0].nonzero().max()) + 1  # the last token is a sampled one
    causal = torch.full((length, length), float("-inf")).triu(1)
    weights = (scores[0, :, :length, :length] + causal).softmax(-1)
    assert torch.allclose(weights, plain.attentions[1][0, :, :length, :length], atol=1e-5)


def test_the_models_attention_is_put_back(tiny: Tiny) -> None:
    before = tiny.model.config.text_config._attn_implementation
    with pytest.raises(RuntimeError), kept_heads(tiny.model, CONFIG):
        raise RuntimeError
    assert tiny.model.config.text_config._attn_implementation == before


def heads(sharp: int, on: list[int]) -> GuidedHeads:
    """Two heads; of six positions, head `sharp` looks from each at that of `on`, and the other everywhere."""
    queries, keys = torch.zeros(1, 2, 6, 6), torch.zeros(1, 2, 6, 6)
    keys[:] = torch.eye(6)
    for position, place in enumerate(on):
        queries[0, sharp, position, place] = 100.0
    return GuidedHeads(queries, keys, 0.5)


IMAGES = torch.tensor([[False, True, True, True, False, False]])


def test_looking_at_the_target_costs_nothing_and_looking_elsewhere_does() -> None:
    glance = Glance(4, 6, 2)
    even, right = guidance_loss(heads(0, [0] * 6), IMAGES, [[glance]], CONFIG)  # text may be attended to as well
    assert even.item() == pytest.approx(torch.tensor(3.0).log().item()) and right == [False]
    sure, right = guidance_loss(heads(0, [2] * 6), IMAGES, [[glance]], CONFIG)
    assert sure.item() == pytest.approx(0.0, abs=1e-6) and right == [True]


def test_a_glance_is_right_if_its_first_position_is() -> None:
    for places, wanted in (([0, 0, 0, 0, 2, 1], True), ([0, 0, 0, 0, 1, 2], False)):
        assert guidance_loss(heads(0, places), IMAGES, [[Glance(4, 6, 2)]], CONFIG)[1] == [wanted]


def test_text_is_looked_up_among_text_by_other_heads_and_the_target_moves_on() -> None:
    words = torch.zeros(1, 6, dtype=torch.bool)
    moving = Glance(4, 6, 1, moves=True)
    sure, right = guidance_loss(heads(1, [0, 0, 0, 0, 1, 2]), words, [[moving]], CONFIG)
    assert sure.item() == pytest.approx(0.0, abs=1e-6) and right == [True]
    wrong, _ = guidance_loss(heads(1, [0, 0, 0, 0, 1, 1]), words, [[moving]], CONFIG)
    assert wrong.item() > 1.0, "the second position should look one further"
    other, _ = guidance_loss(heads(0, [0, 0, 0, 0, 1, 2]), words, [[moving]], CONFIG)
    assert other.item() == pytest.approx(torch.tensor(4.0).log().item()), "image heads aren't asked"


def test_a_target_that_cant_be_chosen_is_refused() -> None:
    for glance in (Glance(2, 4, 3), Glance(4, 5, 5), Glance(4, 6, 0, moves=True)):
        with pytest.raises(InvariantError, match="doesn't stand before it, or isn't of one kind"):
            guidance_loss(heads(0, [0] * 6), IMAGES, [[glance]], CONFIG)


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


def test_glances_at_images_and_at_text_weigh_the_same_however_many_there_are() -> None:
    tiny = make_tiny("qwen3_vl")
    tokens = next(e.tokens for e in roll_out(tiny, ["2"]) if e.tokens and e.tokens.images)
    pad, end = tokens.ids.index(tiny.codec.image_pad_id), len(tokens.ids)
    image, text = Glance(end - 2, end - 1, pad), Glance(end - 2, end - 1, 0, moves=True)

    def loss(*glances: Glance) -> float:
        tiny.model.zero_grad()
        return supervised_step(
            tiny.model, tiny.codec, [Example(tokens, [1.0] * sum(tokens.loss_mask), glances)], 8192, guidance=CONFIG
        ).loss

    plain = loss()
    assert loss(image, text, text, text) == pytest.approx(loss(image, text), abs=1e-5)
    assert loss(image, text) == pytest.approx(loss(image) + loss(text) - plain, abs=1e-5)
    assert loss(image) > plain


def test_the_shares_of_both_kinds_are_told_apart() -> None:
    tiny = make_tiny("qwen3_vl")
    tokens = next(e.tokens for e in roll_out(tiny, ["2"]) if e.tokens)
    image, text = Glance(1, 2, 0), Glance(1, 2, 0, moves=True)
    examples = [Example(tokens, [], (image, text, image)), Example(tokens, [])]
    step = SupervisedStep(0.0, [[], []], [[True, True, False], []], 0)
    assert step.glanced(examples) == {"looked": 0.5, "echoed": 1.0}
    assert SupervisedStep(0.0, [[], []], [[], []], 0).glanced(examples) == {}, "nothing is guided"
