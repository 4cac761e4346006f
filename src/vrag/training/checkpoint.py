"""Checkpoints that are complete or absent, and from which training continues exactly.

    RUN/checkpoints/step-000120/
        model.safetensors, config.json, tokenizer…   the Hub's layout: any checkpoint is a usable model
        heads.safetensors                            of a stage that trains heads that the model doesn't keep
        optimizer.safetensors                        moments by parameter name
        state.json                                   step and the trainer's own state; written last

A checkpoint is made under a temporary name and renamed, so a name that is there is whole. Random draws are
functions of (seed, step), so no generator state has to be kept.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from vrag.errors import CheckpointError
from vrag.killpoints import killpoint
from vrag.staging import sync_folder

PREFIX = "step-"


def save(
    folder: Path,
    step: int,
    model: Any,
    processor: Any,
    optimizer: Any,
    state: dict[str, Any],
    heads: nn.Module | None = None,
) -> Path:
    """Write the checkpoint of `step` and return its path. `processor` has `save_pretrained(path)`."""
    target = folder / f"{PREFIX}{step:06d}"
    temporary = folder / f".{target.name}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        model.save_pretrained(temporary, safe_serialization=True)
        processor.save_pretrained(temporary)
        killpoint("checkpoint.model")
        if heads is not None:
            save_file(heads.state_dict(), temporary / "heads.safetensors")
        save_file(_optimizer_tensors(_named(model, heads), optimizer), temporary / "optimizer.safetensors")
        (temporary / "state.json").write_text(json.dumps({"step": step, **state}))
        _sync(temporary)
        killpoint("checkpoint.before_rename")
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
        sync_folder(folder)
    except (OSError, SafetensorError) as failure:  # as the library says that a disk is full
        shutil.rmtree(temporary, ignore_errors=True)
        raise CheckpointError(
            f"{target}: can't be written ({failure}); earlier checkpoints are intact: make room and rerun"
        ) from failure
    return target


def newest(folder: Path) -> Path | None:
    """The newest complete checkpoint, or None. What a killed save left behind is ignored."""
    if not folder.is_dir():
        return None
    complete = [path for path in _by_step(folder) if (path / "state.json").is_file()]
    return complete[-1] if complete else None


def prune(folder: Path, keep: int) -> None:
    """Delete all but the newest `keep` checkpoints."""
    complete = _by_step(folder)
    for path in complete[: max(0, len(complete) - keep)]:
        shutil.rmtree(path)


def _by_step(folder: Path) -> list[Path]:
    found = [path for path in folder.iterdir() if path.name.removeprefix(PREFIX).isdigit()]
    return sorted(found, key=lambda path: int(path.name.removeprefix(PREFIX)))


def restore(path: Path, model: Any, optimizer: Any, heads: nn.Module | None = None) -> dict[str, Any]:
    """Load weights and moments in place; returns the trainer's state (with `step`).

    Raises `CheckpointError` when the checkpoint is of another model.
    """
    try:
        _load_weights(path, model)
        if heads is not None:
            heads.load_state_dict(load_file(path / "heads.safetensors"))
        _load_optimizer(load_file(path / "optimizer.safetensors"), _named(model, heads), optimizer)
        return json.loads((path / "state.json").read_text())
    except (OSError, RuntimeError, SafetensorError, ValueError) as failure:
        raise CheckpointError(
            f"{path}: is damaged or of another model ({failure}); delete it, and the same command goes on from the "
            "checkpoint before it, or from the start"
        ) from failure


def _load_weights(path: Path, model: Any) -> None:
    if hasattr(model, "peft_config"):  # wrapped by peft, which saves adapters alone
        model.load_adapter(str(path), model.active_adapter, is_trainable=True)
        return
    saved = type(model).from_pretrained(str(path), dtype=model.dtype)  # the Hub's names differ from ours
    model.load_state_dict(saved.state_dict())


def _named(model: Any, heads: nn.Module | None) -> dict[str, nn.Parameter]:
    """All that is trained, by name."""
    extra = {} if heads is None else {f"heads.{name}": parameter for name, parameter in heads.named_parameters()}
    return {**dict(model.named_parameters()), **extra}


def _optimizer_tensors(parameters: dict[str, nn.Parameter], optimizer: Any) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = {}
    for name, parameter in parameters.items():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{name}|{key}"] = torch.as_tensor(value).detach().clone().contiguous()
    return tensors


def _load_optimizer(tensors: dict[str, torch.Tensor], parameters: dict[str, nn.Parameter], optimizer: Any) -> None:
    for key, value in tensors.items():
        name, slot = key.rsplit("|", 1)
        if name not in parameters:
            raise CheckpointError(f"the optimizer's state names {name}, which the model doesn't have")
        # AdamW keeps its count of steps on the CPU
        optimizer.state[parameters[name]][slot] = value if slot == "step" else value.to(parameters[name].device)


def _sync(folder: Path) -> None:
    for path in folder.iterdir():
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
