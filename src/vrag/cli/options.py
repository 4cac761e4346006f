"""Options that several verbs share."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer


class Way(str, Enum):
    auto = "auto"
    text = "text"
    visual = "visual"
    fused = "fused"


By = Annotated[
    Way, typer.Option(help="Search page text, page images, or both fused; auto: both where the corpus has vectors.")
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
