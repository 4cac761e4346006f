"""A scored episode as the fields of verl's `AgentLoopOutput`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vrag.episode import Episode, Tokens
from vrag.errors import ConfigError, InfrastructureError, InvariantError
from vrag.types import StopReason
from vrag.verl.policy import images_of


def output_fields(episode: Episode, parts: Sequence[str], prompt_length: int, response_length: int) -> dict[str, Any]:
    """Prompt, response, mask and log-probabilities as the policy sampled them, the images in order of appearance, and
    the reward with its `parts` by name, None where one doesn't apply: verl wants the same names of each episode, and
    leaves None out of its means. `metrics` are the caller's.

    Raises `InfrastructureError` for an episode without a reward, so that verl leaves it out; `ConfigError` for one that
    verl's lengths would cut; `InvariantError` where images and tokens disagree.
    """
    tokens, reward = episode.tokens, episode.reward
    if tokens is None or reward is None:
        raise InfrastructureError(f"task {episode.task.id}: the episode has no reward: {episode.error}")
    _check(episode, tokens, prompt_length, response_length)
    images = images_of(episode.messages)
    return {
        "prompt_ids": list(tokens.prompt_ids),
        "response_ids": list(tokens.response_ids),
        "response_mask": list(tokens.loss_mask),
        "response_logprobs": list(tokens.logprobs),
        "multi_modal_data": {"images": images} if images else {},
        "reward_score": reward.total,
        "num_turns": len(episode.turns),
        "extra_fields": {
            "reward_extra_info": {**dict.fromkeys(parts), **reward.parts, **_described(episode, tokens)},
            "turn_scores": [],
            "tool_rewards": [],
        },
    }


def _described(episode: Episode, tokens: Tokens) -> dict[str, float]:
    """What verl averages over validation, beside the parts of the reward."""
    return {
        "answered": float(episode.stop is StopReason.ANSWER),
        "turns": float(len(episode.turns)),
        "images_seen": float(len(tokens.images)),
        "sampled_tokens": float(sum(tokens.loss_mask)),
    }


def _check(episode: Episode, tokens: Tokens, prompt_length: int, response_length: int) -> None:
    name = f"task {episode.task.id}"
    if len(tokens.prompt_ids) > prompt_length:
        raise ConfigError(f"{name}: a prompt of {len(tokens.prompt_ids)} tokens: raise data.max_prompt_length")
    if len(tokens.response_ids) > response_length:
        raise ConfigError(f"{name}: a response of {len(tokens.response_ids)} tokens: raise data.max_response_length")
    if not sum(tokens.loss_mask):
        raise ConfigError(f"{name}: its prompt leaves no room to say anything: raise data.max_response_length")
    images = images_of(episode.messages)
    if len(images) != len(tokens.images):
        raise InvariantError(f"{name}: {len(images)} images in the messages, {len(tokens.images)} in the tokens")
