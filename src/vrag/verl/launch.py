"""A recipe with overrides → verl's own configuration, checked, → verl's trainer."""

# verl has an environment of its own, where these types can't be checked.
# pyright: reportMissingImports=false

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vrag.errors import ConfigError, UsageError

RECIPES = Path(__file__).parent / "recipes"


def recipe_path(recipe: str) -> Path:
    """The file of a recipe: one of vrag's by its name, or one's own by its path. Raises `UsageError`."""
    path = RECIPES / f"{recipe}.yaml" if "/" not in recipe and not recipe.endswith(".yaml") else Path(recipe)
    if not path.is_file() or path == RECIPES / "base.yaml":
        known = ", ".join(sorted(file.stem for file in RECIPES.glob("*.yaml") if file.stem != "base"))
        raise UsageError(f"no recipe {recipe!r}: give one of {known}, or the path of a YAML file")
    return path.resolve()


def compose(recipe: str, overrides: Sequence[str]) -> Any:
    """The whole configuration of a run as verl takes it. Raises `ConfigError` for a key that verl doesn't have, and
    `UsageError` where verl isn't installed.
    """
    path = recipe_path(recipe)
    try:
        import hydra
        import verl  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ImportError as failure:
        raise UsageError(f"this needs {failure.name}: pip install 'vrag[verl]', in an environment of its own") from None
    from hydra.errors import HydraException

    try:
        with hydra.initialize_config_dir(str(path.parent), version_base=None):
            config = hydra.compose(path.stem, overrides=list(overrides))
            recipe_alone = hydra.compose(path.stem)
        with hydra.initialize_config_module("verl.trainer.config", version_base=None):
            known = hydra.compose("ppo_trainer")
    except HydraException as failure:
        raise ConfigError(f"{path}: {failure}") from failure
    _check_keys(path, recipe_alone, known)
    return config


def _check_keys(path: Path, recipe: Any, known: Any) -> None:
    from omegaconf import OmegaConf

    from vrag.verl.checks import unknown_keys

    plain: Any = OmegaConf.to_container(recipe)
    verls: Any = OmegaConf.to_container(known)
    if unknown := unknown_keys({key: plain[key] for key in plain if key != "vrag"}, verls):
        raise ConfigError(f"{path}: verl has no {', '.join(unknown)}: look for the right name in its ppo_trainer.yaml")


def checked(config: Any) -> Any:
    """`config`, if what can be known before anything runs is right: settings, files, corpus and the checkpoint's
    processor. Raises what `vrag.verl.checks` and opening them raise.
    """
    from omegaconf import OmegaConf

    from vrag.verl.checks import check_config

    plain: Any = OmegaConf.to_container(config, resolve=True)
    check_config(plain)
    _open_once(plain)
    return config


def _open_once(plain: dict[str, Any]) -> None:
    """What each agent process will open, with the tokenizer and processor that verl will have; the judge is asked."""
    import json

    from transformers import AutoConfig
    from verl.utils.tokenizer import hf_processor, hf_tokenizer

    from vrag.verl.dataset import VragDataset
    from vrag.verl.shared import shared

    model = plain["actor_rollout_ref"]["model"]["path"]
    tokenizer, processor = hf_tokenizer(model), hf_processor(model)
    for files in (plain["data"]["train_files"], plain["data"]["val_files"]):
        VragDataset(files, tokenizer, plain["data"], processor)
    family = AutoConfig.from_pretrained(model).model_type
    opened = shared(json.dumps(plain["vrag"]), model, family, tokenizer, processor)
    if opened.judge is not None:
        asyncio.run(opened.judge.check())


def train(config: Any) -> None:
    """Run verl's trainer to its end, on the Ray cluster that `RAY_ADDRESS` names, or on this machine alone."""
    from verl.trainer.main_ppo import main

    main(config)
