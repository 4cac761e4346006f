"""Where pages are, in URLs and in what the server says. Documents stand in URLs by the hash of their content: a name
may hold slashes, dots and anything else.
"""

from __future__ import annotations

from urllib.parse import quote

from vrag.types import Box, Frozen, Hit, PageRef


class PagePlace(Frozen):
    """A page: its document's id in URLs and its name, its number, and the path of its image on this server."""

    page_id: str
    document_id: str
    document: str
    page: int
    image: str


class HitPlace(PagePlace):
    """A page that a search found; see `vrag.types.Hit`."""

    score: float
    ranks: dict[str, int]


class EvidencePlace(PagePlace):
    """Where an answer stands: `box` in fractions of the page (None: the whole page), `pixels` in those of its image of
    `width` x `height`; `image` is the page's and `crop` the box's.
    """

    box: Box | None
    pixels: Box
    width: int
    height: int
    crop: str


def image_path(corpus: str, page_id: str, box: Box | None = None) -> str:
    """The path of a page's image, or of the part of it within `box`, in fractions of the page."""
    document_id, _, number = page_id.rpartition("-")
    path = f"/v1/corpora/{quote(corpus)}/pages/{document_id}/{number}"
    return path if box is None else f"{path}?box={','.join(f'{edge:.6g}' for edge in box.as_tuple())}"


def place(corpus: str, page_id: str, ref: PageRef) -> PagePlace:
    return PagePlace(
        page_id=page_id,
        document_id=page_id.rpartition("-")[0],
        document=ref.document,
        page=ref.page,
        image=image_path(corpus, page_id),
    )


def hit_place(corpus: str, hit: Hit) -> HitPlace:
    return HitPlace(**place(corpus, hit.page_id, hit.ref).model_dump(), score=hit.score, ranks=hit.ranks)
