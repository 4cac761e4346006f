"""Recipes: TOML → pydantic, with dotted overrides from the command line.

Every setting has a default in its model, so a recipe names only what it changes. An unknown key is an error that
suggests the nearest; the resolved configuration is saved with the run.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from vrag.errors import ConfigError
from vrag.suggest import nearest

tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

Model = TypeVar("Model", bound=BaseModel)


def resolve(
    model: type[Model], recipe: Path | None = None, overrides: Sequence[str] = (), base: Model | None = None
) -> Model:
    """`base`, by default `model`'s defaults, with the values of the TOML file `recipe` and then of `overrides`.

    An override is "a.b=value", the value in TOML or bare text. Raises `ConfigError` that names the key and, for
    an unknown one, the nearest.
    """
    values = (base or model()).model_dump()
    if recipe:
        values = merged(values, read(recipe))
    for override in overrides:
        _set(values, override)
    return validated(model, values, str(recipe) if recipe else None)


def validated(model: type[Model], values: dict[str, Any], where: str | None = None) -> Model:
    """`values` as a `model`. Raises `ConfigError` as `resolve` does, beginning with `where` they come from."""
    try:
        return model.model_validate(values)
    except ValidationError as failure:
        why = "; ".join(_explain(model, error) for error in failure.errors())
        raise ConfigError(f"{where}: {why}" if where else why) from failure


def changes(overrides: Sequence[str]) -> dict[str, Any]:
    """Overrides alone, as nested values: for what has a model of its own elsewhere."""
    values: dict[str, Any] = {}
    for override in overrides:
        _set(values, override)
    return values


def merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`values` with `changes` laid over: groups are merged, so that a recipe keeps the defaults it doesn't name."""
    result = dict(values)
    for key, change in changes.items():
        old = result.get(key)
        result[key] = merged(old, change) if isinstance(old, dict) and isinstance(change, dict) else change
    return result


def read(recipe: Path) -> dict[str, Any]:
    """What a TOML file says itself. Raises `ConfigError`."""
    try:
        return tomllib.loads(recipe.read_text(encoding="utf-8"))
    except OSError as failure:
        raise ConfigError(f"{recipe}: can't be read: {failure.strerror}") from failure
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as failure:
        raise ConfigError(f"{recipe}: is not TOML: {failure}") from failure


def _set(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise ConfigError(f"--set {override}: write key=value, for example optimizer.lr=1e-5")
    *parents, last = key.strip().split(".")
    group: Any = values
    for parent in parents:
        if group.get(parent) is None:  # a group that is off until one of its settings is named
            group[parent] = {}
        group = group[parent]
        if not isinstance(group, dict):
            raise ConfigError(f"--set {override}: {parent} is a value, not a group")
    group[last] = _value(text.strip())


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _explain(model: type[BaseModel], error: Any) -> str:
    path = ".".join(str(part) for part in error["loc"])
    if error["type"] == "value_error":  # a model's own check, which says all and whose input is the whole group
        return f"{path}: {error['ctx']['error']}" if path else str(error["ctx"]["error"])
    if error["type"] != "extra_forbidden":
        return f"{path}: {error['msg']} (got {json.dumps(error['input'], default=str)})"
    near = nearest(path, keys(model), cutoff=0.4)
    return f"unknown key {path}" + (f": did you mean {near}?" if near else "")


def keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Every dotted key that `model` knows."""
    found: list[str] = []
    for name, field in model.model_fields.items():
        found.append(f"{prefix}{name}")
        for kind in (field.annotation, *get_args(field.annotation)):  # a group may be off, or one of several
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                found += keys(kind, f"{prefix}{name}.")
    return found
