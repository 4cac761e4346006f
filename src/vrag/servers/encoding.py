"""What the routes of the encoder server share: one encoder, and the queues of pages and queries in front of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING

from starlette.requests import Request

from vrag.corpus.images import open_image, read_frame
from vrag.corpus.limits import STORED_PIXELS
from vrag.errors import BudgetExceeded, DocumentError, InfrastructureError
from vrag.protocols import PageEncoder
from vrag.servers.app import within
from vrag.servers.batching import Batcher, Slots
from vrag.servers.limits import HELD_BYTES, USUAL_PIXELS, Limits
from vrag.servers.metrics import Metrics
from vrag.servers.serial import SerialEncoder
from vrag.types import PageVectors

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image


@dataclass(frozen=True)
class _PageFile:
    """An image file whose header was read; what it costs is in usual pages."""

    content: bytes = field(repr=False)
    cost: int


class EncodingService:
    """Vectors of pages and queries, bounded in number, bytes and time.

    Files are decoded batch by batch, all of a batch at once, just before they are encoded: decoded pages take ten times
    the memory. The encoder splits a batch by its own budget of tokens.
    """

    def __init__(self, encoder: PageEncoder, limits: Limits) -> None:
        self.limits, self.metrics, self.held = limits, Metrics(), Slots(HELD_BYTES)
        self.dim, self.fingerprint = encoder.dim, encoder.fingerprint
        self.failed = False  # the last batch of pages, as a whole: no page is at fault for that
        self._encoder = SerialEncoder(encoder)
        self._pages: Batcher[None, _PageFile, PageVectors | DocumentError] = Batcher(
            self._encode_pages,
            max_batch=limits.batch,
            max_queue=limits.queue,
            workers=1,  # a second one would take the next page alone, only to wait for the encoder
            cost=lambda page: page.cost,
            observe=self.metrics.batches("pages"),
        )
        self._queries: Batcher[None, str, np.ndarray] = Batcher(
            self._encode_queries,
            max_batch=limits.batch,
            max_queue=limits.queue,
            workers=1,
            observe=self.metrics.batches("queries"),
        )
        self.metrics.queue("pages", self._pages)
        self.metrics.queue("queries", self._queries)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        async with self._pages, self._queries:
            yield

    async def page(self, request: Request, file: bytes) -> PageVectors:
        """Raises `QueueFull`, the `DocumentError` of a page that can't be encoded, `InfrastructureError`."""
        return await within(self.limits.timeout, request, self._page(file))

    async def queries(self, request: Request, queries: Sequence[str]) -> list[np.ndarray]:
        """Raises `QueueFull` and `InfrastructureError`."""
        return await within(self.limits.timeout, request, self._queries.submit(None, queries))

    async def _page(self, file: bytes) -> PageVectors:
        cost = await asyncio.to_thread(_cost, file)
        (outcome,) = await self._pages.submit(None, [_PageFile(file, cost)])
        if isinstance(outcome, DocumentError):
            raise outcome
        return outcome

    async def _encode_pages(self, _: None, files: Sequence[_PageFile]) -> list[PageVectors | DocumentError]:
        images = await asyncio.gather(*(asyncio.to_thread(_decoded, file.content) for file in files))
        readable = [image for image in images if not isinstance(image, DocumentError)]
        try:
            made = await asyncio.to_thread(self._encoder.encode_pages, readable) if readable else []
            self.failed = False
        except InfrastructureError:
            self.failed = True
            raise
        if len(made) != len(readable):
            raise InfrastructureError(f"the encoder gave {len(made)} results for {len(readable)} pages")
        outcomes = iter(made)
        return [image if isinstance(image, DocumentError) else next(outcomes) for image in images]

    async def _encode_queries(self, _: None, queries: Sequence[str]) -> list[np.ndarray]:
        return await asyncio.to_thread(self._encoder.encode_queries, queries)


def _cost(file: bytes) -> int:
    """In usual pages, from the header alone. Raises a `DocumentError` for what is no image or too large."""
    with open_image(file) as image:
        pixels = image.width * image.height
    if pixels > STORED_PIXELS:
        raise BudgetExceeded(
            f"has {image.width} x {image.height} pixels, and a page {STORED_PIXELS // 10**6} million at most;"
            " render it smaller"
        )
    return ceil(pixels / USUAL_PIXELS)


def _decoded(file: bytes) -> Image | DocumentError:
    try:
        with open_image(file) as image:
            return read_frame(image, 1)
    except DocumentError as error:
        return error
