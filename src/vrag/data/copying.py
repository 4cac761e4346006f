"""Text-only examples that teach a small model to copy names into its query.

A model trained from nothing learns the names of its training documents by heart and writes those into any
query. Here the names of a question are replaced by random ones, in the question and in the query alike, so that
only copying is right. Cheap: there is no image in them.
"""

from __future__ import annotations

import numpy as np

from vrag.codecs.qwen_vl import QwenVLCodec
from vrag.data.glances import echoes
from vrag.data.lessons import Lesson, say
from vrag.data.names import renamed
from vrag.episode import Tokens
from vrag.policies.expert import searched
from vrag.prompts import PROMPTS
from vrag.types import Message, Task


def copying_example(task: Task, codec: QwenVLCodec, prompt: str, rng: np.random.Generator) -> Lesson:
    """The first turn of `task` with random names; `task.meta` names the entity and the first query."""
    other = renamed(task, rng)
    tokens = Tokens(codec.prompt([Message("user", [PROMPTS[prompt].text(other.question)])]).ids)
    turn = say(tokens, codec, *searched(other.meta["queries"][0]))
    glances = echoes(tokens.ids, (0, turn[0]), turn, codec.token_text)
    return Lesson(tokens, tuple(glances))
