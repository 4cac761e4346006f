"""Where a dataset's files are: in a folder, or on the Hub, from where they are fetched to its cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vrag.errors import DataError, UsageError
from vrag.hub import is_hub_name


@dataclass(frozen=True)
class Located:
    """`revision` is the Hub's commit, None for a folder."""

    folder: Path
    revision: str | None = None


def located(name: str, patterns: Sequence[str], revision: str | None = None) -> Located:
    """A folder as it is, or the files of owner/name on the Hub that match `patterns`.

    Raises `DataError` when there is neither, or the Hub wants its terms accepted first, and `UsageError` for a missing
    extra and for a revision of a folder.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        if revision is not None:
            raise UsageError(f"--revision is for the Hub; {name} is a folder, which has none; leave it out")
        return Located(path.resolve())
    folder = _fetched(name, patterns, revision)
    return Located(folder, folder.name)  # the cache keeps each commit in a folder of its name


def _fetched(name: str, patterns: Sequence[str], revision: str | None) -> Path:
    if not is_hub_name(name):
        raise DataError(f"{name}: no such folder; give a folder in the Hub's layout or a Hub name, owner/name")
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import GatedRepoError
    except ImportError as failure:
        raise UsageError(f"fetching {name} needs huggingface_hub: pip install 'vrag[datasets]'") from failure
    try:
        return Path(snapshot_download(name, repo_type="dataset", revision=revision, allow_patterns=list(patterns)))
    except GatedRepoError as failure:
        raise DataError(
            f"{name}: its owner wants the terms of use accepted first: do that on the Hub's page datasets/{name}, then"
            " log in here with `hf auth login`, or download it and give its folder"
        ) from failure
    except (OSError, ValueError) as failure:
        raise DataError(
            f"{name}: no such folder, and the Hub doesn't give it ({failure}); check name, revision, network and "
            "access, or download it and give its folder"
        ) from failure
