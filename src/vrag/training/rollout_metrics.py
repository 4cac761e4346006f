"""What a batch of rollouts was like: rewards, stop reasons, habits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from vrag.episode import Episode
from vrag.rewards.costs import judge_metrics
from vrag.types import StopReason


def describe(episodes: Sequence[Episode]) -> dict[str, float]:
    """Rewards with their parts, stop reasons and habits of one batch of rollouts."""
    rewards = [e.reward for e in episodes if e.reward is not None]
    metrics: dict[str, float] = {"episodes": float(len(episodes)), "unscored": float(len(episodes) - len(rewards))}
    if rewards:
        totals = [reward.total for reward in rewards]
        metrics |= {"reward": float(np.mean(totals)), "reward_std": float(np.std(totals))}
    for part in dict.fromkeys(name for reward in rewards for name in reward.parts):
        metrics[f"reward/{part}"] = float(np.mean([r.parts[part] for r in rewards if part in r.parts]))
    metrics |= judge_metrics(episodes)
    stops = Counter(e.stop for e in episodes)
    metrics |= {f"stop/{reason.value}": stops[reason] / len(episodes) for reason in StopReason}
    turns = [t for e in episodes for t in e.turns]
    for name in ("search", "bbox"):
        count = sum(1 for t in turns if t.action and t.action.name == name)
        metrics[f"{name}_per_episode"] = count / len(episodes)
    metrics["invalid_actions"] = sum(1 for t in turns if t.error) / max(1, len(turns))
    metrics["turns"] = len(turns) / len(episodes)
    metrics["tokens"] = float(sum(len(e.tokens.ids) for e in episodes if e.tokens))
    return metrics
