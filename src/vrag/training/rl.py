"""GRPO on the embedded engine: roll out groups, score, compare within the group, update.

One step: draw `groups` tasks; roll out `group_size` episodes of each with the policy as it is; reward each
episode; turn rewards into group-relative advantages; take `updates` clipped steps on the sampled tokens with a KL
penalty to the frozen starting model (paper §3.3; FACTS: RL hyperparameters). What is trained on are the ids
and log-probabilities of the rollout itself. Left out on purpose: value functions and per-token rewards, which GRPO
doesn't have.

Episodes whose reward is None (infrastructure failed) are masked; a group left with fewer than two is dropped.
Each is counted in the metrics.
"""

from __future__ import annotations

import asyncio
import copy
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vrag.codecs.qwen_vl import QwenVLCodec
from vrag.episode import Episode
from vrag.errors import DataError, InfrastructureError
from vrag.policies.transformers import TransformersPolicy
from vrag.protocols import Environment
from vrag.rewards.costs import judge_metrics
from vrag.rewards.rubric import Score, reward_all
from vrag.rollout import Job, Limits, rollout_many
from vrag.training.advantages import group_advantages
from vrag.training.batch import collate, micro_batches
from vrag.training.logprobs import logprobs_and_entropy, sampled_logits, sampled_rows, sampled_targets
from vrag.training.losses import Aggregate, grpo_loss, token_weights
from vrag.training.optimizer import OptimizerConfig, apply, make_optimizer, rate
from vrag.training.run import CheckpointConfig, TrainingRun
from vrag.training.sft import indices
from vrag.types import Frozen, Sampling, StopReason


class RLConfig(Frozen):
    """Defaults are the paper's: G = 5, lr 1e-6 with warmup 0.285, KL 0.01, clip 0.2, one epoch of batches of 32."""

    steps: int = 100
    groups: int = 32
    group_size: int = 5
    updates: int = 1  # optimiser steps per batch of rollouts
    clip: float = 0.2
    kl: float = 0.01
    aggregate: Aggregate = "sequence"
    normalize: bool = True
    temperature: float = 1.0
    max_tokens: int = 16_384  # padded tokens of one micro-batch
    max_batch: int = 64  # episodes that decode together
    freeze_vision: bool = False
    max_unscored: float = 0.1  # the step aborts when more episodes than this share have no reward
    seed: int = 0
    limits_tokens: int = 10_240
    limits_turn_tokens: int = 2_048
    optimizer: OptimizerConfig = OptimizerConfig(lr=1e-6, schedule="constant", warmup=0.285)
    checkpoints: CheckpointConfig = CheckpointConfig()


class GRPO:
    """One training run. `make_environment` gives a fresh environment per episode; `score` rewards episodes."""

    def __init__(
        self,
        model: Any,
        codec: QwenVLCodec,
        make_environment: Callable[[], Environment],
        score: Score,
        config: RLConfig,
    ) -> None:
        self.model, self.codec, self.config = model, codec, config
        self.make_environment, self.score = make_environment, score
        self.reserved = sorted(codec.forbidden_ids)
        self.reference = copy.deepcopy(model).eval().requires_grad_(False) if config.kl else None
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(not (config.freeze_vision and "visual" in name))
        self.optimizer = make_optimizer(model, config.optimizer)
        self.policy = TransformersPolicy(model, codec, max_batch=config.max_batch)

    def train(
        self,
        tasks: Sequence[Any],
        out: Path,
        on_step: Callable[[dict[str, Any]], None] = lambda metrics: None,
        on_episodes: Callable[[int, list[Episode]], None] = lambda step, episodes: None,
    ) -> None:
        """Train in place; rerunning the same call continues from the newest checkpoint."""
        if not tasks:
            raise DataError("no tasks to train on")
        config = self.config
        run = TrainingRun(out, config, self.model, self.codec, self.optimizer, config.checkpoints)
        for step in range(run.start, config.steps):
            chosen = [tasks[i] for i in indices(step, config.groups, len(tasks), config.seed)]
            began = time.perf_counter()
            episodes = self.roll_out(chosen, step)
            rolled = time.perf_counter()
            metrics = describe(episodes, config.group_size)
            metrics |= self.update(episodes, step)
            metrics |= {"rollout_seconds": rolled - began, "update_seconds": time.perf_counter() - rolled}
            run.commit(step, config.steps, metrics)
            on_episodes(step, episodes)
            on_step({"step": step, "steps": config.steps, **metrics})

    def roll_out(self, tasks: Sequence[Any], step: int) -> list[Episode]:
        """`group_size` scored episodes of each task, a task's next to each other.

        Raises `InfrastructureError` when more than `max_unscored` of them could not be scored.
        """
        config = self.config
        seed = config.seed * 1_000_003 + step
        # numbered through the batch: a task that an epoch's end draws twice gets other samples the second time
        numbered = enumerate(task for task in tasks for _ in range(config.group_size))
        jobs = [Job(task, sample, seed) for sample, task in numbered]
        episodes = asyncio.run(
            rollout_many(
                jobs,
                self.make_environment,
                self.policy,
                self.codec,
                Limits(config.limits_tokens, config.limits_turn_tokens),
                Sampling(temperature=config.temperature, max_tokens=config.limits_turn_tokens),
                concurrency=len(jobs),
            )
        )
        groups = [episodes[i : i + config.group_size] for i in range(0, len(episodes), config.group_size)]
        asyncio.run(reward_all(self.score, groups, step / max(1, config.steps - 1)))
        unscored = [e for e in episodes if e.reward is None]
        if len(unscored) > config.max_unscored * len(episodes):
            raise InfrastructureError(
                f"step {step}: {len(unscored)} of {len(episodes)} episodes have no reward "
                f"(first: {unscored[0].error}); fix what fails and rerun: training continues from its checkpoint"
            )
        return episodes

    def update(self, episodes: Sequence[Episode], step: int) -> dict[str, float]:
        """`updates` optimiser steps on the scored episodes of one batch of rollouts."""
        config = self.config
        lr = rate(config.optimizer, step, config.steps)
        advantages, groups = advantages_of(episodes, config.group_size, normalize=config.normalize)
        useful = [i for i, a in enumerate(advantages) if a is not None and (a != 0 or config.kl > 0)]
        counts = {
            "groups_dropped": float(groups.dropped),
            "groups_zero_variance": groups.flat / max(1, groups.total),
            "lr": lr,
        }
        if not useful:
            return counts
        order = np.random.default_rng([config.seed, step]).permutation(useful)
        totals: Counter[str] = Counter()
        valid = sum(a is not None for a in advantages)
        for part in np.array_split(order, config.updates):
            if part.size:
                share = valid * part.size / len(useful)
                chosen = [(episodes[int(i)], float(advantages[int(i)] or 0.0)) for i in part]
                totals.update(self._optimise(chosen, share, lr))
        return counts | {key: value / config.updates for key, value in totals.items()}

    def _optimise(self, chosen: Sequence[tuple[Episode, float]], episodes: float, lr: float) -> dict[str, float]:
        """One optimiser step, accumulated over micro-batches. `episodes` is what the mean is taken over."""
        tokens = [e.tokens for e, _ in chosen if e.tokens is not None]
        lengths = [len(t.ids) for t in tokens]
        sampled = sum(sum(t.loss_mask) for t in tokens)
        sums: Counter[str] = Counter()
        self.model.train()
        for group in micro_batches(lengths, self.config.max_tokens):
            part = self._backward([tokens[i] for i in group], [chosen[i][1] for i in group], episodes, sampled)
            sums.update(part)
        norm = apply(self.optimizer, self.model, self.config.optimizer, lr)
        means = {key: value / sampled for key, value in sums.items() if key != "loss"}
        return {"loss": sums["loss"], **means, "gradient_norm": norm}

    def _backward(self, tokens: list[Any], advantages: list[float], episodes: float, sampled: int) -> dict[str, float]:
        batch = collate(
            tokens, pad_id=self.codec.tokenizer.pad_token_id, image_pad_id=self.codec.image_pad_id, model=self.model
        )
        targets, rows = sampled_targets(batch), sampled_rows(batch)
        logits = sampled_logits(self.model, batch, self.reserved, self.config.temperature)
        logprobs, entropy = logprobs_and_entropy(logits, targets)
        old = torch.tensor(
            [lp for t in tokens for lp, m in zip(t.logprobs, t.loss_mask, strict=True) if m], device=logits.device
        )
        reference = None
        if self.reference is not None:
            with torch.no_grad():
                frozen = sampled_logits(self.reference, batch, self.reserved, self.config.temperature)
                reference, _ = logprobs_and_entropy(frozen, targets)
        loss = grpo_loss(
            logprobs,
            old,
            torch.tensor(advantages, device=logits.device)[rows],
            token_weights(rows, episodes, self.config.aggregate, sampled),
            clip=self.config.clip,
            kl_weight=self.config.kl,
            reference_logprobs_M=reference,
        )
        loss.loss.backward()
        n = len(targets)
        drift = float((logprobs.detach() - old).abs().sum())
        return {
            "loss": float(loss.loss.detach()),
            "clip_fraction": loss.clip_fraction * n,
            "kl": loss.kl * n,
            "entropy": float(entropy.sum()),
            "logprob_drift": drift,
        }


class GroupCounts(Frozen):
    """Groups of one step: all, those dropped for want of two scored episodes, and those without variance."""

    total: int
    dropped: int
    flat: int


def advantages_of(
    episodes: Sequence[Episode], group_size: int, *, normalize: bool = True
) -> tuple[list[float | None], GroupCounts]:
    """An advantage per episode; None where the episode is masked or its group was dropped."""
    result: list[float | None] = []
    dropped = flat = 0
    for start in range(0, len(episodes), group_size):
        group = episodes[start : start + group_size]
        rewards = [e.reward.total for e in group if e.reward is not None]
        if len(rewards) < 2:
            dropped += 1
            result += [None] * len(group)
            continue
        values = iter(group_advantages(rewards, normalize=normalize).tolist())
        scored = [next(values) if e.reward is not None else None for e in group]
        flat += all(not v for v in scored)
        result += scored
    return result, GroupCounts(total=-(-len(episodes) // group_size), dropped=dropped, flat=flat)


def describe(episodes: Sequence[Episode], group_size: int) -> dict[str, float]:
    """Rewards with their parts, stop reasons and habits of one batch of rollouts."""
    scored = [e for e in episodes if e.reward is not None]
    metrics: dict[str, float] = {"episodes": float(len(episodes)), "unscored": float(len(episodes) - len(scored))}
    if scored:
        totals = [e.reward.total for e in scored if e.reward]
        metrics |= {"reward": float(np.mean(totals)), "reward_std": float(np.std(totals))}
        parts = [e.reward.parts for e in scored if e.reward]  # a term may not apply to every task
        for name in {name: None for part in parts for name in part}:
            metrics[f"reward/{name}"] = float(np.mean([part[name] for part in parts if name in part]))
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
