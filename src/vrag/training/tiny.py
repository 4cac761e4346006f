"""vrag-tiny: the real Qwen3-VL (or Qwen2.5-VL) class at a few million parameters, from nothing.

A checkpoint made here is in the Hub's layout: `config.json`, `model.safetensors`, tokenizer, chat template and
`preprocessor_config.json` load with the family's own classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import torch

from vrag.types import Frozen

Family = Literal["qwen2_5_vl", "qwen3_vl"]

CONTROL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
TAGS = tuple(f"<{slash}{name}>" for name in ("think", "search", "bbox", "answer") for slash in ("", "/"))

# A query finds an image token by what it says, however far away it stands: the slowest pairs must not turn on the way.
ROPE_THETA = 1e6
POSITIONS = 16  # per side: learned absolute places of Qwen3-VL's vision tower, interpolated to each image's grid

# ChatML with images, no default system message: at this size each prompt token is paid for.
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}"
    "{% if p.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ p.text }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class TinyShape(Frozen):
    """Sizes of the model. `min_pixels`/`max_pixels` are the view budget it is trained with."""

    family: Family = "qwen3_vl"
    vocabulary: int = 1024
    hidden: int = 192
    layers: int = 4
    heads: int = 6
    kv_heads: int = 3
    intermediate: int = 512
    vision_hidden: int = 128
    vision_layers: int = 4
    vision_heads: int = 2
    vision_intermediate: int = 384
    patch: int = 10
    min_pixels: int = 36 * 20 * 20
    max_pixels: int = 212 * 20 * 20
    context: int = 4096


def make_tokenizer(texts: Iterable[str], vocabulary: int) -> Any:
    """Byte-level BPE trained on `texts`; digits stand alone, and each action tag is one token."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\p{N}"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(TAGS),
        special_tokens=list(CONTROL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    core.add_tokens(list(TAGS))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(CONTROL[1:2] + CONTROL[3:]),
        model_max_length=4096,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def make_image_processor(shape: TinyShape) -> Any:
    """White pages map to 0: with `image_mean` 1 blank patches carry no signal, and learning to read is faster."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    return Qwen2VLImageProcessorPil(
        min_pixels=shape.min_pixels,
        max_pixels=shape.max_pixels,
        patch_size=shape.patch,
        image_mean=[1.0] * 3,
        image_std=[0.35] * 3,
    )


def make_model(shape: TinyShape, tokenizer: Any, seed: int) -> Any:
    """Randomly initialised weights, fp32."""
    ids = {
        "image_token_id": tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        "video_token_id": tokenizer.convert_tokens_to_ids("<|video_pad|>"),
        "vision_start_token_id": tokenizer.convert_tokens_to_ids("<|vision_start|>"),
        "vision_end_token_id": tokenizer.convert_tokens_to_ids("<|vision_end|>"),
    }
    torch.manual_seed(seed)
    make = _qwen2_5_vl if shape.family == "qwen2_5_vl" else _qwen3_vl
    model = make(shape, _text_config(shape, tokenizer), ids)
    _spread(model)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


def _spread(model: Any) -> None:
    """Weights that keep the size of what passes through them, but less of it where it joins the residual stream. The
    class's own start, noise of 0.02 for any width, makes a narrow model hardly do anything at first.
    """
    into_stream = ("o_proj", "down_proj", "attn.proj", "linear_fc2")
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and name != "lm_head":
            share = 0.3 if name.endswith(into_stream) else 1.0
            torch.nn.init.normal_(module.weight, std=share * module.in_features**-0.5)
    torch.nn.init.normal_(model.get_input_embeddings().weight, std=0.05)


def _text_config(shape: TinyShape, tokenizer: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "max_position_embeddings": shape.context,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _vision_config(shape: TinyShape) -> dict[str, Any]:
    return {
        "depth": shape.vision_layers,
        "hidden_size": shape.vision_hidden,
        "intermediate_size": shape.vision_intermediate,
        "num_heads": shape.vision_heads,
        "out_hidden_size": shape.hidden,
        "patch_size": shape.patch,
    }


def _mrope_section(shape: TinyShape) -> list[int]:
    """Rotary pairs for time, height and width: a quarter and two times three eighths, as the family does."""
    pairs = shape.hidden // shape.heads // 2
    side = pairs * 3 // 8
    return [pairs - 2 * side, side, side]


def _qwen2_5_vl(shape: TinyShape, text: dict[str, Any], ids: dict[str, Any]) -> Any:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    rope = {"rope_type": "default", "rope_theta": ROPE_THETA, "mrope_section": _mrope_section(shape)}
    vision = _vision_config(shape) | {
        "window_size": 4 * shape.patch,
        "fullatt_block_indexes": list(range(shape.vision_layers)),
    }
    config = Qwen2_5_VLConfig(text_config=text | {"rope_parameters": rope}, vision_config=vision, **ids)
    config.tie_word_embeddings = True
    return Qwen2_5_VLForConditionalGeneration(config)


def _qwen3_vl(shape: TinyShape, text: dict[str, Any], ids: dict[str, Any]) -> Any:
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    rope = {
        "rope_type": "default",
        "rope_theta": ROPE_THETA,
        "mrope_section": _mrope_section(shape),
        "mrope_interleaved": True,
    }
    vision = _vision_config(shape) | {
        "num_position_embeddings": POSITIONS**2,
        "deepstack_visual_indexes": [max(0, shape.vision_layers - 2)],
    }
    text = text | {"rope_parameters": rope, "head_dim": shape.hidden // shape.heads}
    config = Qwen3VLConfig(text_config=text, vision_config=vision, **ids)
    config.tie_word_embeddings = True
    model = Qwen3VLForConditionalGeneration(config)
    with torch.no_grad():
        model.model.visual.pos_embed.weight.copy_(_sines(POSITIONS, shape.vision_hidden))
    return model


def _sines(side: int, width: int) -> torch.Tensor:
    """[side * side, width]: sines and cosines of row and column, so that what is learned of one place holds nearby.
    The class's own start, noise of 0.02, would have every place learned on its own.
    """
    waves = 2 * math.pi / torch.logspace(math.log2(3), math.log2(3 * side), width // 4, base=2)
    angles = torch.arange(side)[:, None] * waves
    line = torch.cat([angles.sin(), angles.cos()], dim=1)
    rows, columns = line[:, None].expand(-1, side, -1), line[None].expand(side, -1, -1)
    return 0.5 * torch.cat([rows, columns], dim=2).reshape(side * side, width)


def save_checkpoint(path: Path, model: Any, tokenizer: Any, image_processor: Any) -> None:
    """Write the Hub's layout: weights as safetensors, tokenizer, chat template and image settings."""
    model.save_pretrained(path, safe_serialization=True)
    tokenizer.save_pretrained(path)
    image_processor.save_pretrained(path)
