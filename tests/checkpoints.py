"""Checkpoints of real retriever classes at a few thousand random parameters, in the Hub's layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers.processors import TemplateProcessing

from vrag.training.tiny import make_tokenizer

DIM = 16
TEXTS = ["what is the revenue of acme in 2020?", "describe the image", "query: question"]
LAYERS = {"intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


def save(folder: Path, model: Any, processor: Any) -> Path:
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def make_colqwen2(folder: Path) -> Path:
    from transformers import ColQwen2Config, ColQwen2ForRetrieval, Qwen2VLConfig
    from transformers.models.colqwen2.processing_colqwen2 import ColQwen2Processor
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    tokenizer = make_tokenizer(TEXTS, 320)
    text = LAYERS | {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_key_value_heads": 1,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]},
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {"depth": 1, "embed_dim": 16, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2, "patch_size": 14}
    named = {"image_token_id": "<|image_pad|>", "video_token_id": "<|video_pad|>"}
    ids = {key: tokenizer.convert_tokens_to_ids(token) for key, token in named.items()}
    torch.manual_seed(0)
    config = ColQwen2Config(vlm_config=Qwen2VLConfig(text_config=text, vision_config=vision, **ids), embedding_dim=DIM)
    images = Qwen2VLImageProcessorPil(min_pixels=28 * 28, max_pixels=64 * 28 * 28)
    return save(folder, ColQwen2ForRetrieval(config), ColQwen2Processor(images, tokenizer))


def make_colpali(folder: Path) -> Path:
    from transformers import ColPaliConfig, ColPaliForRetrieval, PaliGemmaConfig
    from transformers.models.colpali.processing_colpali import ColPaliProcessor
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    tokenizer = make_tokenizer(TEXTS, 320)
    tokenizer.bos_token = "<|im_start|>"
    images = SiglipImageProcessorPil(size={"height": 56, "width": 56})
    images.image_seq_length = 16
    processor = ColPaliProcessor(images, tokenizer)
    text = LAYERS | {
        "model_type": "gemma",
        "vocab_size": len(tokenizer),
        "hidden_size": 16,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = LAYERS | {"model_type": "siglip_vision_model", "hidden_size": 16, "image_size": 56, "patch_size": 14}
    vlm = PaliGemmaConfig(
        text_config=text, vision_config=vision, image_token_id=processor.image_token_id, projection_dim=16
    )
    torch.manual_seed(0)
    model = ColPaliForRetrieval(ColPaliConfig(vlm_config=vlm, embedding_dim=DIM))
    return save(folder, model, processor)


def make_colmodernvbert(folder: Path) -> Path:
    from transformers import ColModernVBertConfig, ColModernVBertForRetrieval, ModernVBertConfig
    from transformers.models.colmodernvbert.processing_colmodernvbert import ColModernVBertProcessor
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

    tokenizer = make_tokenizer(TEXTS, 320)
    tiles = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>", "<global-img>", *tiles]})
    images = Idefics3ImageProcessorPil(size={"longest_edge": 112}, max_image_size={"longest_edge": 56})
    processor = ColModernVBertProcessor(images, tokenizer, image_seq_len=4)
    text = LAYERS | {
        "model_type": "modernbert",
        "vocab_size": len(tokenizer),
        "hidden_size": 16,
        "bos_token_id": None,
        "cls_token_id": tokenizer.eos_token_id,
        "sep_token_id": tokenizer.eos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = LAYERS | {"model_type": "siglip_vision_model", "hidden_size": 16, "image_size": 56, "patch_size": 14}
    vlm = ModernVBertConfig(
        text_config=text, vision_config=vision, image_token_id=processor.image_token_id, pixel_shuffle_factor=2
    )
    torch.manual_seed(0)
    model = ColModernVBertForRetrieval(ColModernVBertConfig(vlm_config=vlm, embedding_dim=DIM))
    return save(folder, model, processor)


def make_clip(folder: Path) -> Path:
    from transformers import CLIPConfig, CLIPModel, CLIPProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    tokenizer = make_tokenizer(TEXTS, 320)
    tokenizer.model_max_length = 16
    tokenizer.eos_token = end = "<|im_start|>"  # where CLIP reads what a text means; an id of 2 has an older meaning
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"$A {end}", special_tokens=[(end, tokenizer.eos_token_id)]
    )
    shared = LAYERS | {"hidden_size": 16, "projection_dim": DIM}
    text = {"vocab_size": len(tokenizer), "max_position_embeddings": 16, "eos_token_id": tokenizer.eos_token_id}
    vision = {"image_size": 32, "patch_size": 16}
    torch.manual_seed(0)
    model = CLIPModel(CLIPConfig(text_config=shared | text, vision_config=shared | vision, projection_dim=DIM))
    images = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    return save(folder, model, CLIPProcessor(images, tokenizer))
