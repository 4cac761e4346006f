"""Where the tokens of a box are told to look, in whole trajectories of the expert."""

import re
from collections.abc import Sequence
from typing import Any

import pytest

from tests.tiny import Tiny, make_tiny, spec_of
from tests.trajectories import make_store, two_hops
from vrag.data.trajectories import expert_episodes
from vrag.environment import DocumentEnvironment, EnvironmentConfig
from vrag.episode import Episode
from vrag.errors import UsageError
from vrag.geometry import ViewSpec, page_view
from vrag.policies.expert import ExpertStyle
from vrag.testing import MemoryStore, WordRetriever
from vrag.training.sft import example
from vrag.training.supervised import Example
from vrag.types import Box


@pytest.fixture(scope="module")
def tiny() -> Tiny:
    return make_tiny("qwen3_vl")


@pytest.fixture(scope="module")
def spec(tiny: Tiny) -> ViewSpec:
    return spec_of(tiny)


@pytest.fixture(scope="module")
def store() -> MemoryStore:
    return make_store()


def played(tiny: Tiny, store: MemoryStore, spec: ViewSpec, style: ExpertStyle, **settings: Any) -> Episode:
    config = EnvironmentConfig(view=spec, max_turns=8, **settings)

    def make() -> DocumentEnvironment:
        return DocumentEnvironment(store, WordRetriever(store), config)

    return expert_episodes([two_hops(store)], store, make, tiny.codec, spec, style, 0)[0]


@pytest.fixture(scope="module")
def episode(tiny: Tiny, store: MemoryStore, spec: ViewSpec) -> Episode:
    return played(tiny, store, spec, ExpertStyle(box_min=60))


def test_each_box_of_a_trajectory_looks_at_its_own_value(
    tiny: Tiny, store: MemoryStore, spec: ViewSpec, episode: Episode
) -> None:
    assert [turn.action.name for turn in episode.turns if turn.action] == ["search", "bbox", "search", "bbox", "answer"]
    assert episode.tokens is not None
    ids = episode.tokens.ids
    starts = [i for i, token in enumerate(ids) if token == tiny.codec.image_pad_id and ids[i - 1] != token]
    check_glances(example(episode, {}, tiny.codec), (starts[0], starts[2]), tiny, store, spec)


def check_glances(made: Example, starts: Sequence[int], tiny: Tiny, store: MemoryStore, spec: ViewSpec) -> None:
    """One for each hop: while it writes the first corner, at the value on the page whose tokens begin at `starts`."""
    ids, pages = made.tokens.ids, [p for p in store.pages.values() if p.ref.document == "acme.pdf"]
    for glance, page, start, text in zip(made.glances, pages, starts, ("42", "48"), strict=True):
        written = tiny.codec.decode(ids[glance.start + 1 : glance.end + 1])
        assert re.fullmatch(r"<bbox>\[\d+, \d+", written), "the second corner follows from the first"
        view = page_view(page, spec)
        row, column = divmod(glance.target - start, view.width // spec.factor)
        scale = page.width / view.width * spec.factor
        block = Box(x1=column * scale, y1=row * scale, x2=(column + 1) * scale, y2=(row + 1) * scale)
        box = store.box(page, text).scaled(page.width, page.height)
        assert block.x1 <= (box.x1 + box.x2) / 2 <= block.x2 and block.y1 <= (box.y1 + box.y2) / 2 <= block.y2


def test_a_box_that_missed_is_not_imitated_and_the_next_looks_at_the_page_again(
    tiny: Tiny, store: MemoryStore, spec: ViewSpec
) -> None:
    mended = played(tiny, store, spec, ExpertStyle(box_min=60, miss=1.0), crops_of="page")
    names = [turn.action.name for turn in mended.turns if turn.action]
    assert names == ["search", "bbox", "bbox", "search", "bbox", "bbox", "answer"] and mended.tokens is not None
    made = example(mended, {}, tiny.codec)
    weights, told = iter(made.weights), list[set[float]]()
    for length in mended.tokens.turn_lengths():
        told.append({next(weights) for _ in range(length)})
    assert told == [{1}, {0}, {1}, {1}, {0}, {1}, {1}]
    ids = mended.tokens.ids
    starts = [i for i, token in enumerate(ids) if token == tiny.codec.image_pad_id and ids[i - 1] != token]
    assert len(starts) == 6, "two pages, each followed by two crops"
    check_glances(made, (starts[0], starts[3]), tiny, store, spec)


def test_an_expert_that_misses_needs_an_environment_that_lets_it_draw_again(
    tiny: Tiny, store: MemoryStore, spec: ViewSpec
) -> None:
    with pytest.raises(UsageError, match="crops_of"):
        played(tiny, store, spec, ExpertStyle(miss=0.5))


def test_without_guidance_nothing_is_looked_for(episode: Episode) -> None:
    assert example(episode, {}).glances == ()
