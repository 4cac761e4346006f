"""Fakes with which the whole loop runs in milliseconds, public so that users test their own parts with them.

store = MemoryStore()
store.add("report.pdf", 1, ["Revenue of Acme", "2020  4,812"])
environment = DocumentEnvironment(store, WordRetriever(store))
policy = ScriptedPolicy(["<search>revenue</search>", "<answer>4,812</answer>"])  # vrag.policies.scripted
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from vrag.errors import CorpusError, DocumentError, InfrastructureError, UnreadableDocument
from vrag.types import Box, Hit, Page, PageRef, PageVectors, Word

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont, ImageFont

_MARGIN = 40


class MemoryStore:
    """A `PageStore` of pages that `add` draws: white, one black line of text under the other."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self._images: dict[str, Image] = {}
        self._words: dict[str, list[Word]] = {}

    def add(
        self,
        document: str,
        page: int,
        lines: Sequence[str],
        size: tuple[int, int] = (1200, 900),
        font_size: int = 28,
    ) -> Page:
        """Draw `lines` on a page of `size` (width, height) raw pixels; each word has the box it was drawn
        in."""
        image, words = _draw(lines, size, font_size)
        page_id = hashlib.sha256(f"{document}/{page}".encode()).hexdigest()[:16]
        self.pages[page_id] = Page(
            id=page_id,
            document_id=hashlib.sha256(document.encode()).hexdigest()[:16],
            ref=PageRef(document=document, page=page),
            width=size[0],
            height=size[1],
            text="\n".join(lines),
            text_source="layer" if words else "none",
        )
        self._images[page_id], self._words[page_id] = image, words
        return self.pages[page_id]

    def page(self, page_id: str) -> Page:
        if page_id not in self.pages:
            raise CorpusError(f"no page {page_id!r} in this store; add it first")
        return self.pages[page_id]

    def image(self, page_id: str) -> Image:
        return self._images[self.page(page_id).id]

    def words(self, page_id: str) -> Sequence[Word]:
        return self._words[self.page(page_id).id]

    def box(self, page: Page, text: str) -> Box:
        """Where the words of `text` stand on `page`, relative to the page: a gold box for a `Task`."""
        wanted = text.split()
        words = self.words(page.id)
        for start in range(len(words) - len(wanted) + 1):
            found = words[start : start + len(wanted)]
            if [word.text for word in found] == wanted:
                boxes = [word.box for word in found]
                return Box(
                    x1=min(b.x1 for b in boxes) / page.width,
                    y1=min(b.y1 for b in boxes) / page.height,
                    x2=max(b.x2 for b in boxes) / page.width,
                    y2=max(b.y2 for b in boxes) / page.height,
                )
        raise CorpusError(f"{text!r} isn't on page {page.ref.page} of {page.ref.document}")


class WordRetriever:
    """Ranks a `MemoryStore`'s pages by how many words of the query they hold; `queries` records the calls."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.queries: list[str] = []

    async def search(self, query: str, k: int) -> list[Hit]:
        self.queries.append(query)
        wanted = set(query.casefold().split())
        hits = [
            Hit(page_id=page.id, ref=page.ref, score=len(wanted & set(page.text.casefold().split())))
            for page in self._store.pages.values()
        ]
        hits.sort(key=lambda hit: -hit.score)
        return [hit for hit in hits if hit.score > 0][:k]


class FixedRetriever:
    """Always finds the same pages, or always raises `error`."""

    def __init__(self, pages: Sequence[Page] = (), error: Exception | None = None) -> None:
        self._hits = [Hit(page_id=page.id, ref=page.ref, score=-i) for i, page in enumerate(pages)]
        self._error = error

    async def search(self, query: str, k: int) -> list[Hit]:
        if self._error is not None:
            raise self._error
        return self._hits[:k]


class FakeEncoder:
    """A `PageEncoder` without a model: one vector per word, its direction hashed from it, so that MaxSim about counts
    the query's words that stand on the page. It sees nothing: `read` says what stands on an image, and a
    `DocumentError` that it raises takes the page's place.

        texts = {store.image(page).tobytes(): store.page(page).text for page in store.pages}
        encoder = FakeEncoder(lambda image: texts[image.tobytes()])
    """

    def __init__(self, read: Callable[[Image], str], dim: int = 128) -> None:
        self._read = read
        self.dim = dim
        self.fingerprint = hashlib.sha256(f"vrag.testing.FakeEncoder/{dim}".encode()).hexdigest()[:32]

    def encode_pages(self, images: Sequence[Image]) -> list[PageVectors | DocumentError]:
        return [self._page(number, image) for number, image in enumerate(images, 1)]

    def encode_queries(self, queries: Sequence[str]) -> list[np.ndarray]:
        found = [self._vectors(query) for query in queries]
        for query, vectors in zip(queries, found, strict=True):
            if not len(vectors):
                raise InfrastructureError(f"query {query!r} holds no word; this encoder knows nothing else")
        return found

    def _page(self, number: int, image: Image) -> PageVectors | DocumentError:
        try:
            vectors = self._vectors(self._read(image))
        except DocumentError as failure:
            return failure
        if not len(vectors):
            return UnreadableDocument(f"image {number} holds no word; this encoder knows nothing else")
        return PageVectors(vectors)

    def _vectors(self, text: str) -> np.ndarray:
        """[words, dim], fp32, each of length 1; a word that comes again adds nothing to MaxSim and is left out."""
        import numpy as np

        vectors = np.zeros((0, self.dim), np.float32)
        for word in dict.fromkeys(text.casefold().split()):
            seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
            vector = np.random.default_rng(seed).standard_normal((1, self.dim), np.float32)
            vectors = np.concatenate([vectors, vector / np.linalg.norm(vector)])
        return vectors


def _draw(lines: Sequence[str], size: tuple[int, int], font_size: int) -> tuple[Image, list[Word]]:
    from PIL import Image, ImageDraw

    image = Image.new("RGB", size, "white")
    canvas = ImageDraw.Draw(image)
    font = _font(font_size)
    space = font.getlength(" ")
    words: list[Word] = []
    for number, line in enumerate(lines):
        x, y = float(_MARGIN), _MARGIN + number * font_size * 1.6
        for text in line.split():
            canvas.text((x, y), text, fill="black", font=font)
            left, top, right, bottom = canvas.textbbox((x, y), text, font=font)
            words.append(Word(text=text, box=Box(x1=left, y1=top, x2=right, y2=bottom), line=number))
            x += font.getlength(text) + space
    return image, words


@lru_cache(maxsize=8)
def _font(size: int) -> FreeTypeFont | ImageFont:
    from PIL import ImageFont

    return ImageFont.load_default(size)
