"""A corpus of many made-up pages in seconds: catalogued as `vrag index` does it, over a few drawn images."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import combinations
from math import isqrt
from pathlib import Path

from PIL import Image, ImageDraw

from tests.catalogues import content_of, page_message, put_document
from vrag.corpus import paths
from vrag.corpus.lines import assemble
from vrag.corpus.store import Corpus
from vrag.corpus.text import Glyphs
from vrag.corpus.writer import Writer
from vrag.staging import link_or_copy

PAGES = 20  # of a document
DRAWN = 8  # images; each page has one of them
WIDTH, HEIGHT, MARGIN, LINE, SIZE = 1240, 1754, 90, 42, 24  # pixels: 150 dpi
WORDS = 9  # of a line
COMMON = 2000  # different words, the n-th of them 1 / n as often as the first
_SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]


@dataclass(frozen=True)
class Made:
    """`words` are common ones, from often to seldom; `facts` what stands on one page alone: name and value."""

    pages: int
    documents: int
    words: list[str]
    facts: list[tuple[str, int]]


def make_corpus(folder: Path, pages: int, seed: int = 0) -> Made:
    """`pages` pages, as documents of `PAGES`. The same seed makes the same words of them."""
    rng = random.Random(seed)
    words = _vocabulary(rng, COMMON + isqrt(2 * pages) + 2)
    common, names = words[:COMMON], words[COMMON:]
    weights = [1 / rank for rank in range(1, COMMON + 1)]
    pairs = rng.sample(list(combinations(names, 2)), pages)  # each names the valve of one page
    facts = [(f"{one} {other}", rng.randrange(100, 1000)) for one, other in pairs]
    with Corpus.create(folder), closing(Writer(folder)) as writer:
        drawn = [_drawn(folder, _lines(rng, common, weights), number) for number in range(DRAWN)]
        for first in range(0, pages, PAGES):
            bodies = [_body(rng, common, weights, *fact) for fact in facts[first : first + PAGES]]
            _add(writer, folder, first // PAGES, bodies, drawn)
        writer.commit()
    return Made(pages, -(-pages // PAGES), common, facts)


def _vocabulary(rng: random.Random, count: int) -> list[str]:
    found = dict[str, None]()
    while len(found) < count:
        found["".join(rng.choices(_SYLLABLES, k=rng.randint(2, 4)))] = None
    return list(found)


def _lines(rng: random.Random, common: Sequence[str], weights: Sequence[float]) -> list[list[str]]:
    count = (HEIGHT - 2 * MARGIN) // LINE
    words = rng.choices(common, weights, k=count * WORDS)
    return [words[at : at + WORDS] for at in range(0, len(words), WORDS)]


def _body(
    rng: random.Random, common: Sequence[str], weights: Sequence[float], name: str, value: int
) -> list[list[str]]:
    lines = _lines(rng, common, weights)
    lines[rng.randrange(len(lines))] = f"The valve {name} opens at {value} bar.".split()
    return lines


def _placed(lines: Sequence[Sequence[str]]) -> list[Glyphs]:
    """From left to right, line by line; raw pixels."""
    found: list[Glyphs] = []
    for row, line in enumerate(lines):
        x, y = float(MARGIN), float(MARGIN + row * LINE)
        for word in line:
            found.append(Glyphs(word, x, y, x + 0.52 * SIZE * len(word), y + SIZE))
            x += 0.52 * SIZE * (len(word) + 1)
    return found


def _drawn(folder: Path, lines: Sequence[Sequence[str]], number: int) -> Path:
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(image)
    for word in _placed(lines):
        draw.text((word.x1, word.y1), word.text, fill="black", font_size=SIZE)
    file = paths.unfinished_pages(folder) / f"drawn-{number}.jpg"
    image.save(file, "JPEG", quality=90)
    return file


def _add(writer: Writer, folder: Path, number: int, bodies: Sequence[list[list[str]]], drawn: Sequence[Path]) -> None:
    name = f"shelf-{number // 25:03}/manual-{number:04}.pdf"
    content = content_of(name)
    pages = list[dict[str, object]]()
    for page, lines in enumerate(bodies, 1):
        target = paths.page_file(folder, paths.page_id(content, page))
        target.parent.mkdir(exist_ok=True)
        link_or_copy(drawn[(number + page) % len(drawn)], target)
        found = assemble(_placed(lines), WIDTH, HEIGHT)
        pages.append(page_message(page, found.text, found.placed, (WIDTH, HEIGHT)))
    put_document(writer, f"/made-up/{name}", name, content, pages)
