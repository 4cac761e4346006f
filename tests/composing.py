"""The files for Docker Compose, read as Compose reads them, as far as they need it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
BASE, GPU = ROOT / "compose.yaml", ROOT / "compose.gpu.yaml"
_VARIABLE = re.compile(r"\$\{(\w+)(?:(:-|:\?)([^}]*))?\}")


def variables(*files: Path) -> set[str]:
    return {found[1] for file in files for found in _VARIABLE.finditer(file.read_text("utf-8"))}


def services(*files: Path, environment: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The services of the files, later ones over earlier ones: a mapping is merged, anything else replaced, which holds
    of commands (Compose appends other lists). Raises `KeyError` for a variable that has to be set.
    """
    merged: dict[str, Any] = {}
    for file in files:
        _merge(merged, yaml.safe_load(_VARIABLE.sub(lambda found: _value(found, environment), file.read_text("utf-8"))))
    return merged["services"]


def _value(found: re.Match[str], environment: Mapping[str, str]) -> str:
    name, how, text = found.groups()
    if environment.get(name):
        return environment[name]
    if how == ":?":
        raise KeyError(f"{name}: {text}")
    return text or ""


def _merge(base: dict[str, Any], over: dict[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            _merge(base[key], value)
        else:
            base[key] = value
