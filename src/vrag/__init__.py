"""vrag: a vision-language agent that searches, zooms and answers over visually rich documents, and learns to.

The names of `__all__` are imported when they are first used, so that `import vrag` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vrag.agent import Agent, Reply
    from vrag.app.evaluation import Evaluation, evaluate
    from vrag.corpus.ingest import ingest
    from vrag.corpus.options import IngestOptions
    from vrag.corpus.store import Corpus

__version__ = "0.1.0"
__all__ = ["Agent", "Corpus", "Evaluation", "IngestOptions", "Reply", "evaluate", "ingest"]

_MODULES = {
    "Agent": "vrag.agent",
    "Corpus": "vrag.corpus.store",
    "Evaluation": "vrag.app.evaluation",
    "IngestOptions": "vrag.corpus.options",
    "Reply": "vrag.agent",
    "evaluate": "vrag.app.evaluation",
    "ingest": "vrag.corpus.ingest",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'vrag' has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
