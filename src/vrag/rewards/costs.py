"""What judging a batch of episodes cost, for the metrics of training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from vrag.episode import Episode


def judge_metrics(episodes: Sequence[Episode]) -> dict[str, float]:
    """Answers judged without a model, from the cache and by a model, requests and tokens; nothing without a judge."""
    said = [episode.judgement for episode in episodes if episode.judgement is not None]
    if not said:
        return {}
    by = Counter(judgement.by for judgement in said)
    return {
        "judge/by_rules": float(by["rules"]),
        "judge/cached": float(by["cache"]),
        "judge/asked": float(by["model"]),
        "judge/calls": float(sum(judgement.calls for judgement in said)),
        "judge/prompt_tokens": float(sum(judgement.prompt_tokens for judgement in said)),
        "judge/completion_tokens": float(sum(judgement.completion_tokens for judgement in said)),
    }
