"""One encoder for several threads."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vrag.errors import DocumentError
from vrag.protocols import PageEncoder
from vrag.types import PageVectors

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image


class SerialEncoder:
    """A `PageEncoder` for several threads: tokenizers and GPUs don't like to be shared."""

    def __init__(self, encoder: PageEncoder) -> None:
        self._encoder, self._lock = encoder, threading.Lock()
        self.dim, self.fingerprint = encoder.dim, encoder.fingerprint

    def encode_pages(self, images: Sequence[Image]) -> list[PageVectors | DocumentError]:
        with self._lock:
            return self._encoder.encode_pages(images)

    def encode_queries(self, queries: Sequence[str]) -> list[np.ndarray]:
        with self._lock:
            return self._encoder.encode_queries(queries)
