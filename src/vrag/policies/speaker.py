"""A policy by name, with what it needs to be run as it was trained: its codec and its environment's
settings."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from vrag.environment import EnvironmentConfig
from vrag.errors import CheckpointError, UsageError
from vrag.geometry import ViewSpec
from vrag.imports import imported, is_import_name
from vrag.policies.extractive import ExtractivePolicy
from vrag.policies.load import (
    FAMILIES,
    SETTINGS,
    checkpoint_path,
    family_of,
    family_view,
    load_codec,
    load_model,
    view_spec,
)
from vrag.policies.served import ServedPolicy, ServedSettings, served_environment
from vrag.protocols import Codec, PageStore, Policy
from vrag.scene import OwnAction

if TYPE_CHECKING:
    from vrag.codecs.qwen_vl import QwenVLCodec


@dataclass(frozen=True)
class Speaker:
    """`codec` is None for a policy that speaks text only; `actions` are of one's own, beside those of `config`."""

    name: str
    policy: Policy
    codec: Codec | None
    config: EnvironmentConfig
    actions: tuple[OwnAction, ...] = ()


SpeakerOf = Callable[[PageStore], Speaker]


def speaker(name: str, store: PageStore, served: ServedSettings | None = None) -> Speaker:
    """The policy called `name`, over one store; see `load_speaker`."""
    return load_speaker(name, served)(store)


def load_speaker(name: str, served: ServedSettings | None = None) -> SpeakerOf:
    """What gives the same policy over any store, its model loaded once: `extractive`, a shipped checkpoint ("tiny",
    "tiny-sft"), the folder of one in the Hub's layout, the model that `served` says how to ask, whatever the `name`, or
    what your own "module:attribute" makes of each store: a `Speaker`.

    A checkpoint that vrag trained says in `environment.json` what it was trained with. Any other one gets the
    paper's settings, with the pixel budget of its image processor where the paper's isn't within that.
    """
    if served is not None:
        return _anywhere(Speaker(served.model, ServedPolicy(served), None, served_environment(served)))
    if name == "extractive":
        config = EnvironmentConfig()
        return lambda store: Speaker(name, ExtractivePolicy(store, config.view), None, config)
    if is_import_name(name) and not Path(name).exists():
        return _own(name)
    try:
        return _anywhere(_checkpoint(name))
    except ModuleNotFoundError as error:
        raise UsageError(f"policy {name!r} needs {error.name}: pip install 'vrag[models]'") from error


def _own(name: str) -> SpeakerOf:
    make = imported(name, "policy")

    def made(store: PageStore) -> Speaker:
        _check_call(name, make, store)
        found = make(store)
        if not isinstance(found, Speaker):
            raise UsageError(f"policy {name}: made a {type(found).__name__} of a store; it has to make a Speaker")
        return found

    return made


def _check_call(name: str, make: Any, store: PageStore) -> None:
    """Before it is called, so that an error of its own keeps its traceback."""
    try:
        inspect.signature(make).bind(store)
    except ValueError:  # of one that isn't written in Python nothing is known
        pass
    except TypeError as error:
        made = "it has to be a function that makes a Speaker of one"
        raise UsageError(f"policy {name}: can't be called with a store ({error}); {made}") from error


def _anywhere(speaker: Speaker) -> SpeakerOf:
    return lambda _: speaker


def _checkpoint(name: str) -> Speaker:
    try:
        path = checkpoint_path(name)
    except UsageError as error:
        raise UsageError(f"{error}; or extractive, which needs no model") from error
    settings = _settings(path)  # before the model: a damaged file is reported at once
    from vrag.policies.transformers import TransformersPolicy

    model, codec = load_model(path), load_codec(path)
    config = settings or environment_of(path, model, codec)
    return Speaker(name, TransformersPolicy(model, codec), codec, config)


def environment_of(path: Path, model: Any, codec: QwenVLCodec) -> EnvironmentConfig:
    """The environment that the checkpoint at `path` was trained in, or the paper's within its pixel budget."""
    return _settings(path) or EnvironmentConfig(view=_budget(view_spec(model.config.model_type, codec)))


def environment_for(target: str) -> EnvironmentConfig:
    """The environment in which data for `target` is made, without loading its weights: a family with the paper's
    settings and pixel budget, or a checkpoint by its name or folder.
    """
    if target in FAMILIES:
        return EnvironmentConfig(view=family_view(target))
    try:
        path = checkpoint_path(target)
    except UsageError as error:
        raise UsageError(f"{error}; or the family alone: {', '.join(FAMILIES)}") from error
    if settings := _settings(path):
        return settings
    try:
        return EnvironmentConfig(view=_budget(view_spec(family_of(path), load_codec(path))))
    except ModuleNotFoundError as error:
        raise UsageError(f"reading {path} needs {error.name}: pip install 'vrag[models]'") from error


def _settings(path: Path) -> EnvironmentConfig | None:
    file = path / SETTINGS
    if not file.is_file():
        return None
    try:
        return EnvironmentConfig.model_validate_json(file.read_text(encoding="utf-8"))
    except (ValidationError, OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{file}: {error}; restore it, or remove it for the paper's settings") from error


def _budget(own: ViewSpec) -> ViewSpec:
    """The paper's pixel budget if the image processor would leave such images alone, else its own."""
    area = own.factor**2
    paper = own.model_copy(update={"min_pixels": 256 * area, "max_pixels": 512 * area})
    return paper if own.min_pixels <= paper.min_pixels and paper.max_pixels <= own.max_pixels else own
