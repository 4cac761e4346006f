"""What one request and all of them together may ask for."""

from __future__ import annotations

from dataclasses import dataclass

MAX_QUERIES = 128  # of one request; the agents of VRAG-RL send up to 100
MAX_CHARS = 8192  # of one query
MAX_K = 1000
MAX_HITS = 20_000  # queries x k: bounds the answer to a few MiB
MAX_BYTES = 1 << 20  # of a body; of a URL the server takes 64 KiB

MAX_PAGE_BYTES = 100 << 20  # of an image file: any page of 32 million pixels, as PNG
HELD_BYTES = 512 << 20  # of image files that arrive, wait or are encoded
USUAL_PIXELS = 4_000_000  # of a page (A4 at 200 dpi); a larger one takes the places of several in a batch


@dataclass(frozen=True)
class Limits:
    """`queue`: queries admitted at once, more are refused; `batch`: answered together; `timeout`: seconds to answer. Of
    an encoder server, for its pages as well.
    """

    queue: int = 256
    batch: int = 32
    timeout: float = 30.0

    @property
    def queries(self) -> int:
        """Of one request: what the queue could never hold is refused as too much, not as too soon."""
        return min(MAX_QUERIES, self.queue)
