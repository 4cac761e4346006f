"""How served models are asked, as recipes: TOML files in `vrag/recipes/policies`, or one's own.

A recipe names the frame of boxes and the size of images, which can't be found out from a server and which nobody may
guess; and what the model was trained in, where that is known.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from vrag.config import read, resolve
from vrag.environment import EnvironmentConfig
from vrag.errors import ConfigError
from vrag.suggest import did_you_mean
from vrag.types import Frozen

FOLDER = Path(__file__).parent.parent / "recipes" / "policies"


class PolicyRecipe(Frozen):
    """`model`: its name on a server, unless another is given. `omit` and `extra`: as of `vrag.chat.ChatSettings`."""

    about: str = ""
    model: str | None = None
    environment: EnvironmentConfig = EnvironmentConfig()
    omit: tuple[str, ...] = ()
    extra: dict[str, Any] = Field(default_factory=lambda: {})


def policy_recipes() -> dict[str, PolicyRecipe]:
    """Those of the package, by name."""
    return {name: resolve(PolicyRecipe, FOLDER / f"{name}.toml") for name in _names()}


def policy_recipe(name: str) -> PolicyRecipe:
    """By its name, or a TOML file. Raises `ConfigError` for an unknown one, and for one that says no frame."""
    file = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not name.endswith(".toml") and name not in _names():
        hint = did_you_mean(name, _names(), f"there are {', '.join(_names())}, or a TOML file of your own")
        raise ConfigError(f"no recipe {name!r} of a policy; {hint}")
    recipe = resolve(PolicyRecipe, file)
    if "frame" not in _view(file):
        raise ConfigError(f"{file}: environment.view.frame is missing: how does the model write boxes?")
    return recipe


def _view(file: Path) -> dict[str, Any]:
    """What the file itself says of the view."""
    environment = read(file).get("environment", {})
    return environment.get("view", {}) if isinstance(environment, dict) else {}


def _names() -> list[str]:
    return sorted(file.stem for file in FOLDER.glob("*.toml"))
