"""`vrag push`: a checkpoint to the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def push(
    folder: Annotated[Path, typer.Argument(help="A checkpoint's folder, such as RUN/final.")],
    name: Annotated[str, typer.Argument(help="owner/name on the Hub; made where it isn't there.")],
    private: Annotated[bool, typer.Option("--private", help="Only the owner can see it.")] = False,
) -> None:
    """Upload a checkpoint with its card to the Hugging Face Hub, under your login there (`hf auth login`, or HF_TOKEN).

    Prints the model's address. A folder that holds no whole checkpoint is refused.
    """
    from vrag.hub import push

    print(push(folder, name, private=private))
