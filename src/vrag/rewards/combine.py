"""The reward of an episode: the weighted sum of its parts, each logged apart (paper, section 3.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pydantic import Field

from vrag.episode import Episode, Reward
from vrag.rewards.answer import rule_reward
from vrag.rewards.pattern import pattern_reward, searched_and_answered
from vrag.rewards.retrieval import retrieval_reward
from vrag.types import Frozen, StopReason, Task, Turn

AnswerScorer = Callable[[str | None, Task], float]


def by_rules(answer: str | None, task: Task) -> float:
    """The answer part without a judge model."""
    return rule_reward(answer, task.answers).score


class RewardWeights(Frozen):
    """r = answer * r_ans + pattern * r_pat + retrieval * r_ret.

    The paper gives no values but those of the pattern: 0.1 from a cold start and 0 after SFT. The defaults
    are the reference code's, 0.7/0.1/0.2; its comment names 0.8/0/0.2 (`AFTER_SFT`). With `gated`, as in
    the reference code, everything is 0 unless both a search and an answer occur: an answer without looking
    earns nothing.
    """

    answer: float = Field(default=0.7, ge=0)
    pattern: float = Field(default=0.1, ge=0)
    retrieval: float = Field(default=0.2, ge=0)
    gated: bool = True
    require_think: bool = False


AFTER_SFT = RewardWeights(answer=0.8, pattern=0.0, retrieval=0.2)


def score(
    turns: Sequence[Turn],
    answer: str | None,
    stop: StopReason,
    task: Task,
    weights: RewardWeights | None = None,
    scorer: AnswerScorer = by_rules,
) -> Reward | None:
    """Score one episode; None when infrastructure failed, which is never a wrong answer: the sample is
    masked.

    `parts` are the unweighted terms in 0..1: "answer", "pattern", and "retrieval" for a task that has gold
    pages; they tell what happened also where the gate makes the total 0.
    """
    if stop is StopReason.ERROR:
        return None
    weights = weights or RewardWeights()
    parts = {
        "answer": scorer(answer, task),
        "pattern": pattern_reward(turns, require_think=weights.require_think),
    }
    if task.gold:
        parts["retrieval"] = retrieval_reward(turns, (evidence.ref for evidence in task.gold))
    total = sum(getattr(weights, name) * value for name, value in parts.items())
    if weights.gated and not searched_and_answered(turns):
        total = 0.0
    return Reward(total=total, parts=parts)


def score_episode(
    episode: Episode, weights: RewardWeights | None = None, scorer: AnswerScorer = by_rules
) -> Reward | None:
    """`score` of a finished rollout."""
    return score(episode.turns, episode.answer, episode.stop, episode.task, weights, scorer)
