"""What a model's processor is handed for a page or a query, and how many tokens that takes."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

PATCH = 16  # pixels: the side of a patch, where a model doesn't count in tokens
AUGMENTATION = 10  # tokens after a query, in which the model may "think"; so many in each colpali-family processor


class Inputs:
    """Pages and queries as the model was trained on them.

    sentence-transformers hands images and texts to the processor and leaves prompts to it. ColModernVBERT's processor
    adds them in `process_images` and `process_queries` alone: an image by itself has no tokens, and fails, and a query
    lacks its augmentation tokens, and is ranked worse. So where they are missing they are put in here; a processor that
    adds its own is left alone.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._page_prompt = _page_prompt(model)
        self._query_prefix, self._query_suffix = _query_frame(model)
        self.page_tokens = lru_cache(maxsize=4096)(self._count_page)  # by size: a corpus has few

    def page(self, image: Image) -> Any:
        return image if self._page_prompt is None else {"image": image, "text": self._page_prompt}

    def query(self, text: str) -> str:
        return f"{self._query_prefix}{text}{self._query_suffix}"

    def query_tokens(self, text: str) -> int:
        return int(_query_features(self._model, self.query(text))["input_ids"].shape[-1])

    def _count_page(self, size: tuple[int, int]) -> int:
        """For (width, height) pixels: what the processor makes of a blank page, as size alone decides on the count."""
        features = _page_features(self._model, self.page(_blank(size)))
        if "input_ids" in features:
            return int(features["input_ids"].shape[-1])
        height, width = features["pixel_values"].shape[-2:]  # CLIP and its kin take pixels alone, always as many
        return int(height * width) // PATCH**2


def _page_prompt(model: Any) -> str | None:
    prompt: str | None = getattr(model.processor, "visual_prompt_prefix", None)
    if prompt is None or "input_ids" in _page_features(model, _blank((32, 32))):
        return None
    transformer = model[0]  # accepts pages with a prompt from here on
    transformer.modality_config[("image", "text")] = transformer.modality_config["image"]
    transformer.input_formatter.supported_modalities = list(transformer.modality_config)
    return prompt


def _query_frame(model: Any) -> tuple[str, str]:
    """What to put before and after a query."""
    token: str | None = getattr(model.processor, "query_augmentation_token", None)
    if token is None:
        return "", ""
    ids: list[int] = _query_features(model, "query")["input_ids"][0].tolist()
    if model.tokenizer.convert_tokens_to_ids(token) in ids:
        return "", ""
    return model.processor.query_prefix, token * AUGMENTATION


def _blank(size: tuple[int, int]) -> Image:
    from PIL import Image

    return Image.new("RGB", size)


def _page_features(model: Any, page: Any) -> dict[str, Any]:
    return model.preprocess([page], prompt=model.prompts.get("document"), task="document")


def _query_features(model: Any, query: str) -> dict[str, Any]:
    return model.preprocess([query], prompt=model.prompts.get("query"), task="query")
