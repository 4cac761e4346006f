"""The seam: what the one loop (`vrag.rollout`) needs from each part. Implement one to replace it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from vrag.types import Encoded, Hit, Message, Page, PageVectors, Request, Sample, Step, Task, Word

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    from vrag.errors import DocumentError


class PageStore(Protocol):
    """Pages by id. Unknown ids raise `CorpusError`."""

    def page(self, page_id: str) -> Page: ...
    def image(self, page_id: str) -> Image: ...  # RGB, raw pixels
    def words(self, page_id: str) -> Sequence[Word]: ...  # reading order, raw pixels


class PageEncoder(Protocol):
    """Pages and queries to vectors that MaxSim compares. A page that can't be encoded is an error in its place, so
    that it doesn't spoil the others; a query that can't be raises `InfrastructureError`.
    """

    dim: int
    fingerprint: str  # of weights and settings: vectors of two fingerprints can't be compared

    def encode_pages(self, images: Sequence[Image]) -> list[PageVectors | DocumentError]: ...  # RGB, any size
    def encode_queries(self, queries: Sequence[str]) -> list[np.ndarray]: ...  # [N, D] each, fp32


class Retriever(Protocol):
    """Raises `InfrastructureError` when it can't answer; an empty list means that nothing matches."""

    async def search(self, query: str, k: int) -> list[Hit]: ...


class Environment(Protocol):
    """One episode's world; knows no tokens and no engine. Make one per episode.

    If the last message of `reset` is the assistant's, it is the first turn: `step` is called with it before the policy
    is asked, and the policy never trains on it.
    """

    def reset(self, task: Task) -> list[Message]: ...
    async def step(self, text: str) -> Step: ...


class Codec(Protocol):
    """Messages to ids for one model family. Never re-tokenises what the policy sampled."""

    image_pad_id: int
    merge_size: int
    forbidden_ids: frozenset[int]  # never sampled: vision placeholders and turn starts
    end_of_turn_id: int

    def prompt(self, messages: Sequence[Message]) -> Encoded: ...

    def observe(self, messages: Sequence[Message], *, closed: bool) -> Encoded:
        """The delta after a generation, up to where the next one starts; `closed`: it ended with end-of-turn."""
        ...


class Policy(Protocol):
    """Speaks. `close` ends a session, whether or not it ever generated."""

    async def generate(self, request: Request) -> Sample: ...
    def close(self, session: str) -> None: ...
