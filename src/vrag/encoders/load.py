"""Encoders by name: what `--encoder` takes on the command line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from vrag.encoders.checkpoint import find_checkpoint, kind_of
from vrag.encoders.dense import DenseEncoder
from vrag.encoders.late_interaction import LateInteractionEncoder
from vrag.encoders.settings import EncoderSettings
from vrag.errors import ConfigError, UsageError
from vrag.imports import imported, is_import_name
from vrag.protocols import PageEncoder

Settings = TypeVar("Settings", bound=BaseModel)


def load_encoder(name: str, **settings: Any) -> PageEncoder:
    """The encoder of a checkpoint (a folder, owner/name on the Hub, or "tiny", which ships with vrag), of the kind that
    the checkpoint is; or the one behind the URL of an encoder server; or what your own factory "module:attribute" makes
    of `settings`. Raises as `loading.load` and `remote.RemoteEncoder`, and `UsageError` for a bad factory.
    """
    if re.match(r"https?://", name):
        return _from_server(name, settings)
    if is_import_name(name) and not Path(name).exists():
        return _from_factory(name, settings)
    chosen = _checked(EncoderSettings, name, {"model": name, **settings})
    if kind_of(find_checkpoint(chosen)) == "dense":
        return DenseEncoder(chosen)
    return LateInteractionEncoder(chosen)


def _checked(model: type[Settings], name: str, settings: dict[str, Any]) -> Settings:
    try:
        return model(**settings)
    except ValidationError as failure:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']} (got {e['input']!r})" for e in failure.errors())
        known = ", ".join(key for key in model.model_fields if key != "model")
        raise ConfigError(f"encoder {name}: {wrong}; the settings are {known}") from failure


def _from_server(url: str, settings: dict[str, Any]) -> PageEncoder:
    try:
        import safetensors  # noqa: F401  # pyright: ignore[reportUnusedImport]

        from vrag.encoders.remote import RemoteSettings, connect
    except ModuleNotFoundError as failure:
        if failure.name not in ("httpx", "stamina", "safetensors"):
            raise
        raise UsageError(f"an encoder server needs {failure.name}: pip install 'vrag[remote]'") from failure
    return connect(url, _checked(RemoteSettings, url, settings))


def _from_factory(name: str, settings: dict[str, Any]) -> PageEncoder:
    encoder = imported(name, "encoder")(**settings)
    if not hasattr(encoder, "encode_pages"):
        raise UsageError(f"encoder {name}: made a {type(encoder).__name__}; a PageEncoder has encode_pages")
    return encoder
