"""Sizes, frames and crops."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from vrag.errors import BudgetExceeded, InvariantError
from vrag.geometry import (
    MAX_ASPECT,
    ViewSpec,
    block_at,
    crop_view,
    extent,
    from_raw,
    page_view,
    render,
    smart_resize,
    to_raw,
    view_size,
)
from vrag.types import Box, Page, PageRef, View

SPECS = [
    ViewSpec(),
    ViewSpec(frame="relative1000", factor=32, min_pixels=256 * 32 * 32, max_pixels=512 * 32 * 32),
    ViewSpec(min_pixels=16 * 784, max_pixels=16 * 784),
    ViewSpec(min_pixels=4 * 784, max_pixels=48 * 784, min_crop=8),
]
specs = st.sampled_from(SPECS)
sides = st.integers(1, 4000)


def a_page(width: int, height: int) -> Page:
    ref = PageRef(document="report.pdf", page=1)
    return Page(id="p", document_id="d", ref=ref, width=width, height=height, text="", text_source="none")


def box(x1: float, y1: float, x2: float, y2: float) -> Box:
    return Box(x1=x1, y1=y1, x2=x2, y2=y2)


@st.composite
def boxes_in(draw: st.DrawFn, width: int, height: int) -> Box:
    x1, y1 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return box(x1, y1, draw(st.integers(x1 + 1, width)), draw(st.integers(y1 + 1, height)))


@given(sides, sides, st.sampled_from([28, 32]), st.integers(1, 300), st.integers(0, 1000))
def test_smart_resize_agrees_with_the_qwen_processor(
    height: int, width: int, factor: int, least: int, more: int
) -> None:
    qwen = pytest.importorskip("transformers.models.qwen2_vl.image_processing_pil_qwen2_vl")
    budget = (factor, least * factor**2, (least + more) * factor**2)
    if max(height, width) > MAX_ASPECT * min(height, width):
        with pytest.raises(ValueError, match="aspect ratio"):
            qwen.smart_resize(height, width, *budget)
        with pytest.raises(BudgetExceeded, match="200:1"):
            smart_resize(height, width, *budget)
    else:
        assert smart_resize(height, width, *budget) == qwen.smart_resize(height, width, *budget)


@given(st.integers(1, 60_000), st.integers(1, 60_000), specs)
def test_a_view_size_is_one_that_the_processor_leaves_alone(height: int, width: int, spec: ViewSpec) -> None:
    size = view_size(height, width, spec)
    assert smart_resize(*size, spec.factor, spec.min_pixels, spec.max_pixels) == size
    assert spec.min_pixels <= size[0] * size[1] <= spec.max_pixels


@given(st.data(), sides, sides, specs)
def test_view_to_box_to_raw_to_crop_round_trips_within_one_pixel(
    data: st.DataObject, width: int, height: int, spec: ViewSpec
) -> None:
    page = a_page(width, height)
    view = page_view(page, spec)
    for _ in range(3):  # page, crop, crop of a crop
        written = data.draw(boxes_in(*extent(view, spec.frame)))
        raw = to_raw(view, written, spec.frame)
        assert from_raw(view, raw, spec.frame) == written
        crop = crop_view(page, view, written, spec)
        big = min(raw.width, raw.height) >= max(spec.min_crop, max(raw.width, raw.height) / MAX_ASPECT)
        if big:
            for cut, asked in zip(crop.region.as_tuple(), raw.as_tuple(), strict=True):
                assert abs(cut - asked) <= 1
        view = crop


@given(st.data(), sides, sides, specs, st.floats(0, 60))
def test_a_crop_is_whole_pixels_of_the_page_and_holds_what_was_asked(
    data: st.DataObject, width: int, height: int, spec: ViewSpec, padding: float
) -> None:
    page = a_page(width, height)
    view = page_view(page, spec)
    written = data.draw(boxes_in(*extent(view, spec.frame)))
    region = crop_view(page, view, written, spec, padding).region
    raw = to_raw(view, written, spec.frame)
    assert all(edge == int(edge) for edge in region.as_tuple())
    assert 0 <= region.x1 <= raw.x1 + 1e-5 and raw.x2 - 1e-5 <= region.x2 <= width
    assert 0 <= region.y1 <= raw.y1 + 1e-5 and raw.y2 - 1e-5 <= region.y2 <= height
    assert region.width >= min(spec.min_crop, width) and region.height >= min(spec.min_crop, height)


def test_padding_is_measured_in_pixels_of_the_view_and_reaches_beyond_a_tight_parent_crop() -> None:
    page, spec = a_page(2000, 1000), ViewSpec()
    view = page_view(page, spec)
    scale = 2000 / view.width
    parent = crop_view(page, view, from_raw(view, box(500, 400, 900, 600), "absolute"), spec)
    inner = box(0, 0, parent.width, parent.height)
    padded = crop_view(page, parent, inner, spec, padding=10)
    grown = padded.region.width - parent.region.width
    assert abs(grown - 20 * parent.region.width / parent.width) <= 2
    assert padded.region.x1 < parent.region.x1
    assert scale > 1


def test_a_box_that_leaves_the_view_is_cut_at_its_edge() -> None:
    page, spec = a_page(1200, 900), ViewSpec()
    view = page_view(page, spec)
    right = box(view.width - 100, 0, view.width + 5000, view.height)
    assert crop_view(page, view, right, spec).region.x2 == 1200


@given(st.integers(1, 60_000), specs)
def test_extreme_strips_are_stretched_but_mapped_exactly(length: int, spec: ViewSpec) -> None:
    assume(length > MAX_ASPECT)
    page = a_page(1, length)
    view = page_view(page, spec)
    width, height = extent(view, spec.frame)
    assert to_raw(view, box(0, 0, width, height), spec.frame) == box(0, 0, 1, length)


@settings(max_examples=20)
@given(st.data())
def test_a_crop_shows_the_raw_pixels_and_not_the_downscaled_view(data: st.DataObject) -> None:
    page, spec = a_page(2240, 1568), ViewSpec(min_pixels=64 * 784, max_pixels=64 * 784)
    image = Image.effect_noise((2240, 1568), 100).convert("RGB")
    view = page_view(page, spec)
    x, y = data.draw(st.integers(0, view.width - 28)), data.draw(st.integers(0, view.height - 28))
    crop = crop_view(page, view, box(x, y, x + 28, y + 28), spec)
    region = tuple(int(edge) for edge in crop.region.as_tuple())
    shown = render(image, crop)
    assert shown.mode == "RGB" and shown.size == (crop.width, crop.height)
    direct = image.crop(region).resize(shown.size, Image.Resampling.BICUBIC)
    assert shown.tobytes() == direct.tobytes()


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_a_view_at_the_pages_own_size_is_an_image_of_its_own(mode: str) -> None:
    image, page = Image.new(mode, (56, 28), "white"), a_page(56, 28)
    view = page_view(page, ViewSpec(min_pixels=784, max_pixels=4 * 784))
    shown = render(image, view)
    assert shown.size == image.size and shown.mode == "RGB" and shown is not image
    shown.paste("black", (0, 0, 56, 28))
    assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_rendering_a_region_that_the_image_does_not_have_is_an_error_that_names_the_page() -> None:
    view = page_view(a_page(800, 600), ViewSpec())
    with pytest.raises(InvariantError, match=r"report\.pdf, page 1"):
        render(Image.new("RGB", (400, 300)), view)


def test_a_budget_without_any_size_is_refused() -> None:
    with pytest.raises(ValidationError, match="multiple of 784"):
        ViewSpec(min_pixels=785, max_pixels=800)
    with pytest.raises(ValidationError, match="above max_pixels"):
        ViewSpec(min_pixels=900_000)


def test_the_block_that_shows_a_raw_box_holds_its_middle() -> None:
    view = View(
        page_id="p",
        ref=PageRef(document="d", page=1),
        region=Box(x1=100, y1=200, x2=300, y2=300),
        width=80,
        height=40,
    )
    assert block_at(view, Box(x1=100, y1=200, x2=102, y2=202), 20) == 0
    assert block_at(view, Box(x1=240, y1=240, x2=250, y2=250), 20) == 2
    assert block_at(view, Box(x1=240, y1=260, x2=250, y2=270), 20) == 6
    assert block_at(view, Box(x1=298, y1=298, x2=310, y2=310), 20) == 7, "the edge belongs to the last block"
