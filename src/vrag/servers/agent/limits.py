"""What clients of the agent server may ask for."""

from __future__ import annotations

from dataclasses import dataclass

from vrag.servers.limits import Limits

MAX_TURNS = 100
MAX_FILES = 100  # of one upload
MAX_NAME = 200  # bytes of a document's name, so that any file system can hold it
MAX_WIDTH = 4096  # pixels of a picture that is asked for
MAX_SNIPPETS = 1000  # of one request: each takes about a millisecond
LISTED = 1000  # documents, or failures, in one answer


@dataclass(frozen=True)
class AgentLimits(Limits):
    """`episodes` run at once and `waiting` more wait, each at most `episode_seconds`; `queue`, `batch` and `timeout`
    are those of searches and lookups. `uploads` come in at once, of at most `upload_bytes` each.
    """

    episodes: int = 4
    waiting: int = 16
    episode_seconds: float = 600.0
    uploads: int = 4
    upload_bytes: int = 512 << 20
