"""The samples of pretraining: what is asked, and that the answer is what the page shows."""

import numpy as np
import pytest

from tests.tiny import Tiny, make_tiny
from vrag.actions import parse
from vrag.data.lessons import Lesson, PageLessons, reading_region, text_inside
from vrag.errors import DataError
from vrag.geometry import ViewSpec, page_view, to_raw
from vrag.policies.expert import ExpertStyle
from vrag.testing import MemoryStore
from vrag.types import Box, Crop, Evidence, Page, Task, Word

STYLE = ExpertStyle(box_min=16, box_snap=4)


@pytest.fixture(scope="module")
def tiny() -> Tiny:
    return make_tiny("qwen2_5_vl")


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    store.add("acme.pdf", 1, ["Acme Corporation", "plant K47", "staff 310"], font_size=90)
    return store


@pytest.fixture
def spec(tiny: Tiny) -> ViewSpec:
    return ViewSpec(min_pixels=tiny.shape.min_pixels, max_pixels=tiny.shape.max_pixels)


@pytest.fixture
def lessons(tiny: Tiny, store: MemoryStore, spec: ViewSpec) -> PageLessons:
    page = only(store)
    gold = Evidence(ref=page.ref, box=store.box(page, "310"))
    task = Task(
        id="a", question="What is the staff?", answers=["310"], gold=[gold], meta={"metric": "Acme Corporation staff"}
    )
    return PageLessons(store, [page], [task], tiny.codec, spec, STYLE)


def only(store: MemoryStore) -> Page:
    return next(iter(store.pages.values()))


def said(tiny: Tiny, lesson: Lesson) -> list[str]:
    """The text of each assistant turn."""
    turns: list[list[int]] = []
    previous = 0
    for token, sampled in zip(lesson.tokens.response_ids, lesson.tokens.loss_mask, strict=True):
        if sampled and not previous:
            turns.append([])
        if sampled:
            turns[-1].append(token)
        previous = sampled
    return [tiny.codec.decode(turn) for turn in turns]


@pytest.mark.parametrize(("kind", "text"), [("number", "310"), ("code", "K47"), ("value", "310")])
def test_what_is_read_is_what_the_crop_shows(tiny: Tiny, lessons: PageLessons, kind: str, text: str) -> None:
    for seed in range(5):
        lesson = lessons.read(kind, 0.5, np.random.default_rng(seed))  # type: ignore[arg-type]
        lesson.tokens.check(tiny.codec, "lesson")
        assert said(tiny, lesson) == [f"it is {text}"]
        assert lesson.turns == (kind,)


def test_a_word_is_read_with_its_neighbours(tiny: Tiny, lessons: PageLessons, store: MemoryStore) -> None:
    printed = {word.text for word in store.words(only(store).id)}
    for seed in range(5):
        lesson = lessons.read("word", 1.0, np.random.default_rng(seed))
        shown = said(tiny, lesson)[0].removeprefix("it is ")
        assert shown and printed.issuperset(shown.split())
        assert lesson.turns == ("word",)


def test_a_number_is_pointed_at_where_it_stands_in_the_crop(tiny: Tiny, lessons: PageLessons) -> None:
    for seed in range(5):
        lesson = lessons.read("number", 0.0, np.random.default_rng(seed), pointing=True)
        lesson.tokens.check(tiny.codec, "lesson")
        (text,) = said(tiny, lesson)
        action = parse(text).action
        assert isinstance(action, Crop)
        assert action.box.width >= 0.4 * lesson.tokens.images[0].grid[2] * 14  # at level 0 it fills the crop


def test_a_page_is_shown_once_for_several_boxes(tiny: Tiny, lessons: PageLessons, store: MemoryStore) -> None:
    asked: set[str] = set()
    for seed in range(6):
        lesson = lessons.point(4, np.random.default_rng(seed))
        lesson.tokens.check(tiny.codec, "lesson")
        assert len(lesson.tokens.images) == 1
        assert len(said(tiny, lesson)) == len(lesson.turns)
        asked |= set(lesson.turns)
    assert asked == {"find", "zoom"}


def test_boxes_to_point_at_hold_what_is_sought(
    tiny: Tiny, lessons: PageLessons, store: MemoryStore, spec: ViewSpec
) -> None:
    page = only(store)
    view = page_view(page, spec)
    value = store.box(page, "310").scaled(page.width, page.height)
    for seed in range(5):
        lesson = lessons.point(4, np.random.default_rng(seed))
        if "zoom" not in lesson.turns:  # a part of the page
            continue
        action = parse(said(tiny, lesson)[lesson.turns.index("zoom")]).action
        assert isinstance(action, Crop)
        box = to_raw(view, action.box, spec.frame)
        assert box.x1 <= value.x1 and box.y1 <= value.y1 and box.x2 >= value.x2 and box.y2 >= value.y2


def test_pages_without_text_teach_nothing(tiny: Tiny, spec: ViewSpec) -> None:
    store = MemoryStore()
    page = store.add("blank.pdf", 1, [])
    with pytest.raises(DataError, match="text layer"):
        PageLessons(store, [page], [], tiny.codec, spec, STYLE)


def test_a_class_that_no_page_has_is_replaced(tiny: Tiny, spec: ViewSpec) -> None:
    store = MemoryStore()
    page = store.add("words.pdf", 1, ["Acme", "Corporation"], font_size=90)
    lessons = PageLessons(store, [page], [], tiny.codec, spec, STYLE)
    assert lessons.read("code", 0.0, np.random.default_rng(0)).turns == ("word",)
    assert lessons.point(2, np.random.default_rng(0)).turns


def test_a_word_cut_through_makes_no_transcription() -> None:
    words = [Word(text="a", box=Box(x1=0, y1=0, x2=10, y2=10)), Word(text="b", box=Box(x1=20, y1=0, x2=30, y2=10))]
    assert text_inside(words, Box(x1=0, y1=0, x2=31, y2=10)) == "a b"
    assert text_inside(words, Box(x1=0, y1=0, x2=15, y2=10)) == "a"
    assert text_inside(words, Box(x1=0, y1=0, x2=25, y2=10)) == ""


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_the_region_to_read_holds_the_word_and_grows_with_the_level(store: MemoryStore, level: float) -> None:
    page = only(store)
    word = Box(x1=300, y1=200, x2=330, y2=215)
    widths: list[float] = []
    for seed in range(20):
        region = reading_region(word, page, 5.5 * level, level, np.random.default_rng(seed))
        assert region.x1 <= word.x1 and region.y1 <= word.y1 and region.x2 >= word.x2 and region.y2 >= word.y2
        widths.append(region.width / word.height)
    assert max(widths) <= 3.7 + 5.5 * level
