"""Pieces of pages to learn to see from."""

import numpy as np
import pytest

from tests.tiny import Tiny, make_tiny, seek, spec_of
from vrag.data.patches import PatchReader, Sought
from vrag.data.sights import PageSights, Sight, labels_of, sought_on
from vrag.errors import DataError
from vrag.geometry import ViewSpec, page_view
from vrag.policies.expert import ExpertStyle
from vrag.testing import MemoryStore
from vrag.types import Page, Task

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
    drawn = make(tiny, store, tasks, spec).windows(20, 20, 0.0, rng)
    assert all(sight.pixels.shape[0] % tiny.factor == 0 == sight.pixels.shape[1] % tiny.factor for sight in drawn)
    assert all(len(sight.targets.words) * (tiny.factor // 2) ** 2 == sight.pixels[..., 0].size for sight in drawn)
    assert np.mean([(sight.targets.words >= 0).any() for sight in drawn[:20]]) > 0.9
    assert np.mean([(sight.targets.tokens >= 0).any() for sight in drawn[20:]]) > 0.9
    assert all(sight.pixels.min() < 128 for sight in drawn), "there is print in each"


def test_a_page_marks_its_values_and_a_crop_shows_one(
    tiny: Tiny, store: MemoryStore, tasks: list[Task], spec: ViewSpec
) -> None:
    sights, rng = make(tiny, store, tasks, spec), np.random.default_rng(0)
    marked = {int((sights.page(rng).targets.values[:, 0] >= 0).sum()) for _ in range(8)}
    assert marked == {0, 2}, "two values on one page, none on the other"
    crop = sights.crop(rng)
    assert (crop.targets.values == -1).all()
    assert (crop.targets.tokens >= 0).any()


def test_other_colours_keep_the_print_and_its_targets(
    tiny: Tiny, store: MemoryStore, tasks: list[Task], spec: ViewSpec
) -> None:
    sight = make(tiny, store, tasks, spec).windows(1, 0, 0.0, np.random.default_rng(0))[0]
    other = sight.recoloured(np.random.default_rng(1))
    assert other.targets is sight.targets
    assert not np.array_equal(other.pixels, sight.pixels)
    ink, again = (grey(one) - grey(one).mean() for one in (sight, other))
    assert abs(np.corrcoef(ink.ravel(), again.ravel())[0, 1]) > 0.99
    blank = Sight(np.full((32, 32, 3), 255, np.uint8), sight.targets)
    assert blank.recoloured(np.random.default_rng(1)) is blank


def grey(sight: Sight) -> np.ndarray:
    return sight.pixels.astype(float).mean(axis=2)


def test_the_same_seed_draws_the_same_sights(tiny: Tiny, store: MemoryStore, tasks: list[Task], spec: ViewSpec) -> None:
    first, second = (make(tiny, store, tasks, spec).windows(4, 4, 0.5, np.random.default_rng(3)) for _ in range(2))
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(first, second, strict=True))
    other = make(tiny, store, tasks, spec, seed=1).windows(4, 4, 0.5, np.random.default_rng(3))
    assert not all(a.pixels.shape == b.pixels.shape for a, b in zip(first, other, strict=True)) or not all(
        np.array_equal(a.pixels, b.pixels) for a, b in zip(first, other, strict=True)
    )


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
