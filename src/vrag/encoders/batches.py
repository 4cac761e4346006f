"""Batches within a token budget, in which one bad member spoils no other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from vrag.errors import BudgetExceeded, DocumentError, InfrastructureError, UnreadableDocument, UnsupportedFormat
from vrag.types import PageVectors

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

Item = TypeVar("Item")
Result = TypeVar("Result")


def encode_pages(
    images: Sequence[Image],
    tokens: Callable[[tuple[int, int]], int],
    encode: Callable[[list[Image]], list[PageVectors]],
    budget: int,
) -> list[PageVectors | DocumentError]:
    """In the order of `images`. `tokens` is how many a page of (width, height) takes; `encode` does one batch."""

    def measure(image: Image) -> int:
        check_page(image)
        return tokens(image.size)

    found = _encode(images, measure, encode, budget)
    return [
        outcome
        if isinstance(outcome, PageVectors)
        else _document_error(f"image {number} of {len(images)}", image, outcome)
        for number, (image, outcome) in enumerate(zip(images, found, strict=True), 1)
    ]


def check_page(image: Image) -> None:
    """Raises `UnreadableDocument` for an empty image and `UnsupportedFormat` for one that isn't RGB."""
    if 0 in image.size:
        raise UnreadableDocument("is empty; render it again")
    if image.mode != "RGB":
        raise UnsupportedFormat(f"has mode {image.mode}; pages are RGB: image.convert('RGB')")


def encode_queries(
    queries: Sequence[str],
    tokens: Callable[[str], int],
    encode: Callable[[list[str]], list[np.ndarray]],
    budget: int,
) -> list[np.ndarray]:
    """In the order of `queries`; the first that can't be encoded raises `InfrastructureError`."""
    vectors: list[np.ndarray] = []
    for query, outcome in zip(queries, _encode(queries, tokens, encode, budget), strict=True):
        if isinstance(outcome, Exception):
            raise InfrastructureError(f"query {query!r} can't be encoded: {_describe(outcome)}") from outcome
        vectors.append(outcome)
    return vectors


def plan(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Indices of `lengths` in batches, longest first: members x longest is within `budget`, or it is one member."""
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    start = 0
    while start < len(order):
        end = start + max(1, budget // max(1, lengths[order[start]]))
        yield order[start:end]
        start = end


def _encode(
    items: Sequence[Item], tokens: Callable[[Item], int], encode: Callable[[list[Item]], list[Result]], budget: int
) -> list[Result | Exception]:
    """Each item's result or what went wrong with it."""
    outcomes: dict[int, Result | Exception] = {}
    lengths: dict[int, int] = {}
    for index, item in enumerate(items):
        length = _attempt([item], lambda one: [tokens(one[0])])[0]
        if isinstance(length, Exception):
            outcomes[index] = length
        else:
            lengths[index] = length
    indices = list(lengths)
    for batch in plan(list(lengths.values()), budget):
        members = [indices[position] for position in batch]
        outcomes.update(zip(members, _attempt([items[index] for index in members], encode), strict=True))
    return [outcomes[index] for index in range(len(items))]


def _attempt(batch: list[Item], encode: Callable[[list[Item]], list[Result]]) -> Sequence[Result | Exception]:
    """A batch that fails is tried again: in halves when memory ran out, else one by one, to find the bad member."""
    try:
        return encode(batch)
    except Exception as error:  # noqa: BLE001  the boundary: a page's failure is data
        # without its frames, whose tensors would stay in memory while the parts are tried
        failure = error.with_traceback(None)
        failure.__context__ = failure.__cause__ = None
    if _device_lost(failure):
        raise InfrastructureError(f"the GPU failed ({failure}); start the process again") from failure
    if len(batch) == 1:
        return [failure]
    size = max(1, len(batch) // 2) if _out_of_memory(failure) else 1
    outcomes: list[Result | Exception] = []
    for start in range(0, len(batch), size):
        outcomes += _attempt(batch[start : start + size], encode)
    return outcomes


def _out_of_memory(failure: Exception) -> bool:
    import torch

    if not isinstance(failure, (torch.OutOfMemoryError, MemoryError)):
        return False
    torch.cuda.empty_cache()  # what the failed batch left behind; does nothing without a GPU
    return True


def _device_lost(failure: Exception) -> bool:
    """After such an error every call fails, and would condemn each page that comes after."""
    import torch

    lost: type[Exception] | None = getattr(torch, "AcceleratorError", None)  # torch 2.8
    return lost is not None and isinstance(failure, lost)


def _document_error(name: str, image: Image, failure: Exception) -> DocumentError:
    where = f"{name} ({image.width} x {image.height} pixels)"
    if isinstance(failure, DocumentError):
        return type(failure)(f"{where} {failure}")
    if _out_of_memory(failure):
        error = BudgetExceeded(f"{where} doesn't fit the memory even alone; set max_pixels or use another device")
    else:
        error = UnreadableDocument(f"{where} can't be encoded ({_describe(failure)}); render it again or leave it out")
    error.__cause__ = failure
    return error


def _describe(failure: Exception) -> str:
    return f"{type(failure).__name__}: {failure}"
