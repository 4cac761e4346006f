"""The start of the small encoder: vectors pass its language model unchanged, and blocks learn the tokens in them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize

from tests.tiny import Tiny, make_tiny, spec_of
from vrag.data.patches import PatchTargets
from vrag.data.sights import Cut, Sight
from vrag.geometry import page_view
from vrag.testing import MemoryStore
from vrag.training.align import AlignConfig, block_loss, make_retriever


@pytest.fixture(scope="module")
def tiny() -> Tiny:
    return make_tiny("qwen3_vl")


def read(retriever: Any, hidden: torch.Tensor) -> torch.Tensor:
    return normalize(retriever.embedding_proj_layer(retriever.vlm.language_model.norm(hidden)), dim=-1)


def test_at_the_start_a_token_is_its_embedding_and_a_block_what_the_tower_sees(tiny: Tiny) -> None:
    retriever = make_retriever(tiny.model, 1, 24, seed=0).eval()
    assert len(retriever.vlm.language_model.layers) == 1
    words = torch.tensor([tiny.codec.encode_text("find a question")])
    with torch.no_grad():
        made = retriever(input_ids=words, attention_mask=torch.ones_like(words)).embeddings[0]
        assert torch.allclose(made, read(retriever, tiny.model.get_input_embeddings().weight[words[0]]), atol=1e-5)
        image = tiny.codec.encode_pixels(Image.new("RGB", (2 * tiny.factor, tiny.factor), "red"))
        pixels, grid = torch.from_numpy(image.pixels), torch.tensor([image.grid])
        seen = retriever(
            input_ids=torch.full((1, 2), tiny.codec.image_pad_id),
            attention_mask=torch.ones(1, 2, dtype=torch.long),
            pixel_values=pixels[None],
            image_grid_thw=grid,
        ).embeddings[0]
        blocks = tiny.model.model.visual(pixels, grid_thw=grid, return_dict=True).pooler_output
        assert torch.allclose(seen, read(retriever, blocks), atol=1e-5)


def sight(tiny: Tiny, tokens: list[int]) -> Sight:
    """Two blocks of noise, with the tokens of their eight patches."""
    noise = np.random.default_rng(0).integers(0, 256, (tiny.factor, 2 * tiny.factor, 3), np.uint8)
    nothing = np.full(8, -1)
    return Sight(
        Image.fromarray(noise),
        PatchTargets(np.full((8, 2), -1), nothing, np.array(tokens), np.full((2, 10), -1), np.full((2, 8), -1)),
        Cut("value", "", page_view(MemoryStore().add("acme.pdf", 1, ["10"]), spec_of(tiny))),
    )


def test_blocks_are_told_the_tokens_of_their_patches_and_blank_ones_the_padding(tiny: Tiny) -> None:
    retriever = make_retriever(tiny.model, 1, 24, seed=0)
    config = AlignConfig(precision="fp32", blank=0.5, scale=7.0)
    loss, _ = block_loss(
        retriever, tiny.codec, [sight(tiny, [5, 9, -1, 5, -1, -1, -1, -1])], config, np.random.default_rng(0)
    )
    with torch.no_grad():
        image = tiny.codec.encode_pixels(sight(tiny, [-1] * 8).image)
        blocks = retriever.vlm.visual(torch.from_numpy(image.pixels), grid_thw=torch.tensor([image.grid]))
        scores = read(retriever, blocks.pooler_output) @ read(retriever, retriever.vlm.get_input_embeddings().weight).T
        likely = torch.log_softmax(7.0 * scores, dim=-1)
        nothing = tiny.codec.tokenizer.pad_token_id
        expected = -(2 * likely[0, 5] + likely[0, 9]) / 3 - 0.5 * likely[1, nothing]
    assert loss.item() == pytest.approx(expected.item(), abs=1e-4)


def test_blocks_learn(tiny: Tiny) -> None:
    retriever = make_retriever(tiny.model, 1, 24, seed=0)
    config = AlignConfig(precision="fp32")
    optimizer = torch.optim.AdamW(retriever.parameters(), lr=3e-3)
    shown = [sight(tiny, [5, 5, 5, 5, 9, 9, 9, 9])]
    first, _ = block_loss(retriever, tiny.codec, shown, config, np.random.default_rng(0))
    for _ in range(20):
        loss, right = block_loss(retriever, tiny.codec, shown, config, np.random.default_rng(0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5 * first.item() and right == 1.0
