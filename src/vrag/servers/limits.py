"""What one request and all of them together may ask for."""

from __future__ import annotations

from dataclasses import dataclass

MAX_QUERIES = 128  # of one request; the agents of VRAG-RL send up to 100
MAX_CHARS = 8192  # of one query
MAX_K = 1000
MAX_HITS = 20_000  # queries x k: bounds the answer to a few MiB
MAX_BYTES = 1 << 20  # of a body; of a URL the server takes 64 KiB


@dataclass(frozen=True)
class Limits:
    """`queue`: queries admitted at once, more are refused; `batch`: encoded together; `timeout`: seconds to answer."""

    queue: int = 256
    batch: int = 32
    timeout: float = 30.0

    @property
    def queries(self) -> int:
        """Of one request: what the queue could never hold is refused as too much, not as too soon."""
        return min(MAX_QUERIES, self.queue)
