"""What a person may have meant by a name that isn't known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known name that is most like `name`; None where none is alike enough (`cutoff` of difflib's ratio)."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)), None)


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """The nearest known name as a question; `otherwise` where none is near."""
    near = nearest(name, known)
    return f"did you mean {near}?" if near else otherwise
