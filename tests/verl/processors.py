"""The processors of both families without their video side, which needs torchvision: of the same class names, which is
how verl tells them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoTokenizer
from transformers import Qwen2_5_VLProcessor as WithVideo2_5
from transformers import Qwen3VLProcessor as WithVideo3
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.processing_utils import ProcessorMixin


class _ImagesOnly:
    def __init__(self, image_processor: Any = None, tokenizer: Any = None, chat_template: Any = None) -> None:
        for name in ("image", "video"):
            token = f"<|{name}_pad|>"
            setattr(self, f"{name}_token", token)
            setattr(self, f"{name}_token_id", tokenizer.convert_tokens_to_ids(token))
        for name in ("vision_start", "vision_end"):
            setattr(self, f"{name}_token", f"<|{name}|>")
            setattr(self, f"{name}_token_id", tokenizer.convert_tokens_to_ids(f"<|{name}|>"))
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)  # type: ignore[arg-type]


class Qwen2_5_VLProcessor(_ImagesOnly, WithVideo2_5):
    pass


class Qwen3VLProcessor(_ImagesOnly, WithVideo3):
    pass


CLASSES = {"qwen2_5_vl": Qwen2_5_VLProcessor, "qwen3_vl": Qwen3VLProcessor}


def load(family: str, path: Path) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(str(path))
    images = Qwen2VLImageProcessorPil.from_pretrained(str(path))
    return CLASSES[family](images, tokenizer, chat_template=tokenizer.chat_template)
