"""Pieces of pages to learn to see from."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.tiny import Tiny, make_tiny, seek, spec_of
from vrag.data.patches import CHARACTERS, PatchReader, Sought
from vrag.data.sights import CODE_CUTS, PageSights, Sight, characters_of, labels_of, sought_on
from vrag.errors import DataError
from vrag.geometry import ViewSpec, page_view
from vrag.policies.expert import ExpertStyle
from vrag.testing import MemoryStore
from vrag.types import Page, Task
from vrag.views import ViewRenderer

STYLE = ExpertStyle(box_min=60, box_snap=10)


@pytest.fixture(scope="module")
def tiny() -> Tiny:
    return make_tiny("qwen3_vl")


@pytest.fixture
def spec(tiny: Tiny) -> ViewSpec:
    return spec_of(tiny)


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    store.add("acme.pdf", 1, ["Acme Corporation", "Staff 310", "Costs 48"], font_size=90)
    store.add("acme.pdf", 2, ["nothing of interest"], font_size=90)
    return store


@pytest.fixture
def tasks(store: MemoryStore) -> list[Task]:
    page = next(iter(store.pages.values()))
    return [seek(store, page, name, value) for name, value in (("Staff", "310"), ("Costs", "48"), ("Costs", "48"))]


def make(tiny: Tiny, store: MemoryStore, tasks: list[Task], spec: ViewSpec, seed: int = 0) -> PageSights:
    reader = PatchReader(tiny.codec.tokenizer, labels_of(tasks), spec, STYLE)
    return PageSights(store, list(store.pages.values()), tasks, reader, spec, seed=seed)


def test_what_is_sought_is_known_by_page_and_once(store: MemoryStore, tasks: list[Task]) -> None:
    first, second = store.pages.values()
    found = sought_on([first, second], tasks)
    assert [one.name for one in found[first.id]] == ["Staff", "Costs"]
    assert found[second.id] == []
    assert labels_of(tasks) == ["Costs", "Staff"]


def test_windows_show_labels_and_values_with_their_names(
    tiny: Tiny, store: MemoryStore, tasks: list[Task], spec: ViewSpec
) -> None:
    rng = np.random.default_rng(0)
    drawn = make(tiny, store, tasks, spec).windows(20, 20, rng)
    assert all(grey(one).shape[0] % tiny.factor == 0 == grey(one).shape[1] % tiny.factor for one in drawn)
    assert all(len(one.targets.words) * (tiny.factor // 2) ** 2 == grey(one).size for one in drawn)
    assert np.mean([(sight.targets.words >= 0).any() for sight in drawn[:20]]) > 0.9
    assert np.mean([(sight.targets.tokens >= 0).any() for sight in drawn[20:]]) > 0.9
    assert all(grey(one).min() < 128 for one in drawn), "there is print in each"


def test_a_page_marks_its_values_and_a_crop_shows_one(
    tiny: Tiny, store: MemoryStore, tasks: list[Task], spec: ViewSpec
) -> None:
    sights, rng = make(tiny, store, tasks, spec), np.random.default_rng(0)
    drawn = sights.pages(8, rng)
    marked = {int((page.targets.values[:, 0] >= 0).sum()) for page in drawn}
    assert marked == {0, 2}, "two values on one page, none on the other"
    crop = sights.crops(1, rng)[0]
    assert (crop.targets.values == -1).all()
    assert (crop.targets.tokens >= 0).any()
    asked = {tuple(one.name for one in page.cut.sought) for page in drawn}
    assert asked == {("Staff", "Costs"), ()}, "what a question may ask of it"
    assert all(len(crop.cut.sought) == 1 for crop in sights.crops(8, rng))
    assert not sights.windows(1, 1, rng)[1].cut.sought


def test_other_colours_keep_the_print_and_its_targets(
    tiny: Tiny, store: MemoryStore, tasks: list[Task], spec: ViewSpec
) -> None:
    sight = make(tiny, store, tasks, spec).windows(1, 0, np.random.default_rng(0))[0]
    other = sight.recoloured(np.random.default_rng(1))
    assert other.targets is sight.targets
    assert not same(other, sight)
    ink, again = (grey(one) - grey(one).mean() for one in (sight, other))
    assert abs(np.corrcoef(ink.ravel(), again.ravel())[0, 1]) > 0.99
    blank = replace(sight, image=Image.new("RGB", (32, 32), "white"))
    assert blank.recoloured(np.random.default_rng(1)) is blank


def test_another_theme_changes_colours_and_leaves_paper_light(
    tiny: Tiny, store: MemoryStore, tasks: list[Task], spec: ViewSpec
) -> None:
    image = Image.new("RGB", (40, 20), "white")
    image.paste((200, 40, 40), (0, 0, 20, 20))
    sight = replace(make(tiny, store, tasks, spec).pages(1, np.random.default_rng(0))[0], image=image)
    themes = [np.asarray(sight.tinted(np.random.default_rng(seed)).image) for seed in range(12)]
    assert all(theme.shape == (20, 40, 3) and (theme[:, 20:] > 255 * 0.9).all() for theme in themes)
    strongest = {int(theme[0, 0].argmax()) for theme in themes}
    assert strongest == {0, 1, 2}, "red becomes green or blue"
    assert all((theme[0, 0] < theme[0, 30]).all() for theme in themes), "what is printed stays darker than paper"


def test_rare_kinds_of_pages_are_drawn_as_often_as_others(
    tiny: Tiny, store: MemoryStore, tasks: list[Task], spec: ViewSpec
) -> None:
    for number in range(3, 9):
        store.add("acme.pdf", number, ["nothing of interest"], font_size=90)
    pages = list(store.pages.values())
    reader = PatchReader(tiny.codec.tokenizer, labels_of(tasks), spec, STYLE)
    kinds = {page.id: "chart" if page is pages[0] else "text" for page in pages}
    sights = PageSights(store, pages, tasks, reader, spec, kinds=kinds)
    drawn = sights.pages(60, np.random.default_rng(0))
    charts = sum((one.targets.values >= 0).any() for one in drawn)
    assert 20 < charts < 40


def test_values_are_drawn_evenly_from_the_characters_they_are_written_with(
    tiny: Tiny, store: MemoryStore, spec: ViewSpec
) -> None:
    tasks = list[Task]()
    for number in range(3, 12):
        value = "J30" if number == 3 else "111"
        page = store.add("acme.pdf", number, [f"Staff {value}"], font_size=90)
        tasks.append(seek(store, page, "Staff", value))
    sights, rng = make(tiny, store, tasks, spec), np.random.default_rng(0)
    letter = CHARACTERS.index("J")
    for drawn in (sights.windows(0, 80, rng), sights.crops(80, rng)):
        share = np.mean([(one.targets.characters == letter).any() for one in drawn])
        assert 0.6 < share < 0.9, "J, 3 and 0 stand on one page of nine, and are three characters of four"


def test_a_value_with_a_letter_is_cut_more_often(tiny: Tiny, store: MemoryStore, spec: ViewSpec) -> None:
    counts = dict[str, int]()
    for number, value in enumerate(("J30", "111"), 3):
        page = store.add("acme.pdf", number, [f"Staff {value}"], font_size=90)
        tasks = [seek(store, page, "Staff", value)]
        drawn = make(tiny, store, tasks, spec).windows(0, 60, np.random.default_rng(0))
        counts[value] = len({one.cut.view for one in drawn})
    assert counts == {"J30": CODE_CUTS, "111": 1}


def test_a_page_is_drawn_as_an_episode_sees_it(
    tiny: Tiny, store: MemoryStore, tasks: list[Task], spec: ViewSpec
) -> None:
    page = next(iter(store.pages.values()))
    drawn = make(tiny, store, tasks, spec).pages(20, np.random.default_rng(0))
    shown = ViewRenderer(store).image(page_view(page, spec))
    assert any(one.image.tobytes() == shown.tobytes() for one in drawn)
    assert drawn[0].image is not drawn[1].image, "callers may paint on theirs"


def test_characters_come_in_one_order_whatever_a_process_hashes() -> None:
    assert characters_of("J303") == ["0", "3", "J"] and characters_of("") == [""]


def grey(sight: Sight) -> np.ndarray:
    return np.asarray(sight.image, dtype=float).mean(axis=2)


def same(one: Sight, other: Sight) -> bool:
    return one.image.size == other.image.size and one.image.tobytes() == other.image.tobytes()


def test_the_same_seed_draws_the_same_sights(tiny: Tiny, store: MemoryStore, tasks: list[Task], spec: ViewSpec) -> None:
    first, second = (make(tiny, store, tasks, spec).windows(4, 4, np.random.default_rng(3)) for _ in range(2))
    assert all(map(same, first, second))
    other = make(tiny, store, tasks, spec, seed=1).windows(4, 4, np.random.default_rng(3))
    assert not all(map(same, first, other))


def test_pages_without_what_is_sought_are_refused(
    tiny: Tiny, store: MemoryStore, tasks: list[Task], spec: ViewSpec
) -> None:
    page: Page = list(store.pages.values())[1]
    reader = PatchReader(tiny.codec.tokenizer, labels_of(tasks), spec, STYLE)
    with pytest.raises(DataError, match="no labels"):
        PageSights(store, [page], tasks, reader, spec)


def test_a_value_is_where_the_gold_box_is(store: MemoryStore, tasks: list[Task], spec: ViewSpec) -> None:
    page = next(iter(store.pages.values()))
    one = sought_on([page], tasks)[page.id][0]
    assert isinstance(one, Sought)
    assert one.box.as_tuple() == pytest.approx(next(w.box for w in store.words(page.id) if w.text == "310").as_tuple())
    assert page_view(page, spec).width > 0
