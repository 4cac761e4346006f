"""Scored episodes to optimiser steps: advantages, old log-probabilities, losses, gradients."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vrag.codecs.qwen_vl import QwenVLCodec
from vrag.episode import Episode, Tokens
from vrag.training.advantages import advantages_of
from vrag.training.logprobs import TokenScores, sampled_rows, sampled_scores
from vrag.training.lora import trainable
from vrag.training.losses import Scale, policy_loss, token_weights
from vrag.training.memory import checkpoint_activations, keep_products
from vrag.training.optimizer import apply, make_optimizer, rate
from vrag.training.prefix_tree import PrefixTree, prefix_tree, side_by_side
from vrag.training.rl_config import RLConfig
from vrag.training.tower import seeing_once
from vrag.training.watch import Watch


@dataclass(frozen=True)
class Experience:
    """An episode to learn from. `old` [m]: the log-probabilities that ratios are taken against."""

    tokens: Tokens
    advantage: float
    old: Tensor

    @staticmethod
    def of(tokens: Tokens, advantage: float) -> Experience:
        """With the log-probabilities that the rollout gave."""
        sampled = [lp for lp, m in zip(tokens.logprobs, tokens.loss_mask, strict=True) if m]
        return Experience(tokens, advantage, torch.tensor(sampled))


class Learner:
    """The model, its optimiser, and the starting model that a KL penalty is taken to."""

    def __init__(self, model: Any, codec: QwenVLCodec, config: RLConfig) -> None:
        self.model, self.codec, self.config = model, codec, config
        self.algorithm = config.algorithm.settle()
        self.reserved = sorted(codec.forbidden_ids)
        copied = self.algorithm.kl > 0 and config.lora is None  # adapters switched off leave the starting model
        self._reference = copy.deepcopy(model).eval().requires_grad_(False) if copied else None
        self.trained = trainable(model, config.lora, freeze_vision=config.freeze_vision, seed=config.seed)
        if config.gradient_checkpointing:
            checkpoint_activations(model)
        else:
            keep_products(model)
        self.optimizer = make_optimizer(self.trained, config.optimizer)

    @property
    def recomputes(self) -> bool:
        """Whether old log-probabilities are made anew by the training forward."""
        if self.config.old_logprobs == "auto":
            return self.config.updates > 1 or self.model.dtype != torch.float32
        return self.config.old_logprobs == "recompute"

    def update(self, episodes: Sequence[Episode], step: int, watch: Watch | None = None) -> dict[str, float]:
        """`updates` optimiser steps on the scored episodes of one batch of rollouts. `watch` is told what they saw."""
        config, watch = self.config, watch or Watch()
        lr = rate(config.optimizer, step, config.steps)
        experiences, valid = self._experiences(episodes, watch)
        if not any(len(e.old) for e in experiences):  # nothing was sampled, or nothing differs
            return {"lr": lr}
        metrics: dict[str, float] = {"trained_tokens": float(sum(len(e.tokens.ids) for e in experiences))}
        if self.recomputes:
            experiences, metrics["logprob_drift"] = self._recompute(experiences)
        order = np.random.default_rng([config.seed, step]).permutation(len(experiences))
        parts = np.array_split(order, min(config.updates, len(experiences)))
        totals: Counter[str] = Counter()
        for part in parts:
            scale = self._scale(valid, part.size / len(experiences))
            totals.update(self._optimise([experiences[i] for i in part], scale, lr, watch))
        metrics["distinct_tokens"] = totals.pop("distinct_tokens")
        metrics |= {key: value / len(parts) for key, value in totals.items()}
        if not self.recomputes:  # old is the rollout's: the distance to it is the drift, and what earlier updates moved
            metrics["logprob_drift"] = metrics.pop("logprob_change")
        return {"lr": lr, **metrics}

    def _experiences(self, episodes: Sequence[Episode], watch: Watch) -> tuple[list[Experience], list[Tokens]]:
        """What has a gradient; and all that counts in means: an episode without advantage is a zero in the mean."""
        advantages, _ = advantages_of(episodes, self.config.group_size, normalize=self.algorithm.normalize)
        watch.weighed(episodes, advantages)
        valid = [
            (episode.tokens, advantage)
            for episode, advantage in zip(episodes, advantages, strict=True)
            if advantage is not None and episode.tokens is not None
        ]
        useful = [Experience.of(tokens, a) for tokens, a in valid if a != 0 or self.algorithm.kl > 0]
        return useful, [tokens for tokens, _ in valid]

    def _scale(self, valid: Sequence[Tokens], share: float) -> Scale:
        """Means over this share of the batch."""
        sampled = sum(sum(tokens.loss_mask) for tokens in valid)
        return Scale(len(valid) * share, sampled * share, self.config.limits_tokens)

    @torch.no_grad()
    def _recompute(self, experiences: Sequence[Experience]) -> tuple[list[Experience], float]:
        """The same with `old` by the training forward, and the mean distance of the two, in nats per token."""
        result, drift = list(experiences), 0.0
        self.model.train()
        for group in self._micro_batches(experiences):
            chosen = [experiences[i] for i in group]
            found = self._scores(self.model, self._tree(chosen)).logprobs.cpu().split([len(e.old) for e in chosen])
            for i, old in zip(group, found, strict=True):
                drift += float((old - experiences[i].old).abs().sum())
                result[i] = replace(experiences[i], old=old)
        return result, drift / sum(len(e.old) for e in experiences)

    def _optimise(self, chosen: Sequence[Experience], scale: Scale, lr: float, watch: Watch) -> dict[str, float]:
        """One optimiser step; means are per sampled token."""
        sums = self.accumulate(chosen, scale, watch)
        norm = apply(self.optimizer, self.trained, self.config.optimizer, lr)
        sampled = max(1, sum(len(e.old) for e in chosen))
        whole = {key: sums.pop(key) for key in ("loss", "distinct_tokens")}
        return {**whole, **{key: value / sampled for key, value in sums.items()}, "gradient_norm": norm}

    def accumulate(self, chosen: Sequence[Experience], scale: Scale, watch: Watch | None = None) -> Counter[str]:
        """The gradient, by micro-batches, added to what the model has of it; gives sums over the sampled tokens."""
        sums, watch = Counter[str](), watch or Watch()
        self.model.train()
        with seeing_once(self.model, [image for e in chosen for image in e.tokens.images], self.config.max_tokens):
            for group in self._micro_batches(chosen):
                sums.update(self._backward([chosen[i] for i in group], scale, watch))
        return sums

    def _backward(self, chosen: Sequence[Experience], scale: Scale, watch: Watch) -> dict[str, float]:
        tree = self._tree(chosen)
        rows = sampled_rows(tree)
        with tree.attending(self.model):
            scores = self._scores(self.model, tree)
            logprobs = scores.logprobs
            old = torch.cat([e.old for e in chosen]).to(logprobs.device)
            advantages = torch.tensor([e.advantage for e in chosen], device=logprobs.device)[rows]
            weights = token_weights(rows, self.algorithm.aggregate, scale)
            found = policy_loss(logprobs, old, advantages, rows, weights, self.algorithm, self._by_reference(tree))
            found.loss.backward()
        watch.scored([e.tokens for e in chosen], scores, found)
        n = len(old)
        low, high, kl = (found.clipped_low, found.clipped_high, found.kl or 0.0) if n else (0.0, 0.0, 0.0)
        return {
            "loss": float(found.loss.detach()),
            "distinct_tokens": float(len(tree.first)),
            "clip_fraction": (low + high) * n,
            "clip_fraction_low": low * n,
            "clip_fraction_high": high * n,
            "kl": kl * n,
            "entropy": float(scores.entropy.sum()),
            "logprob_change": float((logprobs.detach() - old).abs().sum()),
        }

    @torch.no_grad()
    def _by_reference(self, tree: PrefixTree) -> Tensor | None:
        """Log-probabilities by the starting model, where a KL penalty asks for them."""
        if not self.algorithm.kl:
            return None
        if self._reference is not None:
            return self._scores(self._reference, tree).logprobs
        with self.trained.disable_adapter():
            return self._scores(self.model, tree).logprobs

    def _micro_batches(self, chosen: Sequence[Experience]) -> list[list[int]]:
        return list(side_by_side([e.tokens for e in chosen], self.config.max_tokens))

    def _tree(self, chosen: Sequence[Experience]) -> PrefixTree:
        pad, image = self.codec.tokenizer.pad_token_id, self.codec.image_pad_id
        return prefix_tree([e.tokens for e in chosen], pad_id=pad, image_pad_id=image, model=self.model)

    def _scores(self, model: Any, tree: PrefixTree) -> TokenScores:
        return sampled_scores(model, tree, self.reserved, self.config.temperature)
