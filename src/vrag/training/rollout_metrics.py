"""What a batch of rollouts was like: rewards, stop reasons, habits, lengths. `docs/metrics.md` explains each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

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
        values = [r.parts[part] for r in rewards if part in r.parts]
        metrics |= {f"reward/{part}": float(np.mean(values)), f"reward_std/{part}": float(np.std(values))}
    metrics |= judge_metrics(episodes)
    stops = Counter(e.stop for e in episodes)
    metrics |= {f"stop/{reason.value}": stops[reason] / len(episodes) for reason in StopReason}
    turns = [t for e in episodes for t in e.turns]
    for name in ("search", "bbox"):
        count = sum(1 for t in turns if t.action and t.action.name == name)
        metrics[f"{name}_per_episode"] = count / len(episodes)
    metrics["invalid_actions"] = sum(1 for t in turns if t.error) / max(1, len(turns))
    metrics["turns"] = len(turns) / len(episodes)
    return metrics | _lengths(episodes)


def _lengths(episodes: Sequence[Episode]) -> dict[str, float]:
    """In tokens: of whole episodes, observations and images included, and of what the policy wrote in them."""
    whole = [len(e.tokens.ids) if e.tokens else 0 for e in episodes]
    sampled = [sum(e.tokens.loss_mask) if e.tokens else 0 for e in episodes]
    return {
        "tokens": float(sum(whole)),
        "length": float(np.mean(whole)),
        "length_max": float(max(whole)),
        "sampled_tokens": float(sum(sampled)),
        "sampled_length": float(np.mean(sampled)),
        "sampled_length_max": float(max(sampled)),
    }


def answers_by_group(episodes: Sequence[Episode], group_size: int) -> dict[str, float]:
    """Shares of groups in which every answer is right, and in which every one is wrong, by the reward's part "answer";
    nothing where no reward has one.
    """
    groups: list[list[float]] = []
    for start in range(0, len(episodes), group_size):
        rewards = [e.reward for e in episodes[start : start + group_size] if e.reward is not None]
        groups.append([reward.parts["answer"] for reward in rewards if "answer" in reward.parts])
    answered = [answers for answers in groups if answers]
    if not answered:
        return {}
    return {
        "groups_all_right": sum(min(answers) >= 1 for answers in answered) / len(groups),
        "groups_all_wrong": sum(max(answers) <= 0 for answers in answered) / len(groups),
    }


def speeds(metrics: Mapping[str, float]) -> dict[str, float]:
    """Tokens per second: sampled in the rollouts, and gone through by the updates."""
    pairs = {"rollout": ("sampled_tokens", "rollout_seconds"), "update": ("trained_tokens", "update_seconds")}
    return {
        f"{phase}_tokens_per_second": metrics[tokens] / metrics[seconds]
        for phase, (tokens, seconds) in pairs.items()
        if tokens in metrics and metrics.get(seconds)
    }
