"""Text-only examples that teach a small model to copy names into its query.

A model trained from nothing learns the names of its training documents by heart and writes those into any
query. Here the names of a question are replaced by random ones, in the question and in the query alike, so that
only copying is right. Cheap: there is no image in them.
"""

from __future__ import annotations

import string
from collections.abc import Sequence

import numpy as np

from vrag.codecs.qwen_vl import QwenVLCodec
from vrag.data.glances import echoes
from vrag.data.lessons import Lesson, say
from vrag.episode import Tokens
from vrag.policies.expert import searched
from vrag.prompts import PROMPTS
from vrag.types import Message, Task

_VOWELS = "aeiou"
_CONSONANTS = "".join(c for c in string.ascii_lowercase if c not in _VOWELS)


def copying_example(task: Task, codec: QwenVLCodec, prompt: str, rng: np.random.Generator) -> Lesson:
    """The first turn of `task` with random names; `task.meta` names the entity and the first query."""
    name = str(task.meta["entity"]).split()[0]
    other = random_name(rng)
    question, query = (str(text).replace(name, other) for text in (task.question, task.meta["queries"][0]))
    tokens = Tokens(codec.prompt([Message("user", [PROMPTS[prompt].text(question)])]).ids)
    turn = say(tokens, codec, *searched(query))
    glances = echoes(tokens.ids, (0, turn[0]), turn, codec.token_text)
    return Lesson(tokens, tuple(glances))


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
