"""One encoder for several threads, and for all corpora whose vectors it made."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from vrag.embed import index_encoder
from vrag.errors import DocumentError
from vrag.protocols import PageEncoder
from vrag.types import PageVectors

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    from vrag.index.vectors import EncoderName, VectorIndex


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


class Encoders:
    """Those in use, each loaded once: two of the same may not fit the memory."""

    def __init__(self, name: EncoderName | None = None) -> None:
        """`name`: where else to find them than where the vectors say that they came from."""
        self.name = name
        self._lock, self._loading = threading.Lock(), dict[str, threading.Lock]()
        self._used = WeakValueDictionary[str, SerialEncoder]()

    def of(self, index: VectorIndex) -> SerialEncoder:
        """The one that made the vectors of `index`. Raises as `index_encoder`. One that takes long to load holds up no
        other.
        """
        with self._lock:
            loading = self._loading.setdefault(index.fingerprint, threading.Lock())
        with loading:
            encoder = self._used.get(index.fingerprint)
            if encoder is None:
                encoder = SerialEncoder(index_encoder(index, self.name))
                self._used[encoder.fingerprint] = encoder
            return encoder
