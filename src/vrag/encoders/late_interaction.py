"""Many vectors per page: sentence-transformers' `MultiVectorEncoder` as a `PageEncoder`.

Which vectors a page keeps is the library's choice, its *scoring mask*. For ColPali and ColQwen2 it drops the padding
alone, so the tokens around the image ("<|im_start|>user", "Describe the image.") are kept and take part in MaxSim, as
they did in training; a checkpoint whose `MultiVectorMask` has `keep_only_token_ids` keeps patches alone. Queries keep
prefix and augmentation tokens. `PatchGrid` says which vectors are patches.

ColQwen2's patches get running positions, not the two-dimensional ones it was trained with, where transformers calls its
language model without ids (5.24 does; earlier versions took them from `get_rope_index`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vrag.encoders.batches import encode_pages, encode_queries
from vrag.encoders.inputs import Inputs
from vrag.encoders.loading import load
from vrag.encoders.settings import EncoderSettings
from vrag.encoders.vectors import unit
from vrag.types import PageVectors, PatchGrid

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    from vrag.errors import DocumentError


class LateInteractionEncoder:
    """A `PageEncoder`: [V, D] per page and [N, D] per query, fp32, each vector of length 1. Raises what `load` does."""

    def __init__(self, settings: EncoderSettings) -> None:
        loaded = load("late interaction", settings)
        self.settings, self.dim, self.fingerprint = settings, loaded.dim, loaded.fingerprint
        self.model: Any = loaded.model
        self._inputs = Inputs(self.model)

    def encode_pages(self, images: Sequence[Image]) -> list[PageVectors | DocumentError]:
        return encode_pages(images, self._inputs.page_tokens, self._encode_pages, self.settings.batch_tokens)

    def encode_queries(self, queries: Sequence[str]) -> list[np.ndarray]:
        return encode_queries(queries, self._inputs.query_tokens, self._encode_queries, self.settings.batch_tokens)

    def _encode_pages(self, images: list[Image]) -> list[PageVectors]:
        inputs = [self._inputs.page(image) for image in images]
        rows = self.model.encode_document(inputs, batch_size=len(inputs), output_value=None, show_progress_bar=False)
        return [
            PageVectors(
                unit(row["token_embeddings"][row["attention_mask"].bool()], self.dim), patch_grid(row, self.model)
            )
            for row in rows
        ]

    def _encode_queries(self, queries: list[str]) -> list[np.ndarray]:
        inputs = [self._inputs.query(query) for query in queries]
        rows = self.model.encode_query(inputs, batch_size=len(inputs), show_progress_bar=False)
        return [unit(row, self.dim) for row in rows]


def patch_grid(row: Mapping[str, Any], model: Any) -> PatchGrid | None:
    """Where in a page's kept vectors its patches lie, from the ids and the grid that the processor made of it.

    None unless image tokens and grid agree in number and lie in one piece: where vectors were pooled, where the image
    was split into tiles (Idefics3, ColModernVBERT), or where the processor tells no grid.
    """
    ids, token = row.get("input_ids"), getattr(model.processor, "image_token", None)
    if ids is None or token is None or _pools(model):
        return None
    # not `processor.image_token_id`, which isn't the tokenizer's in each family
    is_patch = ids == model.tokenizer.convert_tokens_to_ids(str(token))
    patches = is_patch[row["attention_mask"].bool()].nonzero().flatten().tolist()
    rows, columns = _rows_columns(row, model.processor)
    if not patches or len(patches) != rows * columns or patches[-1] - patches[0] != len(patches) - 1:
        return None
    return PatchGrid(first=patches[0], rows=rows, columns=columns)


def _pools(model: Any) -> bool:
    """Pooling merges vectors, so that none stands for one token any more."""
    from sentence_transformers.multi_vector_encoder.modules import BaseTokenPooling

    return any(isinstance(module, BaseTokenPooling) for module in model)


def _rows_columns(row: Mapping[str, Any], processor: Any) -> tuple[int, int]:
    """(0, 0) where unknown. Qwen's grid counts patches before `merge_size` x `merge_size` of them become one token."""
    grid = row.get("image_grid_thw")
    if grid is not None:
        merge, (frames, rows, columns) = processor.image_processor.merge_size, grid.tolist()
        return (rows // merge, columns // merge) if frames == 1 else (0, 0)
    length = getattr(processor, "image_seq_length", None)  # ColPali: each image is the same square
    side = math.isqrt(length) if isinstance(length, int) else 0
    return (side, side) if side * side == length else (0, 0)
