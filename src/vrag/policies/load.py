"""Policies by name: what `--policy` takes on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vrag.environment import EnvironmentConfig
from vrag.errors import CheckpointError, UsageError
from vrag.geometry import ViewSpec
from vrag.hub import MODELS, fetch, is_hub_name, quiet_elsewhere, quiet_peft, refuse_pickles

if TYPE_CHECKING:
    from vrag.codecs.qwen_vl import QwenVLCodec

SHIPPED = {"tiny": "vrag-tiny", "tiny-sft": "vrag-tiny-sft"}
SETTINGS = "environment.json"  # beside a checkpoint's config.json: an `EnvironmentConfig`
# frame and patch x merge of each family that the embedded engine runs
FAMILIES: dict[str, tuple[str, int]] = {"qwen2_5_vl": ("absolute", 28), "qwen3_vl": ("relative1000", 32)}


def checkpoint_path(name: str) -> Path:
    """The folder of a shipped checkpoint, of one on disk, or of one on the Hub, owner/name or owner/name@revision,
    fetched at one commit. Raises `UsageError` when there is none, `CheckpointError` when the Hub doesn't give it
    or its weights are pickles.
    """
    if "://" in name:
        raise UsageError(f"{name}: a served model samples no token ids to train on: give the folder of a checkpoint")
    path = MODELS / SHIPPED[name] if name in SHIPPED else Path(name)
    hub_name, _, revision = name.partition("@")
    if not path.exists() and is_hub_name(hub_name):
        path = fetch(hub_name, revision or None)
    if not (path / "config.json").is_file():
        if (path / "final/config.json").is_file():
            raise UsageError(f"{path} is a run; its checkpoint is {path / 'final'}")
        known = ", ".join(SHIPPED)
        raise UsageError(
            f"no checkpoint at {path}: give a folder in the Hub's layout, a Hub name, owner/name, or one of {known}"
        )
    refuse_pickles(path)
    return path


def family_of(path: Path) -> str:
    """The `FAMILIES` name of the checkpoint at `path`; raises `CheckpointError` for a model of none of them."""
    from transformers import AutoConfig

    family = AutoConfig.from_pretrained(str(path)).model_type
    if family not in FAMILIES:
        raise CheckpointError(f"{path}: is a {family!r} model; supported are {', '.join(FAMILIES)}")
    return family


def load_model(path: Path, *, fp32: bool = False) -> Any:
    """The family's own class with the checkpoint's weights, in bf16 on a GPU unless `fp32`, and in fp32 on a CPU; for
    sampling: frozen.
    """
    import torch
    from transformers import AutoModelForImageTextToText

    quiet_elsewhere()
    family_of(path)
    on_gpu = torch.cuda.is_available()
    adapters = path / "adapter_config.json"
    whole = _base_of(adapters) if adapters.is_file() else path.resolve()  # absolute, for adapters keep this name
    model: Any = AutoModelForImageTextToText.from_pretrained(
        str(whole), dtype=torch.bfloat16 if on_gpu and not fp32 else torch.float32
    )
    if adapters.is_file():
        model = _merged(model, path)
    return model.to("cuda" if on_gpu else "cpu").eval().requires_grad_(False)


def _base_of(adapters: Path) -> Path:
    name: str = json.loads(adapters.read_text(encoding="utf-8")).get("base_model_name_or_path") or ""
    base = Path(name)
    if not base.exists() and is_hub_name(name):
        return checkpoint_path(name)
    if not (base / "config.json").is_file():
        raise CheckpointError(f"{adapters}: the checkpoint that these adapters belong to isn't at {base}: put it there")
    return base


def _merged(model: Any, adapters: Path) -> Any:
    try:
        import peft
    except ImportError as failure:
        raise UsageError(f"{adapters} holds adapters, which need peft: pip install 'vrag[lora]'") from failure
    with quiet_peft():
        return peft.PeftModel.from_pretrained(model, str(adapters)).merge_and_unload()


def load_trainable(path: Path, *, whole: bool = True) -> Any:
    """`load_model` for training: all weights take gradients until a stage freezes some. Where they are trained
    themselves, `whole`, they are in fp32: in bf16 most of AdamW's steps of 1e-6 round to nothing. Under adapters, which
    are in fp32 anyway, they may be in bf16.
    """
    return load_model(path, fp32=whole).requires_grad_(True)


def load_codec(path: Path) -> QwenVLCodec:
    from vrag.codecs.qwen_vl import QwenVLCodec

    return QwenVLCodec.from_pretrained(path)


def save_policy(path: Path, model: Any, codec: QwenVLCodec, environment: EnvironmentConfig) -> None:
    """Write a checkpoint in the Hub's layout, with the environment that it was trained in; of a model that peft wraps,
    its adapters alone, which `load_model` puts into their base again.
    """
    model.save_pretrained(path, safe_serialization=True)
    if not (path / "config.json").exists():  # adapters come without
        model.config.save_pretrained(path)
    codec.save_pretrained(path)
    (path / SETTINGS).write_text(environment.model_dump_json(indent=2) + "\n", encoding="utf-8")


def family_view(family: str) -> ViewSpec:
    """The paper's pixel budget in the frame and the image tokens of `family`, one of `FAMILIES`."""
    frame, factor = FAMILIES[family]
    area = factor**2
    return ViewSpec(frame=frame, factor=factor, min_pixels=256 * area, max_pixels=512 * area)  # type: ignore[arg-type]


def view_spec(family: str, codec: QwenVLCodec) -> ViewSpec:
    """Frame, factor and pixel budget of a checkpoint of `family`: what its environment must show."""
    frame, _ = FAMILIES[family]
    size = codec.image_processor.size
    return ViewSpec(
        frame=frame,  # type: ignore[arg-type]
        factor=codec.patch_size * codec.merge_size,
        min_pixels=int(size["shortest_edge"]),
        max_pixels=int(size["longest_edge"]),
    )
