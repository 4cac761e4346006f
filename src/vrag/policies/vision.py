"""Images to the model's forward, each distinct image through the vision tower once.

Samples of one group retrieve the same pages, so a batch repeats images; a tower that isn't being trained gives the same
features at every turn and every step. The codec gives equal views one `EncodedImage` object; identity tells what is the
same.
"""

from __future__ import annotations

import inspect
import math
from collections import OrderedDict
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary, ref

import numpy as np
import torch
from torch import Tensor

from vrag.portions import portions
from vrag.types import EncodedImage

REMEMBERED_BYTES = 2 << 30  # of features, of a model for which nothing else is said
PASS_PATCHES = 16_384  # of images in a pass without gradient: so memory is bounded, and a CPU's caches are of use


@dataclass(frozen=True)
class Features:
    """Of one image: `pooled` [N, H], one row per image pad, and one like it for each deepstack layer of Qwen3-VL."""

    pooled: Tensor
    deepstack: tuple[Tensor, ...] | None

    @property
    def tensors(self) -> list[Tensor]:
        return [self.pooled, *(self.deepstack or ())]

    @property
    def bytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.tensors)


def remember(model: Any, limit: int) -> None:
    """Let the features that are kept of images seen through `model`'s frozen tower take up to `limit` bytes."""
    _remembered(model).limit = limit


def image_inputs(model: Any, images: Sequence[EncodedImage]) -> dict[str, Any]:
    """Keyword arguments of `model`'s forward for `images` in order of appearance; gradients reach a tower that is not
    frozen.

    Versions of transformers whose forward doesn't take computed features get every image's pixels instead.
    """
    if not images:
        return {}
    grids = torch.tensor([image.grid for image in images], device=model.device)
    if not takes_features(model):
        return {"pixel_values": _pixels(model, images), "image_grid_thw": grids}
    found: Mapping[int, Features]
    if torch.is_grad_enabled() and learns_to_see(model):
        found = _remembered(model).given
        if not found:
            once = distinct(images)
            if len(once) == len(images):
                return {"pixel_values": _pixels(model, images), "image_grid_thw": grids}
            found = dict(zip(map(id, once), encode(model, once), strict=True))
    else:
        found = features(model, images)
    return {"mm_encoder_outputs": {"image": _joined([found[id(image)] for image in images])}, "image_grid_thw": grids}


def distinct(images: Sequence[EncodedImage]) -> list[EncodedImage]:
    return list({id(image): image for image in images}.values())


def passes(images: Sequence[EncodedImage], max_patches: int) -> Iterator[list[EncodedImage]]:
    """`images` in their order, as many at a time as have `max_patches` together at most, and at least one."""
    return portions(images, lambda image: math.prod(image.grid), max_patches)


def features(model: Any, images: Sequence[EncodedImage]) -> dict[int, Features]:
    """By the images' ids, without gradient; what was seen lately by the same tower is not computed again."""
    return _remembered(model).get(model, distinct(images))


def encode(model: Any, images: Sequence[EncodedImage]) -> list[Features]:
    """What the tower makes of each image, in one pass."""
    grids = torch.tensor([image.grid for image in images], device=model.device)
    out = model.model.get_image_features(_pixels(model, images), grids, return_dict=True)
    layers = getattr(out, "deepstack_features", None)  # Qwen3-VL: for each layer, one tensor an image
    if layers is None:
        return [Features(pooled, None) for pooled in out.pooler_output]
    return [Features(pooled, deep) for pooled, deep in zip(out.pooler_output, zip(*layers, strict=True), strict=True)]


@contextmanager
def given(model: Any, features: Mapping[int, Features]) -> Generator[None]:
    """While it lasts, forwards with gradients take these features, by the images' ids, for what a tower that is being
    trained makes of them.
    """
    memory = _remembered(model)
    memory.given = features
    try:
        yield
    finally:
        memory.given = {}


def learns_to_see(model: Any) -> bool:
    """Whether the vision tower, or an adapter in it, is being trained."""
    return any(p.requires_grad for p in model.model.visual.parameters())


def takes_features(model: Any) -> bool:
    """Whether `model`'s forward takes images as computed features."""
    return _takes_features(type(model.model))


class _Memory:
    """Features of the images seen last, while those live and the tower's weights stay as they were."""

    def __init__(self) -> None:
        self.limit = REMEMBERED_BYTES
        self.given: Mapping[int, Features] = {}
        self._weights: list[int] = []
        self._kept: OrderedDict[int, tuple[ref[EncodedImage], Features]] = OrderedDict()
        self._bytes = 0

    def get(self, model: Any, images: Sequence[EncodedImage]) -> dict[int, Features]:
        """By id. What is new is computed in the model's own precision, whatever autocast says outside."""
        weights = [version for p in model.model.visual.parameters() for version in (id(p), p._version)]
        weights += [bool(getattr(part, "disable_adapters", False)) for part in model.model.visual.modules()]
        if weights != self._weights:
            self._weights, self._bytes = weights, 0
            self._kept.clear()
        fresh = [image for image in images if id(image) not in self._kept]
        found = {id(image): self._kept[id(image)][1] for image in images if id(image) in self._kept}
        if fresh:
            with torch.no_grad(), torch.autocast(model.device.type, enabled=False):
                for part in passes(fresh, PASS_PATCHES):
                    found |= dict(zip(map(id, part), encode(model, part), strict=True))
        for image in images:
            self._keep(image, found[id(image)])
        return found

    def _keep(self, image: EncodedImage, features: Features) -> None:
        key = id(image)
        self._forget(key)
        # an id is an image's own only while it lives; its pixels are not kept alive here
        self._kept[key] = (ref(image, lambda _: self._forget(key)), features)
        self._bytes += features.bytes
        while self._bytes > self.limit and len(self._kept) > 1:
            self._forget(next(iter(self._kept)))

    def _forget(self, key: int) -> None:
        held = self._kept.pop(key, None)
        if held is not None:
            self._bytes -= held[1].bytes


_memories: WeakKeyDictionary[Any, _Memory] = WeakKeyDictionary()


def _remembered(model: Any) -> _Memory:
    return _memories.setdefault(model, _Memory())


def _joined(features: Sequence[Features]) -> Any:
    """What the model's own `get_image_features` would have returned for these images."""
    from transformers.modeling_outputs import BaseModelOutputWithPooling
    from transformers.models.qwen3_vl.modeling_qwen3_vl import BaseModelOutputWithDeepstackFeatures

    pooled = tuple(one.pooled for one in features)
    deep = [one.deepstack for one in features if one.deepstack is not None]
    if not deep:
        return BaseModelOutputWithPooling(pooler_output=pooled)  # pyright: ignore[reportArgumentType]
    return BaseModelOutputWithDeepstackFeatures(
        pooler_output=pooled,  # pyright: ignore[reportArgumentType]
        deepstack_features=[tuple(layer) for layer in zip(*deep, strict=True)],  # pyright: ignore[reportArgumentType]
    )


def _pixels(model: Any, images: Sequence[EncodedImage]) -> Tensor:
    stacked = torch.from_numpy(np.concatenate([image.pixels for image in images]))
    return stacked.to(model.device, model.dtype)


@lru_cache(maxsize=8)
def _takes_features(kind: type) -> bool:
    return "mm_encoder_outputs" in inspect.signature(kind.forward).parameters
