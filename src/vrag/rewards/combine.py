"""The paper's reward (section 3.3) as a rubric: answer, pattern and retrieval, each logged apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from vrag.episode import Episode, Reward
from vrag.errors import UsageError
from vrag.imports import imported
from vrag.rewards.answer import rule_reward
from vrag.rewards.pattern import pattern_reward, searched_and_answered
from vrag.rewards.retrieval import retrieval_reward
from vrag.rewards.rubric import GroupScore, Rubric, Term, per_episode
from vrag.rewards.weights import BySource, Linear
from vrag.types import Frozen, StopReason, Task, Turn

ConfiguredWeight = Annotated[float, Field(ge=0)] | Linear | BySource


class RewardWeights(Frozen):
    """r = answer * r_ans + pattern * r_pat + retrieval * r_ret.

    The paper gives no values but those of the pattern: 0.1 from a cold start and 0 after SFT. The defaults
    are the reference code's, 0.7/0.1/0.2; its comment names 0.8/0/0.2 (`AFTER_SFT`). With `gated`, as in
    the reference code, everything is 0 unless both a search and an answer occur: an answer without looking
    earns nothing. `terms` are one's own, each the "module:attribute" of a `Term`, which has its weight itself.
    """

    answer: ConfiguredWeight = 0.7
    pattern: ConfiguredWeight = 0.1
    retrieval: ConfiguredWeight = 0.2
    gated: bool = True
    require_think: bool = False
    terms: tuple[str, ...] = ()

    @model_serializer(mode="wrap")
    def _written(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `terms` where there are none, so that runs from before there were any go on."""
        return {name: value for name, value in plain(self).items() if name != "terms" or self.terms}


AFTER_SFT = RewardWeights(answer=0.8, pattern=0.0, retrieval=0.2)


def by_rules(episode: Episode) -> float:
    """The answer part without a judge model."""
    return rule_reward(episode.answer, episode.task.answers).score


def searched(episode: Episode) -> bool:
    """The gate of the reference code."""
    return searched_and_answered(episode.turns)


def paper_terms(weights: RewardWeights | None = None, judge: GroupScore | None = None) -> list[Term]:
    """The unweighted values lie in 0..1, and tell what happened also where the gate makes the total 0. "answer" is by
    the `judge` (see `vrag.rewards.judge`) or by rules; "retrieval" applies to tasks that have gold pages. Then come
    one's own; raises `UsageError` for one that can't be imported, or is no `Term`.
    """
    weights = weights or RewardWeights()
    by = per_episode("answer", by_rules, weights.answer) if judge is None else Term("answer", judge, weights.answer)
    return [
        by,
        per_episode(
            "pattern",
            lambda episode: pattern_reward(episode.turns, require_think=weights.require_think),
            weights.pattern,
        ),
        per_episode("retrieval", _retrieval, weights.retrieval, applies=lambda task: bool(task.gold)),
        *map(_own, weights.terms),
    ]


def _own(name: str) -> Term:
    term = imported(name, "reward term")
    if not isinstance(term, Term):
        raise UsageError(f"reward term {name}: is a {type(term).__name__}; make a Term of it, with per_episode(…)")
    return term


def _retrieval(episode: Episode) -> float:
    return retrieval_reward(episode.turns, (evidence.ref for evidence in episode.task.gold))


def paper_rubric(weights: RewardWeights | None = None, judge: GroupScore | None = None) -> Rubric:
    """`paper_terms` behind the gate, if there is one."""
    weights = weights or RewardWeights()
    return Rubric(paper_terms(weights, judge), searched if weights.gated else None)


def score_episode(episode: Episode, weights: RewardWeights | None = None) -> Reward | None:
    """The reward of one episode by `paper_rubric` without a judge, weighed as at the end of training; None when
    infrastructure failed, which is never a wrong answer: the sample is masked.
    """
    return paper_rubric(weights).now(episode)


def score(
    turns: Sequence[Turn], answer: str | None, stop: StopReason, task: Task, weights: RewardWeights | None = None
) -> Reward | None:
    """`score_episode` of what an episode is made of."""
    return score_episode(Episode(task=task, turns=list(turns), stop=stop, answer=answer, tokens=None), weights)
