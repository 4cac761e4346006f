"""The pattern reward of the paper (section 3.3): did the episode use the actions as it should?"""

from __future__ import annotations

from collections.abc import Sequence

from vrag.types import Answer, Search, Turn


def pattern_reward(turns: Sequence[Turn], *, require_think: bool = False) -> float:
    """1 if every turn was a valid action and both a search and an answer occur, else 0.

    It isn't graded: a share of valid turns would pay for turns that nobody needs. The reference code
    doesn't look at thoughts; `require_think` asks for one in every turn, as the prompt does.
    """
    valid = all(turn.error is None and turn.action is not None for turn in turns)
    thought = not require_think or all(turn.thought for turn in turns)
    return float(valid and thought and searched_and_answered(turns))


def searched_and_answered(turns: Sequence[Turn]) -> bool:
    """Whether both `<search>` and `<answer>` occur as valid actions: the reference code's gate."""
    searched = any(isinstance(turn.action, Search) for turn in turns)
    return searched and any(isinstance(turn.action, Answer) for turn in turns)
