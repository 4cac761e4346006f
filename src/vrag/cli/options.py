"""Options that several verbs share."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from vrag.errors import UsageError

if TYPE_CHECKING:
    from vrag.index.vectors import EncoderName


class Way(str, Enum):
    auto = "auto"
    text = "text"
    visual = "visual"
    fused = "fused"


By = Annotated[
    Way, typer.Option(help="Search page text, page images, or both fused; auto: both where the corpus has vectors.")
]
Encoder = Annotated[
    str | None,
    typer.Option("--encoder", help="Where else to find the encoder of the corpus: URL of a server, folder or name."),
]
EncoderSet = Annotated[
    list[str] | None,
    typer.Option("--encoder-set", help="One setting of the encoder: key=value; repeat for more."),
]


class KernelOption(str, Enum):
    auto = "auto"
    numba = "numba"
    numpy = "numpy"
    torch = "torch"


Kernel = Annotated[
    KernelOption,
    typer.Option(help="What compares page vectors; auto: torch with a CUDA GPU, else numba if installed, else numpy."),
]
Device = Annotated[str | None, typer.Option(help="Device of the torch kernel, such as cuda:1.")]


def encoder_name(name: str | None, changes: list[str] | None) -> EncoderName | None:
    """What `--encoder` and `--encoder-set` say together. Raises `UsageError` for settings of no encoder."""
    if name is None:
        if changes:
            raise UsageError("--encoder-set changes the encoder that --encoder names: give both")
        return None
    from vrag.config import changes as parsed
    from vrag.index.vectors import EncoderName

    return EncoderName(name=name, settings=parsed(changes or []))
