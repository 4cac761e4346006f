"""Model folders from the Hugging Face Hub and to it, by huggingface_hub: no pickles, and no code that runs."""

from __future__ import annotations

import json
import re
import sys
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vrag.errors import CheckpointError, InfrastructureError, UsageError

MODELS = Path(__file__).parent / "models"  # what ships with the package
FILES = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model")  # weights, settings, tokenizers; nothing that runs
PICKLES = ("pytorch_model*.bin", "adapter_model.bin")
NOT_PUSHED = ("optimizer.safetensors", "heads.safetensors", "state.json", ".*", "*/.*")  # of training, and hidden


def quiet_elsewhere() -> None:
    """No progress bars of transformers where there is no terminal to show them: they would fill a log."""
    from transformers.utils import logging

    if not sys.stderr.isatty():
        logging.disable_progress_bar()


@contextmanager
def quiet_peft() -> Generator[None]:
    """Without its warning that an attribute of transformers, which it reads, has a new name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def is_hub_name(name: str) -> bool:
    """Whether `name` reads owner/name."""
    return re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", name) is not None


def fetch(name: str, revision: str | None = None) -> Path:
    """The folder of `owner/name` in the Hub's cache, fetched where it isn't there yet; the folder's name is the commit.

    Raises `CheckpointError` when the Hub doesn't give it, `UsageError` without huggingface_hub.
    """
    try:
        import huggingface_hub
    except ImportError as failure:
        raise UsageError(f"fetching {name} needs huggingface_hub: pip install 'vrag[hub]'") from failure
    try:
        return Path(huggingface_hub.snapshot_download(name, revision=revision, allow_patterns=list(FILES)))
    except _failures() as failure:
        raise CheckpointError(
            f"{name}: no such folder, and the Hub doesn't give it ({failure}); check name, revision, network "
            "and access, or download it and give its folder"
        ) from failure


def refuse_pickles(folder: Path) -> None:
    """Raises `CheckpointError` where weights lie as a pickle alone: loading one can run code."""
    for pattern in PICKLES:
        for weights in folder.rglob(pattern):
            if not any(weights.parent.glob("*.safetensors")):
                raise CheckpointError(
                    f"{weights}: only safetensors are loaded, and this is a pickle; load it where you trust it and "
                    "save it again with save_pretrained"
                )


def push(folder: Path, name: str, *, private: bool = False) -> str:
    """Upload the checkpoint in `folder` as the model `owner/name`, made where it isn't there; returns its address.

    The token is huggingface_hub's own: from `hf auth login`, or HF_TOKEN. What training keeps beside a checkpoint isn't
    uploaded. Raises `UsageError` for a bad name, without a token or the right to write, or where `private` is asked
    for and the model is public; `CheckpointError` for what is no whole checkpoint; `InfrastructureError` when the Hub
    can't be reached.
    """
    if not is_hub_name(name):
        raise UsageError(f"{name!r} is no name on the Hub: write owner/name")
    check_whole(folder)
    try:
        import huggingface_hub
    except ImportError as failure:
        raise UsageError("pushing needs huggingface_hub: pip install 'vrag[hub]'") from failure
    api = huggingface_hub.HfApi()
    try:
        if huggingface_hub.get_token() is None:
            raise UsageError("no token for the Hub: run `hf auth login`, or set HF_TOKEN to one that may write")
        address = str(api.create_repo(name, private=private, exist_ok=True))
        if private and not api.model_info(name).private:
            raise UsageError(f"{name} is there and public: make it private on the Hub first, or push to another name")
        api.upload_folder(
            repo_id=name,
            folder_path=folder,
            allow_patterns=[*FILES, "*.md", "LICENSE*"],
            ignore_patterns=list(NOT_PUSHED),
            commit_message="Upload by vrag",
        )
    except _failures() as failure:
        raise _refusal(name, failure) from failure
    return address


def _failures() -> tuple[type[BaseException], ...]:
    """What huggingface_hub raises: its HTTP library, which differs by version, has an error of its own."""
    from huggingface_hub.errors import HfHubHTTPError

    return (*HfHubHTTPError.__bases__, OSError, ValueError)


def _refusal(name: str, failure: BaseException) -> UsageError | InfrastructureError:
    status = getattr(getattr(failure, "response", None), "status_code", None)
    if status in (401, 403, 404):
        return UsageError(
            f"the Hub refuses to write {name} ({failure}); log in with `hf auth login`, or set HF_TOKEN to a token "
            "that may write there, and check the owner"
        )
    return InfrastructureError(f"{name} wasn't pushed ({failure}); check the network and run the same command again")


def check_whole(folder: Path) -> None:
    """Raises `CheckpointError` saying what is missing unless `folder` holds a checkpoint that others can load:
    settings, whole safetensors, a tokenizer, and of adapters a base that is on the Hub.
    """
    if not any((folder / name).is_file() for name in ("config.json", "modules.json")):
        raise CheckpointError(f"{folder}: holds no checkpoint (no config.json); give the folder of one, like RUN/final")
    refuse_pickles(folder)
    adapters = folder / "adapter_config.json"
    for path in _weights(folder, "adapter_model" if adapters.is_file() else "model"):
        _check_safetensors(path)
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json")):
        raise CheckpointError(f"{folder}: has no tokenizer; save the whole model there, as RUN/final is")
    if adapters.is_file():
        base = str(_json(adapters).get("base_model_name_or_path") or "")
        if not is_hub_name(base):
            raise CheckpointError(
                f"{adapters}: these adapters belong to {base or 'no base'}, which is no name on the Hub: train with "
                "lora.merge=true, or write the base's owner/name there"
            )


def _weights(folder: Path, stem: str) -> Iterator[Path]:
    index = folder / f"{stem}.safetensors.index.json"
    if not index.is_file():
        yield folder / f"{stem}.safetensors"
        return
    yield from (folder / name for name in sorted(set(_json(index).get("weight_map", {}).values())))


def _check_safetensors(path: Path) -> None:
    """By the header: its length in 8 bytes, then JSON with where each tensor ends."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if size > path.stat().st_size:
                raise ValueError("cut off")
            header = json.loads(file.read(size))
        ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
        if 8 + size + max(ends, default=0) != path.stat().st_size:
            raise ValueError("cut off")
    except FileNotFoundError as failure:
        raise CheckpointError(f"{path}: is missing, so the checkpoint isn't whole; save or copy it again") from failure
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as failure:
        raise CheckpointError(f"{path}: is damaged ({failure}); save or copy the checkpoint again") from failure


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as failure:
        raise CheckpointError(f"{path}: can't be read as JSON ({failure}); copy the checkpoint again") from failure
