"""What goes wrong in reinforcement learning, read off the metrics, in plain words and with what to try.

`alarms` is a pure function of the metrics so far. Where a row lacks a metric, nothing is said about it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from pydantic import Field

from vrag.runs import Json
from vrag.types import Frozen


class AlarmConfig(Frozen):
    """When to warn. "Now" is the mean of the last `window` steps, "at the start" of the first `window`: single steps of
    a few dozen episodes are too noisy to warn about. Within the first two windows nothing is compared.

    - `entropy`: now below this share of that at the start. Runs that learn lose a third to a half of it; at a tenth,
      the episodes of a group are nearly the same.
    - `kl`: now above so many nats per sampled token. Learning takes some hundredths; at 0.5 the policy has moved far
      in every token it writes.
    - `longer`, `shorter`: what the policy writes in an episode, now as a multiple of that at the start. Another turn or
      two, learnt, doubles it at most.
    - `cut_off`: share of episodes that the token limit ended, now. They have no answer, so a third bounds the reward.
    - `flat_groups`: share of groups whose rewards are all equal, now; at 0.9 a tenth of the rollouts is of any use.
    - `reward`: how far the reward is below its best window, in standard deviations of an episode's reward. The mean
      of a batch wanders by some tenths of one.
    - `invalid`: share of turns without a valid action, now, where it is twice that at the start as well.
    """

    window: int = Field(default=10, ge=1)
    entropy: float = 0.1
    kl: float = 0.5
    longer: float = 3.0
    shorter: float = 0.25
    cut_off: float = 1 / 3
    flat_groups: float = 0.9
    reward: float = 1.0
    invalid: float = 0.2


def alarms(rows: Sequence[Json], config: AlarmConfig) -> dict[str, str]:
    """By cause, what is wrong at the last of `rows`, which are all steps so far in order, and what to try; empty when
    all is well.
    """
    if not rows:
        return {}
    return dict(found for check in _CHECKS for found in check(rows, config))


def warned(rows: Sequence[Json]) -> list[tuple[int, int, str]]:
    """Of each cause that `rows` warn of: the first and the last step (from 1), and what was said last."""
    seen: dict[str, tuple[int, int, str]] = {}
    for row in rows:
        for cause, text in row.get("warnings", {}).items():
            seen[cause] = (seen[cause][0] if cause in seen else row["step"] + 1, row["step"] + 1, text)
    return list(seen.values())


Found = Iterator[tuple[str, str]]


def _not_finite(rows: Sequence[Json], config: AlarmConfig) -> Found:
    for name in ("gradient_norm", "loss"):
        value = rows[-1].get(name)
        if value is not None and not math.isfinite(value):
            yield (
                "not_finite",
                f"{name} is {value}: the weights are spoilt from here on. Stop, go back to an earlier checkpoint, "
                "lower optimizer.lr, and train in fp32 where that persists",
            )
            return


def _entropy(rows: Sequence[Json], config: AlarmConfig) -> Found:
    start, now = _start(rows, "entropy", config), _now(rows, "entropy", config)
    if start is not None and now is not None and now < config.entropy * start:
        yield (
            "entropy",
            f"entropy fell from {start:.3g} to {now:.3g} nats: the policy says the same again and again and explores "
            "no more. Try algorithm.name=dapo (its higher clip keeps rare tokens alive), a lower optimizer.lr, or "
            "algorithm.kl above 0",
        )


def _kl(rows: Sequence[Json], config: AlarmConfig) -> Found:
    now = _now(rows, "kl", config)
    if now is not None and now > config.kl:
        yield (
            "kl",
            f"the policy is {now:.2f} nats per token away from the model it started from: what that could do is being "
            "lost. Try a lower optimizer.lr or a higher algorithm.kl, and read the samples for a reward that is gamed",
        )


def _length(rows: Sequence[Json], config: AlarmConfig) -> Found:
    start, now = _start(rows, "sampled_length", config), _now(rows, "sampled_length", config)
    cut = _now(rows, "stop/length", config)
    if cut is not None and cut > config.cut_off:
        yield (
            "length",
            f"the token limit ends {100 * cut:.0f} % of the episodes before they answer. Try "
            "algorithm.overlong_zone=0.2, algorithm.name=dr_grpo, or a higher limits_tokens",
        )
    elif start is not None and now is not None and now > config.longer * start:
        yield (
            "length",
            f"episodes grew from {start:.0f} to {now:.0f} tokens written: see in the samples whether they repeat "
            "themselves. Try algorithm.overlong_zone=0.2 or algorithm.name=dr_grpo",
        )
    elif start is not None and now is not None and now < config.shorter * start:
        yield (
            "length",
            f"episodes shrank from {start:.0f} to {now:.0f} tokens written: the policy may have learnt to give up "
            "early. See in the samples what it leaves out, and what the reward pays for it",
        )


def _flat(rows: Sequence[Json], config: AlarmConfig) -> Found:
    flat = _now(rows, "groups_zero_variance", config)
    if flat is None or flat < config.flat_groups:
        return
    right, wrong = (_now(rows, name, config) or 0.0 for name in ("groups_all_right", "groups_all_wrong"))
    said = f"{100 * flat:.0f} % of the groups have equal rewards, so nothing is learnt from them"
    if right > flat / 2:
        yield "flat_groups", f"{said}: their answers are all right. The tasks are too easy now; take harder ones"
    elif wrong > flat / 2:
        yield (
            "flat_groups",
            f"{said}: their answers are all wrong. Take easier tasks, fine-tune first (vrag train sft), raise "
            "group_size, and check that a right answer scores 1",
        )
    else:
        yield (
            "flat_groups",
            f"{said}. Look at the samples: the episodes of a group may be copies. Try a higher temperature or "
            "group_size",
        )


def _reward(rows: Sequence[Json], config: AlarmConfig) -> Found:
    rewards = _values(rows, "reward")
    if len(rewards) < 2 * config.window:
        return
    means = np.convolve(rewards, np.full(config.window, 1 / config.window), "valid")
    best, now, spread = float(means.max()), float(means[-1]), _mean(_values(rows, "reward_std"))
    if spread and best - now > config.reward * spread:
        at = int(means.argmax()) + config.window
        yield (
            "reward",
            f"the reward fell from {best:.2f} (steps up to {at}) to {now:.2f}. Go on from an earlier checkpoint with a "
            "lower optimizer.lr, and keep more of them (checkpoints.keep)",
        )


def _invalid(rows: Sequence[Json], config: AlarmConfig) -> Found:
    start, now = _start(rows, "invalid_actions", config), _now(rows, "invalid_actions", config)
    if start is not None and now is not None and now > max(config.invalid, 2 * start):
        yield (
            "invalid_actions",
            f"{100 * now:.0f} % of the turns hold no valid action, {100 * start:.0f} % at the start: the format is "
            "being lost. Try a lower optimizer.lr, a higher rewards.pattern, or, where turns are cut, more "
            "limits_turn_tokens",
        )


_CHECKS = (_not_finite, _entropy, _kl, _length, _flat, _reward, _invalid)


def _values(rows: Sequence[Json], name: str) -> list[float]:
    return [row[name] for row in rows if name in row and math.isfinite(row[name])]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _now(rows: Sequence[Json], name: str, config: AlarmConfig) -> float | None:
    """The mean of the last window; None before there is one."""
    values = _values(rows[-config.window :], name)
    return _mean(values) if values and len(rows) >= config.window else None


def _start(rows: Sequence[Json], name: str, config: AlarmConfig) -> float | None:
    """The mean of the first window; None while it overlaps the last."""
    values = _values(rows[: config.window], name)
    return _mean(values) if values and len(rows) >= 2 * config.window else None
