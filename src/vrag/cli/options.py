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
