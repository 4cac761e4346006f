"""What an encoder server and its clients say to each other.

A page goes as an image file, alone in its request: so each is refused, tried again or found bad without the others, and
what many clients send becomes one batch on the server. Vectors come back as safetensors, which hold no code: tensors
"0", "1", … are [V, D] of the page, or of each query, and the metadata entry "about" is the JSON of `About`.

They are fp32, so that nothing is lost on the way: from the same vectors comes the same index, to the byte. fp16 has to
be asked for.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ConfigDict, Field

from vrag.errors import BudgetExceeded, DocumentError, UnreadableDocument, UnsupportedFormat
from vrag.types import Frozen, PatchGrid

if TYPE_CHECKING:
    import numpy as np

TOKEN_VARIABLE = "VRAG_ENCODER_TOKEN"  # of the environment, on both sides
MEDIA = "application/vnd.safetensors"
DType = Literal["float32", "float16"]
ERRORS: dict[str, type[DocumentError]] = {
    kind.__name__: kind for kind in (DocumentError, UnreadableDocument, UnsupportedFormat, BudgetExceeded)
}


class Lenient(Frozen):
    """What a server says. Fields that a newer one adds are no reason to fail."""

    model_config = ConfigDict(extra="ignore")


class EncoderInfo(Lenient):
    """Which encoder a server has, and its limits: `page_bytes` of an image file, `queries` of one request, `timeout`
    seconds for an answer.
    """

    name: str
    settings: dict[str, Any]
    dim: int = Field(ge=1)
    fingerprint: str = Field(min_length=1)
    page_bytes: int = Field(ge=1)
    queries: int = Field(ge=1)
    timeout: float = Field(gt=0)


class About(Lenient):
    """Who made the vectors, and which of a page's vectors are patches."""

    fingerprint: str
    grid: PatchGrid | None = None


class PageFailure(Lenient):
    """Why a page can't be encoded: `kind` is the name of a `DocumentError`."""

    kind: str
    detail: str


def kind_of(error: DocumentError) -> str:
    """The name by which a client knows this kind of error."""
    return next(kind.__name__ for kind in type(error).__mro__ if kind.__name__ in ERRORS)


def pack(vectors: Sequence[np.ndarray], about: About, dtype: DType) -> bytes:
    """Safetensors of `vectors`, [V, D] each."""
    import numpy as np
    from safetensors.numpy import save

    tensors = {str(place): np.ascontiguousarray(one, dtype) for place, one in enumerate(vectors)}
    return save(tensors, {"about": about.model_dump_json()})


def unpack(body: bytes, count: int, dim: int) -> tuple[list[np.ndarray], About]:
    """`count` arrays [V, dim], fp32, and what is said about them. Raises `ValueError` for anything else."""
    import numpy as np
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = load(body)
        header = json.loads(body[8 : 8 + int.from_bytes(body[:8], "little")])
        about = About.model_validate_json(header["__metadata__"]["about"])
        vectors = [tensors[str(place)] for place in range(count)]
    except (SafetensorError, KeyError, TypeError) as error:
        raise ValueError(f"no vectors: {error}") from error
    for one in vectors:
        if one.dtype.name not in ("float32", "float16") or one.ndim != 2 or one.shape[1] != dim:
            raise ValueError(f"vectors of shape {one.shape}, {one.dtype}")
    return [one.astype(np.float32) for one in vectors], about
