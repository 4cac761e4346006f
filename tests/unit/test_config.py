"""Recipes and overrides: defaults kept, unknown keys named with the nearest."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from vrag.config import keys, resolve
from vrag.errors import ConfigError


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    lr: float = 1.0
    warmup: float = 0.1


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    steps: int = 10
    name: str = "a"
    inner: Inner = Inner(lr=5.0)


def test_an_override_of_one_key_keeps_the_recipes_other_defaults() -> None:
    resolved = resolve(Outer, None, ["inner.warmup=0.5"])
    assert resolved.inner.lr == 5.0
    assert resolved.inner.warmup == 0.5


def test_a_file_is_laid_over_the_defaults_and_overrides_over_the_file(tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text("steps = 3\n[inner]\nlr = 2.0\n")
    resolved = resolve(Outer, recipe, ["steps=4", "name=plain text"])
    assert (resolved.steps, resolved.name, resolved.inner.lr, resolved.inner.warmup) == (4, "plain text", 2.0, 0.1)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("stesp=1", "unknown key stesp: did you mean steps"),
        ("inner.wramup=1", "did you mean inner.warmup"),
        ("steps=many", "steps"),
        ("steps", "key=value"),
        ("steps.deep=1", "not a group"),
    ],
)
def test_what_cannot_be_set_is_said_with_the_key(override: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        resolve(Outer, None, [override])


def test_a_file_that_is_not_toml_is_named(tmp_path: Path) -> None:
    recipe = tmp_path / "broken.toml"
    recipe.write_text("steps = = 3")
    with pytest.raises(ConfigError, match=r"broken\.toml"):
        resolve(Outer, recipe)


def test_all_dotted_keys_are_known() -> None:
    assert keys(Outer) == ["steps", "name", "inner", "inner.lr", "inner.warmup"]
