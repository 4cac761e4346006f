"""One vector per page: a `SentenceTransformer` that reads images as a `PageEncoder`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vrag.encoders.batches import encode_pages, encode_queries
from vrag.encoders.inputs import Inputs
from vrag.encoders.loading import load
from vrag.encoders.settings import EncoderSettings
from vrag.encoders.vectors import unit
from vrag.types import PageVectors

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    from vrag.errors import DocumentError


class DenseEncoder:
    """A `PageEncoder`: one vector [1, D] per page and query, fp32, of length 1. Raises what `load` does."""

    def __init__(self, settings: EncoderSettings) -> None:
        loaded = load("dense", settings)
        self.settings, self.dim, self.fingerprint = settings, loaded.dim, loaded.fingerprint
        self.model: Any = loaded.model
        self._inputs = Inputs(self.model)

    def encode_pages(self, images: Sequence[Image]) -> list[PageVectors | DocumentError]:
        return encode_pages(images, self._inputs.page_tokens, self._encode_pages, self.settings.batch_tokens)

    def encode_queries(self, queries: Sequence[str]) -> list[np.ndarray]:
        return encode_queries(queries, self._inputs.query_tokens, self._encode_queries, self.settings.batch_tokens)

    def _encode_pages(self, images: list[Image]) -> list[PageVectors]:
        inputs = [self._inputs.page(image) for image in images]
        rows = self.model.encode_document(
            inputs, batch_size=len(inputs), convert_to_tensor=True, show_progress_bar=False
        )
        return [PageVectors(unit(row[None], self.dim)) for row in rows]

    def _encode_queries(self, queries: list[str]) -> list[np.ndarray]:
        inputs = [self._inputs.query(query) for query in queries]
        rows = self.model.encode_query(inputs, batch_size=len(inputs), convert_to_tensor=True, show_progress_bar=False)
        return [unit(row[None], self.dim) for row in rows]
