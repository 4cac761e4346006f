"""Pages with other margins."""

import numpy as np

from vrag.data.framing import INSET, reframed, shows
from vrag.geometry import ViewSpec, as_seen, page_view
from vrag.types import Box, Page, PageRef

SPEC = ViewSpec(frame="relative1000", factor=20, min_pixels=36 * 400, max_pixels=212 * 400)
PAGE = Page(
    id="p",
    document_id="d",
    ref=PageRef(document="d.pdf", page=1),
    width=1700,
    height=2200,
    text="",
    text_source="none",
)


def test_little_is_cut_from_each_side_and_each_time_otherwise() -> None:
    rng = np.random.default_rng(0)
    views = [reframed(PAGE, SPEC, rng) for _ in range(40)]
    for view in views:
        region = view.region
        assert 0 <= region.x1 <= INSET * 1700 and 0 <= region.y1 <= INSET * 2200
        assert 1700 - region.x2 <= INSET * 1700 + 1 and 2200 - region.y2 <= INSET * 2200 + 1
        assert view == as_seen(view, SPEC), "of a size that the model sees"
    assert len({view.region.as_tuple() for view in views}) == 40
    cut = np.array([[v.region.x1 / 1700, v.region.y1 / 2200, 1 - v.region.x2 / 1700] for v in views])
    assert (cut.max(axis=0) > 0.7 * INSET).all() and (cut.min(axis=0) < 0.3 * INSET).all()


def test_a_box_is_shown_when_all_of_it_is() -> None:
    view = page_view(PAGE, SPEC).model_copy(update={"region": Box(x1=100, y1=100, x2=1600, y2=2100)})
    assert shows(view, Box(x1=100, y1=100, x2=200, y2=200))
    assert not shows(view, Box(x1=99, y1=100, x2=200, y2=200))
    assert not shows(view, Box(x1=1500, y1=2050, x2=1600, y2=2101))
