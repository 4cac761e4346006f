"""The paper's agent and its baselines, as recipes of the one environment: TOML files in `vrag/recipes`, or one's own.

A recipe changes the environment that the policy brings with it, so the frame of its boxes and the size of its images
stay. Retriever, policy and judge are the same for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vrag.config import resolve
from vrag.environment import EnvironmentConfig
from vrag.errors import ConfigError
from vrag.prompts import PROMPTS
from vrag.suggest import did_you_mean
from vrag.types import Frozen

FOLDER = Path(__file__).parent.parent / "recipes"


class Baseline(Frozen):
    """What a recipe says: `about` in one line, and the settings of the environment that it changes."""

    about: str = ""
    environment: EnvironmentConfig = EnvironmentConfig()


def baselines() -> dict[str, Baseline]:
    """The recipes of the package by name, laid over the default environment."""
    return {name: resolve(Baseline, FOLDER / f"{name}.toml") for name in _names()}


def baseline_environment(
    own: EnvironmentConfig, recipe: str | None = None, overrides: Sequence[str] = ()
) -> EnvironmentConfig:
    """`own`, a policy's environment, with what `recipe` (a name, or a TOML file) and then `overrides` change.

    A policy that was trained on a prompt without instructions keeps it: others would be strange to it. Raises
    `ConfigError` for an unknown recipe, and for settings that don't go together.
    """
    brief = [f'environment.prompt="{own.prompt}"'] if recipe and not PROMPTS[own.prompt].actions else []
    changes = [f"environment.{override}" for override in overrides]
    return resolve(
        Baseline, _file(recipe) if recipe else None, [*brief, *changes], Baseline(environment=own)
    ).environment


def _file(recipe: str) -> Path:
    if recipe.endswith(".toml"):
        return Path(recipe)
    known = _names()
    if recipe not in known:
        hint = did_you_mean(recipe, known, f"there are {', '.join(known)}, or a TOML file of your own")
        raise ConfigError(f"no recipe {recipe!r}; {hint}")
    return FOLDER / f"{recipe}.toml"


def _names() -> list[str]:
    return sorted(file.stem for file in FOLDER.glob("*.toml"))
