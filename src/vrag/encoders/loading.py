"""A checkpoint to a sentence-transformers model that is safe to use: no remote code, no pickle, no random weights."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from vrag.encoders.checkpoint import Checkpoint, Kind, find_checkpoint, fingerprint, kind_of, require_library
from vrag.encoders.settings import EncoderSettings
from vrag.errors import CheckpointError, ConfigError
from vrag.hub import quiet_elsewhere

CLASSES: dict[Kind, str] = {"late interaction": "MultiVectorEncoder", "dense": "SentenceTransformer"}


@dataclass(frozen=True)
class Loaded:
    """A model ready to encode, `dim` wide after truncation."""

    model: Any
    dim: int
    fingerprint: str


def load(kind: Kind, settings: EncoderSettings) -> Loaded:
    """Raises `CheckpointError` for what can't be loaded or is no encoder of pages of this kind, `ConfigError` for
    settings that the checkpoint or the machine can't follow, `UsageError` when the extra isn't installed.
    """
    library = require_library()
    checkpoint = find_checkpoint(settings)
    if kind_of(checkpoint) != kind:
        raise CheckpointError(f"{settings.model}: is no {kind} encoder; load_encoder picks the right one")
    quiet_elsewhere()
    device = _device(settings.device)
    model = _construct(getattr(library, CLASSES[kind]), checkpoint, settings, device)
    if kind == "dense" and not (checkpoint.folder / "modules.json").is_file() and len(model) > 1:
        raise CheckpointError(
            f"{settings.model}: is a bare model, over which sentence-transformers would average; no retriever"
        )
    if not model.supports("image"):
        raise CheckpointError(f"{settings.model}: reads {', '.join(map(str, model.modalities))}, but no images")
    if settings.max_pixels is not None:
        _limit_pixels(model, settings.max_pixels)
    dim = _dim(model, settings)
    return Loaded(model.eval().requires_grad_(False), dim, fingerprint(checkpoint, dim, settings.max_pixels))


def _device(name: str) -> str:
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as failure:
        raise ConfigError(f"device {name!r}: torch knows none of this name; use auto, cpu, cuda or cuda:1") from failure
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device {name!r}: torch sees {torch.cuda.device_count()} GPUs here; use auto or cpu")
    return name


def _construct(make: Any, checkpoint: Checkpoint, settings: EncoderSettings, device: str) -> Any:
    import torch
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    fastest = "bfloat16" if device.startswith("cuda") else "float32"
    dtype = getattr(torch, fastest if settings.dtype == "auto" else settings.dtype)
    kwargs = {"dtype": dtype, "use_safetensors": True}
    try:
        with _missing_weights() as missing:
            model = make(str(checkpoint.folder), device=device, trust_remote_code=False, model_kwargs=kwargs)
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        ImportError,
        RuntimeError,
        SafetensorError,
        StrictDataclassError,
    ) as failure:
        raise CheckpointError(
            f"{checkpoint.folder}: can't be loaded ({type(failure).__name__}: {failure}); it must be complete, hold "
            "its weights as safetensors, and need no code of its own"
        ) from failure
    if missing:
        raise CheckpointError(f"{checkpoint.folder}: lacks weights of its model; download it again ({missing[0]})")
    return model


@contextmanager
def _missing_weights() -> Generator[list[str]]:
    """What transformers logs about weights that a checkpoint lacks. It fills them in at random, with no more than this
    warning, and sentence-transformers doesn't pass on its `output_loading_info`.
    """
    logger = logging.getLogger("transformers.modeling_utils")
    reports: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            rows = [line.split("|") for line in record.getMessage().splitlines()]
            names = [row[0].strip() for row in rows if len(row) > 1 and "MISSING" in row[1]]
            if names:
                reports.append(", ".join(names))

    handler, level, propagate = Collect(logging.WARNING), logger.level, logger.propagate
    if not logger.isEnabledFor(logging.WARNING):  # the user wants silence: listen, but let nothing through
        logger.setLevel(logging.WARNING)
        logger.propagate = False
    logger.addHandler(handler)
    try:
        yield reports
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


def _limit_pixels(model: Any, max_pixels: int) -> None:
    """Qwen's processors count an image's pixels; the others have a fixed size or limit its longer side."""
    images: Any = getattr(model.processor, "image_processor", None)
    if "max_pixels" not in getattr(getattr(images, "valid_kwargs", None), "__annotations__", {}):
        raise ConfigError(
            f"max_pixels: {type(model.processor).__name__} has no such limit, its images have sizes of their own; "
            "leave it out"
        )
    least = int(images.size["shortest_edge"])  # pixels in all, whatever the name says
    if max_pixels < least:
        raise ConfigError(f"max_pixels: {max_pixels} is below the {least} that this processor enlarges images to")
    images.size = type(images.size)(shortest_edge=least, longest_edge=max_pixels)


def _dim(model: Any, settings: EncoderSettings) -> int:
    own: int | None = model.get_embedding_dimension()
    if own is None:
        raise CheckpointError(f"{settings.model}: none of its modules says how wide its vectors are")
    if settings.dim is not None and settings.dim > own:
        raise ConfigError(f"dim: {settings.model} makes vectors of {own} coordinates, not of {settings.dim}")
    return settings.dim or own
