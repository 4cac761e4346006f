"""What a policy or an encoder takes: its weights, by the headers of its files, and whether it can run here."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vrag.app.doctor.packages import missing_of
from vrag.encoders import checkpoint as encoders
from vrag.environment import EnvironmentConfig
from vrag.errors import CheckpointError
from vrag.hub import MODELS, is_hub_name
from vrag.policies import load as policies
from vrag.types import Frozen

_HEADER = 100 << 20  # bytes of a safetensors header, at most


class Model(Frozen):
    """Sizes in bytes, None where they aren't known here. `memory` is that of the weights alone, as vrag loads them:
    fp32 on a CPU, bf16 on a GPU. `missing`: why it can't run here.
    """

    name: str
    role: str  # policy, encoder
    disk: int | None
    parameters: int | None
    memory: int | None
    missing: list[str]
    note: str = ""


def shipped(gpu: bool) -> list[Model]:
    """What comes with vrag."""
    found = [extractive()]
    found += [policy(name, gpu) for name in policies.SHIPPED]
    return found + [encoder(name, gpu) for name in encoders.SHIPPED]


def extractive() -> Model:
    return Model(name="extractive", role="policy", disk=0, parameters=0, memory=0, missing=[], note="no model")


def policy(name: str, gpu: bool) -> Model:
    """A checkpoint by the name that `--policy` takes."""
    return extractive() if name == "extractive" else _checkpoint(name, "policy", "models", policies.SHIPPED, gpu)


def encoder(name: str, gpu: bool) -> Model:
    """The same for `--encoder`."""
    return _checkpoint(name, "encoder", "encoders", encoders.SHIPPED, gpu)


def environment(name: str) -> EnvironmentConfig | None:
    """That in which a checkpoint acts, as far as its files say."""
    if name == "extractive":
        return EnvironmentConfig()
    folder = _folder(name, policies.SHIPPED)
    try:
        settings = folder / policies.SETTINGS
        if settings.is_file():
            return EnvironmentConfig.model_validate_json(settings.read_text(encoding="utf-8"))
        family = json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"]
        return EnvironmentConfig(view=policies.family_view(family))
    except (OSError, ValueError, KeyError):
        return None


def _checkpoint(name: str, role: str, extra: str, shipped: Mapping[str, str], gpu: bool) -> Model:
    folder = _folder(name, shipped)
    missing = [f"{one}: pip install 'vrag[{extra}]'" for one in missing_of(extra)]
    if not folder.is_dir() and is_hub_name(name.partition("@")[0]):
        unknown: dict[str, Any] = {"disk": None, "parameters": None, "memory": None}
        missing += [f"{one}: pip install 'vrag[hub]'" for one in missing_of("hub")]
        return Model(name=name, role=role, **unknown, missing=missing, note="on the Hub; its size isn't known here")
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        missing.append(f"no weights (*.safetensors) in {folder}")
    try:
        parameters = sum(map(count, files)) if files else None
    except CheckpointError as error:
        parameters, missing = None, [*missing, str(error)]
    adapters = (folder / "adapter_config.json").is_file()  # they are merged into a base of another size
    memory = None if parameters is None or adapters else parameters * (2 if gpu else 4)
    disk = sum(file.stat().st_size for file in files) if files else None
    return Model(name=name, role=role, disk=disk, parameters=parameters, memory=memory, missing=missing)


def _folder(name: str, shipped: Mapping[str, str]) -> Path:
    return MODELS / shipped[name] if name in shipped else Path(name).expanduser()


def count(file: Path) -> int:
    """Numbers in a safetensors file, by its header. Raises `CheckpointError` for what is none."""
    try:
        with file.open("rb") as content:
            (length,) = struct.unpack("<Q", content.read(8))
            if length > _HEADER:
                raise ValueError("its header is too long")
            header: dict[str, Any] = json.loads(content.read(length))
        return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
    except (OSError, ValueError, struct.error, KeyError, TypeError) as error:
        raise CheckpointError(f"{file}: is no whole safetensors file ({error}): copy it again") from error
