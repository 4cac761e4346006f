"""Pages with other margins: where something stands can't be learned by heart when it stands elsewhere each time."""

from __future__ import annotations

import numpy as np

from vrag.geometry import ViewSpec, as_seen, page_view
from vrag.types import Box, Page, View

INSET = 0.08  # of a page's width or height, at most, that is cut off each side: less than most margins


def reframed(page: Page, spec: ViewSpec, rng: np.random.Generator) -> View:
    """The page without some of its margins, cut from each side by chance and on its own: what stands on it moves and
    grows by up to a sixth.
    """
    left, top, right, bottom = INSET * rng.random(4)
    region = Box(
        x1=int(left * page.width),
        y1=int(top * page.height),
        x2=page.width - int(right * page.width),
        y2=page.height - int(bottom * page.height),
    )
    return as_seen(page_view(page, spec).model_copy(update={"region": region}), spec)


def shows(view: View, box: Box) -> bool:
    """Whether all of a raw box lies in `view`."""
    region = view.region
    return region.x1 <= box.x1 and box.x2 <= region.x2 and region.y1 <= box.y1 and box.y2 <= region.y2
