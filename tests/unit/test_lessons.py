"""Lessons in pointing and reading: what is given, what is asked for, and where it stands."""

import re
from itertools import compress

import numpy as np
import pytest

from tests.tiny import Tiny, make_tiny, seek, spec_of
from vrag.actions import parse
from vrag.data.lessons import Lesson, PageLessons
from vrag.data.patches import PatchReader
from vrag.data.sights import PageSights, labels_of
from vrag.errors import DataError
from vrag.geometry import ViewSpec, block_at, crop_view, page_view, to_raw
from vrag.policies.expert import ExpertStyle
from vrag.testing import MemoryStore
from vrag.training.supervised import Example
from vrag.types import Answer, Box, Crop, Page
from vrag.views import ViewRenderer

VALUES = {"Staff": "310", "Costs": "48"}


@pytest.fixture(scope="module")
def tiny() -> Tiny:
    return make_tiny("qwen3_vl")


@pytest.fixture(scope="module")
def store() -> MemoryStore:
    store = MemoryStore()
    store.add("acme.pdf", 1, ["Acme Corporation", "Staff 310", "Costs 48"], font_size=60)
    return store


@pytest.fixture(scope="module")
def page(store: MemoryStore) -> Page:
    return next(iter(store.pages.values()))


@pytest.fixture(scope="module")
def spec(tiny: Tiny) -> ViewSpec:
    return spec_of(tiny)


@pytest.fixture(scope="module")
def lessons(tiny: Tiny, store: MemoryStore, page: Page, spec: ViewSpec) -> PageLessons:
    tasks = [seek(store, page, name, value) for name, value in VALUES.items()]
    reader = PatchReader(tiny.codec.tokenizer, labels_of(tasks), spec, ExpertStyle(box_min=60, box_snap=10))
    return PageLessons([page], tasks, tiny.codec, reader, spec, ViewRenderer(store))


def said(tiny: Tiny, lesson: Lesson) -> list[str]:
    """What is trained on, turn by turn."""
    ids = [i for i, m in zip(lesson.tokens.response_ids, lesson.tokens.loss_mask, strict=True) if m]
    turns: list[str] = []
    for length in lesson.tokens.turn_lengths():
        turns.append(tiny.codec.decode(ids[:length]))
        ids = ids[length:]
    return turns


def test_a_lesson_begins_as_an_episode_and_asks_for_the_thought_and_the_box(
    tiny: Tiny, store: MemoryStore, lessons: PageLessons, page: Page, spec: ViewSpec
) -> None:
    lesson = lessons.point(2, np.random.default_rng(0))
    text = tiny.codec.decode(lesson.tokens.ids)
    turns = said(tiny, lesson)
    assert len(turns) == 2
    for turn in turns:
        parsed = parse(turn)
        assert isinstance(parsed.action, Crop)
        name = parsed.thought.removeprefix("zoom in on ")
        asked = text.index(f"Question: What is the {name}?")
        assert asked < text.index(turn), "the question comes first"
        raw = to_raw(page_view(page, spec), parsed.action.box, spec.frame)
        value = word(store, page, VALUES[name])
        assert raw.holds(value)
    image = lesson.tokens.ids.index(tiny.codec.image_pad_id)
    opening = tiny.codec.decode(lesson.tokens.ids[:image])
    assert "<search>" in opening and "</search>" in opening
    assert not any(lesson.tokens.loss_mask[: image - len(lesson.tokens.prompt_ids)]), "the search is given"


def test_the_token_to_look_at_shows_the_value(
    tiny: Tiny, store: MemoryStore, lessons: PageLessons, page: Page, spec: ViewSpec
) -> None:
    lesson = lessons.point(2, np.random.default_rng(0))
    view, ids = page_view(page, spec), lesson.tokens.ids
    first = ids.index(tiny.codec.image_pad_id)
    columns = view.width // spec.factor
    sampled = lesson.tokens.loss_mask
    boxes = [glance for glance in lesson.glances if not glance.moves]
    assert len(boxes) == 2
    for glance in boxes:
        assert ids[glance.target] == tiny.codec.image_pad_id
        start, end = glance.start + 1, glance.end + 1
        assert all(sampled[start - len(lesson.tokens.prompt_ids) : end - len(lesson.tokens.prompt_ids)])
        assert re.fullmatch(r"<bbox>\[\d+, \d+", tiny.codec.decode(ids[start:end])), "the rest follows from these"
        row, column = divmod(glance.target - first, columns)
        scale = page.width / view.width * spec.factor
        block = Box(x1=column * scale, y1=row * scale, x2=(column + 1) * scale, y2=(row + 1) * scale)
        middles = [middle(word(store, page, value)) for value in VALUES.values()]
        assert any(block.x1 <= x <= block.x2 and block.y1 <= y <= block.y2 for x, y in middles)


def test_what_an_image_decides_weighs_more(tiny: Tiny, lessons: PageLessons) -> None:
    def heavy(lesson: Lesson) -> str:
        sampled = compress(lesson.tokens.response_ids, lesson.tokens.loss_mask)
        weights = Example.of(lesson, 4.0).weights
        assert set(weights) == {1.0, 4.0} and set(Example.of(lesson).weights) == {1.0}
        return tiny.codec.decode([token for token, weight in zip(sampled, weights, strict=True) if weight == 4.0])

    rng = np.random.default_rng(0)
    assert re.fullmatch(r"(<bbox>\[\d+, \d+){2}", heavy(lessons.point(2, rng)))
    assert "".join(heavy(lessons.read(rng)).split()) in [value * 2 for value in VALUES.values()]


def test_the_name_in_a_thought_is_looked_up_in_its_own_question(tiny: Tiny, lessons: PageLessons) -> None:
    ids = (lesson := lessons.point(2, np.random.default_rng(0))).tokens.ids
    read = [
        (tiny.codec.decode(ids[one.start + 1 : one.end + 1]), tiny.codec.decode(ids[one.target : one.target + length]))
        for one in lesson.glances
        if one.moves and (length := one.end - one.start)
    ]
    assert len(read) >= 2 and all(said.strip().casefold() == asked.strip().casefold() for said, asked in read)
    thoughts = [parse(turn).thought for turn in said(tiny, lesson)]
    names = "".join(thought.removeprefix("zoom in on ") for thought in thoughts)
    assert "".join(text.strip() for text, _ in read) == names.replace(" ", "")
    questions = [i for i, one in enumerate(lesson.glances) if not one.moves]
    assert lesson.glances[questions[0] + 1].target > lesson.glances[questions[0]].end, "the second asks later"


def test_a_sight_is_taught_as_it_is_shown(
    tiny: Tiny, store: MemoryStore, lessons: PageLessons, page: Page, spec: ViewSpec
) -> None:
    tasks = [seek(store, page, name, value) for name, value in VALUES.items()]
    reader = PatchReader(tiny.codec.tokenizer, labels_of(tasks), spec, ExpertStyle(box_min=60, box_snap=10))
    sights, rng = PageSights(store, [page], tasks, reader, spec), np.random.default_rng(0)
    tinted, crop = sights.pages(1, rng)[0].tinted(rng), sights.crops(1, rng)[0]
    for sight, first in ((tinted, Crop), (crop, Answer)):
        lesson = lessons.about(sight, 2, rng)
        assert lesson is not None and isinstance(parse(said(tiny, lesson)[0]).action, first)
        assert lesson.reads == (first is Answer) and len(lesson.tokens.images) == 1
        assert np.array_equal(lesson.tokens.images[0].pixels, tiny.codec.encode_pixels(sight.image).pixels)
    assert lessons.about(sights.windows(1, 0, rng)[0], 2, rng) is None, "no question asks for a label"


def test_reading_gives_the_crop_and_asks_for_what_the_expert_says_then(tiny: Tiny, lessons: PageLessons) -> None:
    rng = np.random.default_rng(0)
    drawn = [lessons.read(rng) for _ in range(12)]
    assert {said(tiny, one)[0] for one in drawn} == {
        f"<think>it is {value}</think><answer>{value}</answer>" for value in VALUES.values()
    }
    for one in drawn:
        ids = one.tokens.ids
        opening = tiny.codec.decode(ids[: ids.index(tiny.codec.image_pad_id)])
        assert opening.index("Question: ") < opening.index("<bbox>"), "question and crop are given"
        value = parse(said(tiny, one)[0]).action.text  # type: ignore[union-attr]
        assert "".join(tiny.codec.decode(ids[g.start + 1 : g.end + 1]) for g in one.glances).split() == [value * 2]
        assert all(ids[glance.target] == tiny.codec.image_pad_id for glance in one.glances)


def test_a_crop_that_missed_is_given_and_the_right_box_is_asked_for(
    tiny: Tiny, store: MemoryStore, page: Page, spec: ViewSpec
) -> None:
    tasks = [seek(store, page, name, value) for name, value in VALUES.items()]
    reader = PatchReader(tiny.codec.tokenizer, labels_of(tasks), spec, ExpertStyle(box_min=20, box_snap=10))
    drawn, view = PageLessons([page], tasks, tiny.codec, reader, spec, ViewRenderer(store)), page_view(page, spec)
    misses = [one for one in (drawn.check(np.random.default_rng(seed)) for seed in range(16)) if not one.reads]
    assert 4 <= len(misses) <= 12, "half of them"
    for lesson in misses:
        ids, (turn,) = lesson.tokens.ids, said(tiny, lesson)
        parsed = parse(turn)
        assert isinstance(parsed.action, Crop) and parsed.thought.startswith("no; zoom in on ")
        value = word(store, page, VALUES[parsed.thought.removeprefix("no; zoom in on ")])
        assert to_raw(view, parsed.action.box, spec.frame).holds(value)
        given = tiny.codec.decode(ids[: ids.index(tiny.codec.image_pad_id)])
        missed = written(tiny, lesson)
        assert "<search>" in given and missed != parsed.action.box
        crop = crop_view(page, view, missed, spec)
        assert not any(crop.region.holds(word(store, page, one)) for one in VALUES.values())
        shown = tiny.codec.encode_pixels(ViewRenderer(store).image(crop))
        assert len(lesson.tokens.images) == 2 and np.array_equal(lesson.tokens.images[1].pixels, shown.pixels)
        first, *echoed, look = lesson.glances
        name = "".join(tiny.codec.decode(ids[one.start + 1 : one.end + 1]) for one in echoed)
        assert name.strip() == parsed.thought.removeprefix("no; zoom in on ") and all(one.moves for one in echoed)
        block = block_at(view, value, spec.factor)
        assert look.target == ids.index(tiny.codec.image_pad_id) + block, "on the page, not on the crop"
        assert "no".startswith(tiny.codec.decode(ids[first.start + 1 : first.end + 1])) and first.target == look.target


def test_a_crop_that_holds_the_value_is_read_beside_its_page(
    tiny: Tiny, store: MemoryStore, page: Page, spec: ViewSpec
) -> None:
    task = seek(store, page, "Staff", VALUES["Staff"])
    reader = PatchReader(tiny.codec.tokenizer, ["Staff"], spec, ExpertStyle(box_min=60, box_snap=10))
    drawn = PageLessons([page], [task], tiny.codec, reader, spec, ViewRenderer(store))
    lesson = next(one for seed in range(8) if (one := drawn.check(np.random.default_rng(seed))).reads)
    assert said(tiny, lesson) == said(tiny, drawn.read(np.random.default_rng(0))) and len(lesson.tokens.images) == 2
    view, value, ids = page_view(page, spec), word(store, page, VALUES["Staff"]), lesson.tokens.ids
    crop = crop_view(page, view, written(tiny, lesson), spec)
    assert crop.region.holds(value)
    shown = tiny.codec.encode_pixels(ViewRenderer(store).image(crop))
    assert np.array_equal(lesson.tokens.images[1].pixels, shown.pixels)
    after = ids.index(tiny.codec.image_pad_id) + view.width * view.height // spec.factor**2
    begins = ids.index(tiny.codec.image_pad_id, after)
    first, *digits = lesson.glances
    assert "it".startswith(tiny.codec.decode(ids[first.start + 1 : first.end + 1]))
    assert first.target == begins + block_at(crop, value, spec.factor)
    assert digits and all(glance.target >= begins for glance in digits), "read off the crop, not off the page"


def test_no_digit_of_a_box_tells_whether_it_missed(tiny: Tiny, store: MemoryStore, page: Page, spec: ViewSpec) -> None:
    tasks = [seek(store, page, name, value) for name, value in VALUES.items()]
    reader = PatchReader(tiny.codec.tokenizer, labels_of(tasks), spec, ExpertStyle(box_min=20, box_snap=10))
    drawn = PageLessons([page], tasks, tiny.codec, reader, spec, ViewRenderer(store))
    lessons = [drawn.check(np.random.default_rng(seed)) for seed in range(16)]
    assert {one.reads for one in lessons} == {True, False}
    boxes = [written(tiny, one) for one in lessons]
    assert all(edge % 10 == 0 for box in boxes for edge in box.as_tuple())


def written(tiny: Tiny, lesson: Lesson) -> Box:
    """The box that a lesson gives."""
    given = re.findall(r"<think>[^<]*</think><bbox>[^<]*</bbox>", tiny.codec.decode(lesson.tokens.ids))[0]
    action = parse(given).action
    assert isinstance(action, Crop)
    return action.box


def test_where_values_fill_the_page_no_crop_misses(tiny: Tiny, store: MemoryStore, page: Page, spec: ViewSpec) -> None:
    task = seek(store, page, "Staff", VALUES["Staff"])
    reader = PatchReader(tiny.codec.tokenizer, ["Staff"], spec, ExpertStyle(box_min=2000))
    drawn = PageLessons([page], [task], tiny.codec, reader, spec, ViewRenderer(store))
    lessons = [drawn.check(np.random.default_rng(seed)) for seed in range(8)]
    assert all(len(one.tokens.images) == 2 for one in lessons)
    assert all(one.reads for one in lessons)


def test_each_digit_is_read_on_the_block_of_the_crop_that_shows_it(
    tiny: Tiny, store: MemoryStore, page: Page, spec: ViewSpec
) -> None:
    task = seek(store, page, "Staff", VALUES["Staff"])
    reader = PatchReader(tiny.codec.tokenizer, ["Staff"], spec, ExpertStyle(box_min=60, box_snap=10))
    lesson = PageLessons([page], [task], tiny.codec, reader, spec, ViewRenderer(store)).read(np.random.default_rng(0))
    raw = word(store, page, VALUES["Staff"])
    crop, count = reader.value_crop(page, raw), len(VALUES["Staff"])
    first, columns = lesson.tokens.ids.index(tiny.codec.image_pad_id), crop.width // spec.factor
    across, down = (
        crop.region.width / crop.width * spec.factor,
        crop.region.height / crop.height * spec.factor,
    )
    row = int((middle(raw)[1] - crop.region.y1) / down)
    digits = [raw.x1 + (digit + 0.5) / count * raw.width for digit in range(count)]
    wanted = [row * columns + int((x - crop.region.x1) / across) for x in digits]
    assert [glance.target - first for glance in lesson.glances] == wanted * 2  # in the thought and in the answer


def test_reading_a_first_hop_asks_for_the_search_of_the_second(
    tiny: Tiny, store: MemoryStore, page: Page, spec: ViewSpec
) -> None:
    one = seek(store, page, "Staff", VALUES["Staff"])
    meta = {"queries": ["acme staff", "staff costs"], "bridge": "310", "site": "Staff", "metric": "Costs"}
    asked = {"question": "What are the costs of the staff that it is 310 of?"}
    task = one.model_copy(update={"gold": [*one.gold, *one.gold], "hops": 2, "meta": meta, **asked})
    reader = PatchReader(tiny.codec.tokenizer, ["Staff"], spec, ExpertStyle(box_min=60, box_snap=10))
    drawn = PageLessons([page], [task], tiny.codec, reader, spec, ViewRenderer(store))
    lessons = [drawn.read(np.random.default_rng(seed)) for seed in range(8)]
    bridge = "<think>it is 310; find staff costs</think><search>staff costs</search>"
    lesson = next(one for one in lessons if said(tiny, one)[0] == bridge)
    assert [one.bridge for one in lessons] == [said(tiny, one)[0] == bridge for one in lessons]
    assert not all(one.bridge for one in lessons)
    asked_for = [drawn.bridge(np.random.default_rng(seed)) for seed in range(8)]
    assert all(one.bridge and said(tiny, one)[0] == bridge for one in asked_for), "nothing else when asked for"
    ids, read = lesson.tokens.ids, tiny.codec.token_text
    echoed = [glance for glance in lesson.glances if glance.moves]
    for glance in echoed:
        spoken = [read(token).strip().casefold() for token in ids[glance.start + 1 : glance.end + 1]]
        heard = [read(token).strip().casefold() for token in ids[glance.target : glance.target + len(spoken)]]
        assert glance.target < len(lesson.tokens.prompt_ids) and spoken == heard, "each from the question"
    words = [tiny.codec.decode(ids[glance.start + 1 : glance.end + 1]).strip() for glance in echoed]
    assert " ".join(words).split() == ["staff", "costs"] * 2, "in the thought and in the search, and nothing else"


def test_a_lesson_asks_about_another_name_each_time(tiny: Tiny, store: MemoryStore, page: Page, spec: ViewSpec) -> None:
    meta = {"entity": "Acme Corporation", "metric": "Staff", "queries": ["Acme Corporation staff"]}
    asked = {"question": "What is the staff of Acme Corporation?", "meta": meta}
    task = seek(store, page, "Staff", VALUES["Staff"]).model_copy(update=asked)
    reader = PatchReader(tiny.codec.tokenizer, ["Staff"], spec, ExpertStyle(box_min=60, box_snap=10))
    drawn, rng = PageLessons([page], [task], tiny.codec, reader, spec, ViewRenderer(store)), np.random.default_rng(0)
    for draw in (drawn.read, drawn.bridge, drawn.check, lambda rng: drawn.point(1, rng)):
        texts = [tiny.codec.decode(draw(rng).tokens.prompt_ids) for _ in range(8)]
        assert not any("Acme" in text for text in texts) and len(set(texts)) == 8
        assert all(" Corporation?" in text for text in texts)


def test_where_no_task_has_two_hops_a_bridge_is_any_value(lessons: PageLessons) -> None:
    one, other = (draw(np.random.default_rng(3)) for draw in (lessons.bridge, lessons.read))
    assert one == other and not one.bridge


def test_the_same_draws_give_the_same_lesson(lessons: PageLessons) -> None:
    first, second = (lessons.point(2, np.random.default_rng(4)) for _ in range(2))
    assert first.tokens.ids == second.tokens.ids and first.glances == second.glances


def test_pages_that_nothing_is_asked_about_are_refused(
    tiny: Tiny, page: Page, store: MemoryStore, spec: ViewSpec
) -> None:
    reader = PatchReader(tiny.codec.tokenizer, [], spec, ExpertStyle())
    with pytest.raises(DataError, match="no task"):
        PageLessons([page], [], tiny.codec, reader, spec, ViewRenderer(store))


def word(store: MemoryStore, page: Page, text: str) -> Box:
    return next(one.box for one in store.words(page.id) if one.text == text)


def middle(box: Box) -> tuple[float, float]:
    return (box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2
