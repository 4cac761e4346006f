"""An encoder that sees: the colours of a page's patches, and the names of colours in a query."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL.Image import Image, Resampling

from vrag.errors import DocumentError, UnreadableDocument
from vrag.types import PageVectors, PatchGrid

COLOURS = {"red": (230, 20, 20), "green": (20, 200, 40), "blue": (20, 40, 230), "yellow": (230, 220, 20)}
SIDE = 4  # patches per side


class ColourEncoder:
    """`unlucky`: the colour of pages that it can't encode."""

    dim = 3

    def __init__(self, unlucky: str = "", revision: int = 0) -> None:
        self._unlucky = unlucky
        self.fingerprint = f"colours-{revision}"
        self.pages = 0

    def encode_pages(self, images: Sequence[Image]) -> list[PageVectors | DocumentError]:
        self.pages += len(images)
        return [self._page(image) for image in images]

    def encode_queries(self, queries: Sequence[str]) -> list[np.ndarray]:
        named = [[COLOURS[word] for word in query.split() if word in COLOURS] or [(1, 1, 1)] for query in queries]
        return [unit(np.array(colours)) for colours in named]

    def _page(self, image: Image) -> PageVectors | DocumentError:
        small = np.asarray(image.resize((SIDE, SIDE), Resampling.BOX), dtype=np.float32).reshape(-1, 3)
        vectors = unit(small)
        if self._unlucky and (vectors @ unit(np.array([COLOURS[self._unlucky]]))[0]).max() > 0.99:
            return UnreadableDocument(f"{self._unlucky} hurts its eyes")
        return PageVectors(vectors, PatchGrid(0, SIDE, SIDE))


def unit(rows: np.ndarray) -> np.ndarray:
    """Chroma: without what is grey, which all pages share."""
    rows = rows - rows.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.maximum(lengths, 1e-6)).astype(np.float32)
