"""Random names in place of a task's own, so that a small model can't learn by heart what belongs to a name."""

from __future__ import annotations

import string
from collections.abc import Sequence

import numpy as np

from vrag.types import Task

_VOWELS = "aeiou"
_CONSONANTS = "".join(c for c in string.ascii_lowercase if c not in _VOWELS)


def renamed(task: Task, rng: np.random.Generator) -> Task:
    """`task` about another, random name: in the question, the queries and `meta["entity"]` alike. A task without an
    entity stays as it is.
    """
    entity = str(task.meta.get("entity") or "")
    if not entity:
        return task
    name, other = entity.split()[0], random_name(rng)
    meta = task.meta | {"entity": entity.replace(name, other)}
    if "queries" in meta:
        meta["queries"] = [str(query).replace(name, other) for query in meta["queries"]]
    return task.model_copy(update={"question": task.question.replace(name, other), "meta": meta})


def random_name(rng: np.random.Generator) -> str:
    """Two to four syllables, capitalised: pronounceable, and of no list."""
    letters: list[str] = []
    for _ in range(int(rng.integers(2, 5))):
        letters += [_any(_CONSONANTS, rng), _any(_VOWELS, rng)]
        if rng.random() < 0.3:
            letters.append(_any(_CONSONANTS, rng))
    return "".join(letters).capitalize()


def _any(letters: Sequence[str], rng: np.random.Generator) -> str:
    return letters[int(rng.integers(len(letters)))]
