"""A dataset of trajectories for other trainers: LLaMA-Factory and TRL.

LLaMA-Factory reads `dataset_info.json`, which names a JSON Lines file of `messages` (text with one `<image>` for each
image) and `images` (paths). TRL reads what `datasets` loads: `metadata.jsonl` beside the images, whose
`images_file_names` becomes the column `images`; `messages` hold parts of type text and image.

In both, pages and crops are user messages, so neither trains on them, and the images have the size at which the model
sees them, in which the boxes of the text are written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from vrag.data.dataset import ImageContent, StoredMessage, Trajectory, read_manifest, read_trajectories
from vrag.errors import DataError
from vrag.staging import link_or_copy, whole_folder
from vrag.types import Frozen

Target = Literal["llamafactory", "trl"]
NAME = "vrag"  # of the dataset in LLaMA-Factory's dataset_info.json

_CONTROL = re.compile(r"<\|[a-z_]+\|>")  # in text, trainers take it for the control token
_PLACEHOLDER = re.compile(r"<(?:image|video|audio)>")  # in text, LLaMA-Factory takes it for a medium


class ExportReport(Frozen):
    """`left_out` says in words which episodes could not be exported, and why."""

    episodes: int
    images: int
    left_out: list[str]


def export(folder: Path, out: Path, target: Target) -> ExportReport:
    """Write the dataset at `folder` for `target` into the new folder `out`, whole or not at all; images are links to
    the same files where the file system has them.

    Raises `DataError` for a dataset that isn't whole, `UsageError` when `out` is there.
    """
    read_manifest(folder)
    left_out: list[str] = []
    kept: list[Trajectory] = []
    for trajectory in read_trajectories(folder):
        problem = _problem(trajectory, folder, target)
        if problem:
            left_out.append(f"{trajectory.task.id}: {problem}")
        else:
            kept.append(trajectory)
    if not kept:
        raise DataError(f"{folder}: has no episode to export" + "".join(f"; {why}" for why in left_out[:1]))
    images = sorted({name for trajectory in kept for name in trajectory.images})
    with whole_folder(out) as whole:
        for name in images:
            (whole / name).parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(folder / name, whole / name)
        _write(whole, kept, target)
    return ExportReport(episodes=len(kept), images=len(images), left_out=left_out)


def _write(whole: Path, kept: list[Trajectory], target: Target) -> None:
    if target == "trl":
        _write_lines(whole / "metadata.jsonl", map(_trl_row, kept))
        return
    _write_lines(whole / f"{NAME}.jsonl", map(_llamafactory_row, kept))
    info = {
        NAME: {
            "file_name": f"{NAME}.jsonl",
            "formatting": "sharegpt",
            "columns": {"messages": "messages", "images": "images"},
            "tags": {
                "role_tag": "role",
                "content_tag": "content",
                "user_tag": "user",
                "assistant_tag": "assistant",
                "system_tag": "system",
            },
        }
    }
    (whole / "dataset_info.json").write_text(json.dumps(info, indent=2) + "\n", encoding="utf-8")


def _write_lines(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _llamafactory_row(trajectory: Trajectory) -> dict[str, Any]:
    def content(message: StoredMessage) -> str:
        return "".join("<image>" if isinstance(part, ImageContent) else part.text for part in message.content)

    messages = [{"role": message.role, "content": content(message)} for message in trajectory.messages]
    return {"messages": messages, "images": trajectory.images}


def _trl_row(trajectory: Trajectory) -> dict[str, Any]:
    def content(message: StoredMessage) -> list[dict[str, str]]:
        return [{"type": "image"} if isinstance(part, ImageContent) else part.model_dump() for part in message.content]

    messages = [{"role": message.role, "content": content(message)} for message in trajectory.messages]
    return {"messages": messages, "images_file_names": trajectory.images}


def _problem(trajectory: Trajectory, folder: Path, target: Target) -> str | None:
    """Why `target` would misread this episode; None if it wouldn't."""
    texts = [part.text for m in trajectory.messages for part in m.content if not isinstance(part, ImageContent)]
    for pattern in (_CONTROL, _PLACEHOLDER) if target == "llamafactory" else (_CONTROL,):
        if found := next(filter(None, map(pattern.search, texts)), None):
            return f"its text holds {found.group()}, which {target} would not take for text"
    if missing := [name for name in trajectory.images if not (folder / name).is_file()]:
        return f"the dataset has no {missing[0]}"
    return None
