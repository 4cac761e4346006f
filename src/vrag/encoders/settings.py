"""What a user may choose about an encoder."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vrag.types import Frozen


class EncoderSettings(Frozen):
    """Settings of both encoders. Only `model`, `revision`, `dim` and `max_pixels` are in the fingerprint: the others
    move a vector by no more than rounding, so pages encoded on a GPU may be searched from a CPU.
    """

    model: str  # a folder in the Hub's layout, owner/name on the Hub, or "tiny", which ships with vrag
    revision: str | None = None  # branch, tag or commit on the Hub; None: its main branch
    device: str = "auto"  # auto: a GPU if there is one, else the CPU; or what torch calls it: cuda:1, cpu, mps
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"  # auto: bfloat16 on a GPU, float32 elsewhere
    dim: int | None = Field(default=None, ge=1)  # keep this many leading coordinates; None: all of them
    # A batch's members x its longest member, in tokens; the default is some ten pages of ColQwen2. What doesn't fit a
    # GPU's memory is tried again in halves, so too much costs time, not results.
    batch_tokens: int = Field(default=8192, ge=1)
    max_pixels: int | None = Field(default=None, ge=1)  # larger pages are shrunk to it; None: the processor's own limit
