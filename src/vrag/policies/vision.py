"""Images to the model's forward, each distinct image through the vision tower once.

Samples of one group retrieve the same pages, so a batch repeats images. The codec gives equal views one
`EncodedImage` object; identity tells what is the same.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from vrag.types import EncodedImage


def image_inputs(model: Any, images: Sequence[EncodedImage]) -> dict[str, Any]:
    """Keyword arguments of `model`'s forward for `images` in order of appearance; gradients reach the tower.

    Versions of transformers whose forward doesn't take computed features get every image's pixels instead.
    """
    if not images:
        return {}
    distinct = list({id(image): image for image in images}.values())
    grids = torch.tensor([image.grid for image in images], device=model.device)
    if len(distinct) == len(images) or not _takes_features(type(model.model)):
        return {"pixel_values": _pixels(model, images), "image_grid_thw": grids}
    place = {id(image): i for i, image in enumerate(distinct)}
    index = [place[id(image)] for image in images]
    features = model.model.get_image_features(
        _pixels(model, distinct),
        torch.tensor([image.grid for image in distinct], device=model.device),
        return_dict=True,
    )
    features.pooler_output = tuple(features.pooler_output[i] for i in index)
    if getattr(features, "deepstack_features", None) is not None:  # Qwen3-VL: one entry per deepstack layer
        features.deepstack_features = [tuple(layer[i] for i in index) for layer in features.deepstack_features]
    return {"mm_encoder_outputs": {"image": features}, "image_grid_thw": grids}


def _pixels(model: Any, images: Sequence[EncodedImage]) -> torch.Tensor:
    stacked = torch.from_numpy(np.concatenate([image.pixels for image in images]))
    return stacked.to(model.device, model.dtype)


@lru_cache(maxsize=8)
def _takes_features(kind: type) -> bool:
    return "mm_encoder_outputs" in inspect.signature(kind.forward).parameters
