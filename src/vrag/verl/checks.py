"""What must hold: without these checks verl trains on, blind or on something else.

A failure of one episode is only logged by verl, so what can be known before is checked before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from vrag.errors import CheckpointError, ConfigError, InfrastructureError
from vrag.geometry import ViewSpec

PROCESSORS = {"qwen2_5_vl": "Qwen2_5_VLProcessor", "qwen3_vl": "Qwen3VLProcessor"}
ENGINES = ("vllm", "sglang")
_ROLLOUT, _MODEL = "actor_rollout_ref.rollout", "actor_rollout_ref.model"
_SAMPLER = "trainer.v1.sampler.custom_sampler"

_NEEDED = ("vrag.corpus", "data.train_files", "data.val_files", f"{_MODEL}.path")
_MISSING = "???"  # how OmegaConf writes what must be given

# what the recipes set, and what goes wrong otherwise
_REQUIRED: dict[str, tuple[Any, str]] = {
    "trainer.use_v1": (True, "the older trainer stops at the first episode without a reward"),
    "trainer.v1.trainer_mode": ("sync", "unscored episodes are counted in this mode only"),
    f"{_SAMPLER}.path": ("pkg://vrag.verl.sampler", "unscored episodes would go unnoticed"),
    f"{_SAMPLER}.name": ("CountingReplayBuffer", "unscored episodes would go unnoticed"),
    f"{_MODEL}.external_lib": ("vrag.verl.agent_loop", "verl wouldn't know the agent loop"),
    f"{_ROLLOUT}.agent.default_agent_loop": ("vrag", "episodes would have a single turn and no search"),
    f"{_ROLLOUT}.calculate_log_probs": (True, "the policy's own log-probabilities would be lost"),
    "data.custom_cls.path": ("pkg://vrag.verl.dataset", "verl reads no task files"),
    "data.custom_cls.name": ("VragDataset", "verl reads no task files"),
    "data.mm_processor_kwargs": ({}, "the trainer would see other images than the rollout"),
    "algorithm.adv_estimator": ("grpo", "episodes are compared within their group"),
    "reward.reward_model.enable": (False, "the reward is given inside the episode"),
}


def check_config(config: Mapping[str, Any]) -> None:
    """Raise `ConfigError` naming each key of a resolved verl configuration with which training would go wrong."""
    wrong = [f"{key} is missing" for key in _NEEDED if _get(config, key) in (None, _MISSING)]
    wrong += [
        f"{key} is {_get(config, key)!r} and must be {wanted!r}: {why}"
        for key, (wanted, why) in _REQUIRED.items()
        if _get(config, key) != wanted
    ]
    wrong += [*_engine(config), *_lengths(config)]
    if wrong:
        raise ConfigError("; ".join(wrong))


def _engine(config: Mapping[str, Any]) -> list[str]:
    wrong: list[str] = []
    engine, samples = _get(config, f"{_ROLLOUT}.name"), _get(config, f"{_ROLLOUT}.n")
    if engine not in ENGINES:
        wrong.append(f"{_ROLLOUT}.name is {engine!r} and must be one of {', '.join(ENGINES)}")
    if not isinstance(samples, int) or samples < 2:
        wrong.append(f"{_ROLLOUT}.n is {samples!r}: an episode alone has nothing to be compared with, set 2 or more")
    return wrong


def _lengths(config: Mapping[str, Any]) -> list[str]:
    """A context of `response_length` tokens must fit into what the engine and a micro-batch may hold."""
    context = _get(config, f"{_ROLLOUT}.response_length")
    if not isinstance(context, int):
        return [f"{_ROLLOUT}.response_length is {context!r}: give the tokens of an episode's whole context"]
    holders = [f"{_ROLLOUT}.max_model_len"]
    if _get(config, "actor_rollout_ref.actor.use_dynamic_bsz"):
        holders.append("actor_rollout_ref.actor.ppo_max_token_len_per_gpu")
    return [
        f"{key} is {held}, less than the {context} tokens of an episode ({_ROLLOUT}.response_length)"
        for key in holders
        if isinstance(held := _get(config, key), int) and held < context
    ]


def _get(config: Mapping[str, Any], key: str) -> Any:
    value: Any = config
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def unknown_keys(config: Mapping[str, Any], known: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The dotted keys of `config` that verl's own configuration doesn't have. Groups that are empty there take any key.

    Hydra refuses an unknown key on the command line only: in a file it makes a new one, which nobody reads.
    """
    found: list[str] = []
    for key, value in config.items():
        if key not in known:
            found.append(f"{prefix}{key}")
        elif isinstance(value, Mapping) and isinstance(below := known[key], Mapping) and below:
            found += unknown_keys(value, below, f"{prefix}{key}.")
    return found


def check_processor(processor: Any, model: str) -> None:
    """Raise `CheckpointError` unless verl has the whole processor of a family that is supported: where building it
    fails, verl only warns, and trains on text alone.
    """
    if processor is None:
        raise CheckpointError(
            f"{model}: verl has no processor for this checkpoint, and would train without images. Its warning "
            '"Failed to create processor" says why; often torchvision is missing, or preprocessor_config.json'
        )
    name = type(processor).__name__
    if name not in PROCESSORS.values():
        raise CheckpointError(f"{model}: has a {name}; supported are {', '.join(PROCESSORS.values())}")
    if not hasattr(processor, "get_rope_index"):
        raise CheckpointError(f"{model}: verl gave its {name} no get_rope_index, so positions of images would be lost")


def check_family(processor: Any, family: str | None, model: str) -> None:
    """Raise `CheckpointError` unless the processor is that of the model's `family`."""
    if (wanted := PROCESSORS.get(family or "")) != type(processor).__name__:
        raise CheckpointError(f"{model}: is a {family!r} model with a {type(processor).__name__}, not {wanted}")


def check_views(view: ViewSpec, image_processor: Any, model: str) -> None:
    """Raise `ConfigError` unless the image processor leaves every view at its size: the trainer encodes images anew,
    and what it resized would have other tokens than the rollout had.
    """
    factor = int(image_processor.patch_size) * int(image_processor.merge_size)
    size = image_processor.size
    least, most = int(size["shortest_edge"]), int(size["longest_edge"])
    if view.factor != factor:
        raise ConfigError(f"vrag.environment.view.factor is {view.factor}, and the patches of {model} need {factor}")
    if view.min_pixels < least or view.max_pixels > most:
        raise ConfigError(
            f"vrag.environment.view shows {view.min_pixels} to {view.max_pixels} pixels, and the image processor of "
            f"{model} resizes what has not {least} to {most}: change one of the two"
        )


def check_unscored(unscored: int, expected: int, most: float, name: str) -> None:
    """Raise `InfrastructureError` when more than the share `most` of the episodes have no reward."""
    if unscored > most * expected:
        raise InfrastructureError(
            f"{name}: {unscored} of {expected} episodes have no reward; the agent loop workers logged why. Fix what "
            "fails and rerun: training continues from its checkpoint"
        )


def lone_keys(keys: Sequence[str]) -> list[str]:
    """The keys, uid_session_index, of episodes that have no other of their group beside them."""
    groups = Counter(key.rsplit("_", 2)[0] for key in keys)
    return [key for key in keys if groups[key.rsplit("_", 2)[0]] < 2]
