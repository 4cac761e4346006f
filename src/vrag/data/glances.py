"""Where a language model should look while it writes: what guided attention is told (`vrag.training.guidance`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True)
class Glance:
    """The positions `start` to `end` (exclusive) of an episode should look at `target`, an image or a text token; with
    `moves`, the target moves on as they do.
    """

    start: int
    end: int
    target: int
    moves: bool = False

    @classmethod
    def writing(cls, start: int, end: int, target: int, *, moves: bool = False) -> Glance:
        """For the tokens at `start` to `end`: a token is written by the position before it, and that one looks."""
        return cls(start - 1, end - 1, target, moves)


def where(ids: Sequence[int], part: Sequence[int], span: tuple[int, int]) -> int | None:
    """The first place within `span` (start and end in `ids`) at which `part` begins."""
    return next((i for i in range(*span) if list(ids[i : i + len(part)]) == list(part)), None)


def corner(ids: Sequence[int], opened: int, end: int, text: Callable[[int], str]) -> int:
    """Where the first corner of the box ends that is written at `opened` to `end`: what comes after follows from it, so
    that a look there is told by what has been written.
    """
    commas = [i for i in range(opened, end) if "," in text(ids[i])]
    return commas[1] if len(commas) > 1 else end


def echoes(
    ids: Sequence[int], source: tuple[int, int], said: tuple[int, int], text: Callable[[int], str]
) -> Iterator[Glance]:
    """Glances for what `said` repeats of `source` (both start and end in `ids`), in the longest runs there are.

    `text` gives a token's text; case and space around it don't matter, and tokens without a letter or digit are never
    copied.
    """
    heard = [text(token).strip().casefold() for token in ids[source[0] : source[1]]]
    spoken = [text(token).strip().casefold() for token in ids[said[0] : said[1]]]
    place = 0
    while place < len(spoken):
        length, start = max(((_run(heard[i:], spoken[place:]), -i) for i in range(len(heard))), default=(0, 0))
        if length:
            first = said[0] + place
            yield Glance.writing(first, first + length, source[0] - start, moves=True)
        place += max(1, length)


def spelled(
    ids: Sequence[int], said: tuple[int, int], value: str, text: Callable[[int], str]
) -> Iterator[tuple[int, float]]:
    """The positions of `said` (start and end in `ids`) whose tokens write a part of `value`, each time it is written,
    and where along it the middle of that part stands, 0 to 1.
    """
    pieces = [text(token) for token in ids[said[0] : said[1]]]
    ends = list(accumulate(map(len, pieces)))
    written = "".join(pieces)
    begins = [i for i in range(len(written)) if value and written.startswith(value, i)]
    for place, (piece, end) in enumerate(zip(pieces, ends, strict=True)):
        for begin in begins:
            low, high = max(end - len(piece), begin), min(end, begin + len(value))
            if low < high:
                yield said[0] + place, ((low + high) / 2 - begin) / len(value)


def _run(one: Sequence[str], other: Sequence[str]) -> int:
    """How many first items are the same and say something."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b or not any(c.isalnum() for c in a):
            break
        count += 1
    return count
