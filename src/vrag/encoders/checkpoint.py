"""Which folder a model's name stands for, what kind of encoder lies in it, and what identifies its weights.

A Hub repository is fetched to a folder first, at one commit and without pickles and code, and loaded from there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vrag.encoders.settings import EncoderSettings
from vrag.errors import CheckpointError, ConfigError, UsageError
from vrag.hub import FILES, MODELS, fetch, is_hub_name, refuse_pickles

Kind = Literal["late interaction", "dense"]
SHIPPED = {"tiny": "vrag-tiny-encoder"}  # learned vrag's synthetic documents, and knows nothing else


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on this disk; `commit` is the Hub's, None for a folder of the user's own."""

    name: str
    folder: Path
    commit: str | None = None


def require_library() -> Any:
    """sentence-transformers, imported; raises `UsageError` where it is missing, or older than `MultiVectorEncoder`."""
    try:
        import sentence_transformers

        _ = sentence_transformers.MultiVectorEncoder
    except (ImportError, AttributeError) as failure:
        raise UsageError(
            f"encoding pages needs sentence-transformers 6 or newer ({failure}): pip install 'vrag[encoders]'"
        ) from failure
    return sentence_transformers


def find_checkpoint(settings: EncoderSettings) -> Checkpoint:
    """A folder, one that ships with the package by its short name, or the Hub's. Raises `CheckpointError` when there is
    none or its weights are pickles, `ConfigError` for a useless revision.
    """
    folder = MODELS / SHIPPED[settings.model] if settings.model in SHIPPED else Path(settings.model)
    if folder.is_dir():
        if settings.revision is not None:
            raise ConfigError(f"revision {settings.revision!r}: {folder} is a folder, which has none; leave it out")
        found = Checkpoint(settings.model, folder.resolve())
    else:
        found = _from_hub(settings)
    if not any((found.folder / name).is_file() for name in ("config.json", "modules.json")):
        raise CheckpointError(
            f"{found.folder}: holds no model, neither config.json nor modules.json; give a folder in the Hub's layout"
        )
    refuse_pickles(found.folder)
    return found


def _from_hub(settings: EncoderSettings) -> Checkpoint:
    if not is_hub_name(settings.model):
        raise CheckpointError(
            f"{settings.model}: no such folder; give a folder in the Hub's layout or a Hub name, owner/name"
        )
    require_library()
    folder = fetch(settings.model, settings.revision)
    return Checkpoint(settings.model, folder, commit=folder.name)  # the cache keeps each commit in a folder of its name


def kind_of(checkpoint: Checkpoint) -> Kind:
    """As sentence-transformers itself decides: by the saved model type; without modules.json by the architecture."""
    architectures: list[str] = _read(checkpoint, "config.json").get("architectures") or []
    if "HF_ColBERT" in architectures:
        return "late interaction"
    if not (checkpoint.folder / "modules.json").is_file():
        return "late interaction" if any(name.endswith("ForRetrieval") for name in architectures) else "dense"
    saved = _read(checkpoint, "config_sentence_transformers.json").get("model_type") or "SentenceTransformer"
    if saved in ("MultiVectorEncoder", "ColBERT"):
        return "late interaction"
    if saved == "SentenceTransformer":
        return "dense"
    raise CheckpointError(f"{checkpoint.name}: is a {saved}, which encodes no pages; give a retriever's checkpoint")


def _read(checkpoint: Checkpoint, name: str) -> dict[str, Any]:
    path = checkpoint.folder / name
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as failure:
        raise CheckpointError(f"{path}: is not JSON ({failure}); copy or download the checkpoint again") from failure


def fingerprint(checkpoint: Checkpoint, dim: int, max_pixels: int | None) -> str:
    """32 hex digits over the weights, everything else that shapes a vector, and the two settings that change it.

    From the Hub, name and commit stand for the files. Of a folder the contents are hashed, as fine-tuning leaves the
    names and shapes in safetensors' headers as they were. SHA-256 takes some 1.7 GB a second on one core, and the
    files are in memory from being loaded: 3 s for the 4 GB of ColQwen2.
    """
    identity = [checkpoint.name, checkpoint.commit] if checkpoint.commit else list(_contents(checkpoint.folder))
    return hashlib.sha256(json.dumps([identity, dim, max_pixels]).encode()).hexdigest()[:32]


def _contents(folder: Path) -> Iterator[tuple[str, str]]:
    """(path, SHA-256) of each file that matters, hidden folders left out: download tools keep their notes there."""
    for path in sorted({path for pattern in FILES for path in folder.rglob(pattern)}):
        relative = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in relative.parts):
            digest = hashlib.sha256()
            with path.open("rb") as file:
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
            yield relative.as_posix(), digest.hexdigest()
