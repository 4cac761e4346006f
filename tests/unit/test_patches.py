"""What each patch shows, from word boxes alone."""

import numpy as np
import pytest

from tests.tiny import Tiny, make_tiny
from vrag.data.patches import CHARACTERS, MERGE, PatchReader, PatchTargets, Sought, box_digits
from vrag.geometry import ViewSpec, page_view
from vrag.policies.expert import ExpertStyle
from vrag.types import Box, Page, PageRef, View, Word

PATCH = 16
SPEC = ViewSpec(frame="relative1000", factor=2 * PATCH, min_pixels=4 * 1024, max_pixels=64 * 1024)
PAGE = Page(
    id="p", document_id="d", ref=PageRef(document="d.pdf", page=1), width=256, height=256, text="", text_source="none"
)


@pytest.fixture(scope="module")
def tiny() -> Tiny:
    return make_tiny("qwen3_vl")


@pytest.fixture(scope="module")
def reader(tiny: Tiny) -> PatchReader:
    return PatchReader(tiny.codec.tokenizer, ["Costs", "Revenue"], SPEC, ExpertStyle(box_min=60, box_snap=10))


@pytest.fixture
def view() -> View:
    view = page_view(PAGE, SPEC)
    assert (view.width, view.height) == (256, 256), "one view pixel is one raw pixel here"
    return view


def word(text: str, x1: float, y1: float, x2: float, y2: float) -> Word:
    return Word(text=text, box=Box(x1=x1, y1=y1, x2=x2, y2=y2), line=0)


def grid(values: np.ndarray) -> np.ndarray:
    """[rows, columns]: the encoder's order, four patches of a block together, put back in place."""
    side = 256 // PATCH
    return values.reshape(side // MERGE, side // MERGE, MERGE, MERGE).transpose(0, 2, 1, 3).reshape(side, side)


def text(targets: PatchTargets, row: int) -> str:
    """The characters along one row of patches."""
    halves = np.stack([grid(targets.characters[:, 0]), grid(targets.characters[:, 1])], axis=-1)[row].reshape(-1)
    return "".join(CHARACTERS[i] if i >= 0 else " " for i in halves).strip()


def test_characters_stand_where_they_are_printed(reader: PatchReader, view: View) -> None:
    targets = reader.targets(view, [word("Bx9", 32, 48, 56, 64)])  # three letters, 8 pixels each: half a patch
    assert text(targets, 3) == "Bx9"
    assert all(text(targets, row) == "" for row in range(16) if row != 3)
    columns = grid(targets.characters[:, 0])[3].nonzero()[0]
    assert columns[grid(targets.characters[:, 0])[3][columns] >= 0].tolist() == [2, 3]


def test_a_patch_that_shows_a_part_of_a_label_has_its_class_and_its_token(
    tiny: Tiny, reader: PatchReader, view: View
) -> None:
    targets = reader.targets(view, [word("Revenue", 32, 48, 96, 64), word("Other", 32, 96, 96, 112)])
    labels, tokens = grid(targets.words), grid(targets.tokens)
    assert labels[3].tolist() == [-1, -1, 1, 1, 1, 1] + [-1] * 10
    assert (labels[6] == -1).all(), "a word that no question seeks has no class"
    assert (tokens[6, 2:6] >= 0).all(), "but it has tokens"
    ids = tiny.codec.tokenizer(" Revenue", add_special_tokens=False)["input_ids"]
    assert tokens[3, 2] in ids[:2] and tokens[3, 5] == ids[-1]


def test_print_that_is_too_small_or_cut_off_is_not_asked_for(reader: PatchReader, view: View) -> None:
    small = reader.targets(view, [word("Revenue", 32, 48, 60, 53)])
    assert (small.characters == -1).all() and (small.tokens == -1).all()
    cut = reader.targets(view, [word("Revenue", 200, 48, 300, 64)])
    assert (cut.words == -1).all() and (cut.tokens == -1).all(), "what is cut off has no name"
    assert (cut.characters >= 0).any(), "but letters that can be seen"


def test_a_value_is_marked_on_the_block_where_it_stands(tiny: Tiny, reader: PatchReader, view: View) -> None:
    targets = reader.targets(view, [], [Sought("Revenue 2022", Box(x1=120, y1=70, x2=130, y2=74))])
    marked = (targets.values[:, 0] >= 0).nonzero()[0]
    assert marked.tolist() == [2 * 8 + 3], "block row 2, column 3 of 8"
    row = targets.values[marked[0]]
    ids = tiny.codec.tokenizer(" Revenue", add_special_tokens=False)["input_ids"]
    digit = tiny.codec.tokenizer.convert_tokens_to_ids("2")
    assert row[:2].tolist() == [ids[-1], digit]
    assert row[2:].tolist() == box_digits(reader.value_box(view, Box(x1=120, y1=70, x2=130, y2=74)))


def test_on_a_page_the_place_of_every_word_is_asked_for(reader: PatchReader, view: View) -> None:
    words, value = [word("Costs", 32, 48, 64, 64), word("7", 120, 70, 130, 74)], Box(x1=121, y1=70, x2=129, y2=74)
    places = reader.targets(view, words, [Sought("Costs", value)]).places
    marked = (places[:, 0] >= 0).nonzero()[0]
    assert marked.tolist() == [8 + 1, 2 * 8 + 3], "the blocks with the middles"
    assert places[marked[0]].tolist() == box_digits(reader.value_box(view, Box(x1=48, y1=56, x2=48, y2=56)))
    assert (reader.targets(view, words).places == -1).all(), "a window says nothing about places"


def test_the_box_of_a_value_holds_it(reader: PatchReader, view: View) -> None:
    box = reader.value_box(view, Box(x1=120, y1=70, x2=130, y2=74))
    assert box.x1 <= 120 / 256 * 1000 and box.x2 >= 130 / 256 * 1000
    assert box.y1 <= 70 / 256 * 1000 and box.y2 >= 74 / 256 * 1000
    assert box_digits(Box(x1=0, y1=73, x2=640, y2=1000)) == [0, 0, 0, 7, 6, 4, 9, 9]


def test_a_lesser_agents_box_is_as_large_lies_beside_the_experts_and_still_holds_the_value(
    reader: PatchReader, view: View
) -> None:
    values = [Box(x1=x, y1=y, x2=x + 4, y2=y + 3) for x in (16, 60, 130, 236) for y in (16, 90, 236)]
    apart = 0
    for value in values:
        expert, box = reader.value_box(view, value), reader.agent_box(view, value)
        assert box == reader.agent_box(view, value), "always alike"
        assert (box.width, box.height) == (expert.width, expert.height)
        assert box.x1 >= 0 and box.y1 >= 0 and box.x2 <= 1000 and box.y2 <= 1000
        assert abs(box.x1 - expert.x1) <= 0.25 * box.width + 0.5 and abs(box.y1 - expert.y1) <= 0.25 * box.height + 0.5
        assert box.x1 <= value.x1 / 0.256 and value.x2 / 0.256 <= box.x2
        apart += box != expert
    assert apart > len(values) / 2


def test_a_box_that_misses_is_as_large_and_lies_beside_the_value_or_anywhere(reader: PatchReader, view: View) -> None:
    value, rng = Box(x1=120, y1=120, x2=130, y2=124), np.random.default_rng(0)
    expert = reader.value_box(view, value)
    boxes = [reader.missed_box(view, value, rng) for _ in range(200)]
    for box in boxes:
        assert (box.width, box.height) == (expert.width, expert.height) and box.x1 % 10 == box.y1 % 10 == 0
        assert box.x1 >= 0 and box.y1 >= 0 and box.x2 <= 1000 and box.y2 <= 1000
    off = [sorted([abs(box.x1 - expert.x1) / box.width, abs(box.y1 - expert.y1) / box.height]) for box in boxes]
    snapped = 6 / expert.width
    beside = sum(least <= 0.25 + snapped and 0.4 - snapped <= most <= 1.3 + snapped for least, most in off)
    assert 90 <= beside <= 150, "half of them, and some by chance"
    assert len(set(boxes)) > 120 and max(most for _, most in off) > 2


def test_a_value_is_named_by_what_others_on_the_page_dont_share(tiny: Tiny, reader: PatchReader, view: View) -> None:
    def named(*names: str) -> list[list[int]]:
        found = [Sought(name, Box(x1=20 + 60 * i, y1=70, x2=30 + 60 * i, y2=74)) for i, name in enumerate(names)]
        values = reader.targets(view, [], found).values
        return values[values[:, 2] >= 0, :2].tolist()

    staff, costs = (tiny.codec.tokenizer(f" {name}", add_special_tokens=False)["input_ids"][-1] for name in NAMED)
    one, two = (tiny.codec.tokenizer.convert_tokens_to_ids(digit) for digit in "12")
    assert named("Costs") == [[costs, -1]], "no column"
    assert named("Staff", "Costs") == [[staff, -1], [costs, -1]]
    assert named("Staff 2021", "Costs 2022") == [[staff, one], [costs, two]]
    assert named("Costs 2021", "Costs 2022") == [[-1, one], [-1, two]], "a chart of one metric"


NAMED = ("Staff", "Costs")
