"""Where the tokens of a box are told to look, in whole trajectories of the expert."""

import re

import pytest

from tests.tiny import Tiny, make_tiny, spec_of
from tests.trajectories import make_store, two_hops
from vrag.data.trajectories import expert_episodes
from vrag.environment import DocumentEnvironment, EnvironmentConfig
from vrag.episode import Episode
from vrag.geometry import ViewSpec, page_view
from vrag.policies.expert import ExpertStyle
from vrag.testing import MemoryStore, WordRetriever
from vrag.training.sft import example
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


@pytest.fixture(scope="module")
def episode(tiny: Tiny, store: MemoryStore, spec: ViewSpec) -> Episode:
    task = two_hops(store)
    config = EnvironmentConfig(view=spec, max_turns=8)

    def make() -> DocumentEnvironment:
        return DocumentEnvironment(store, WordRetriever(store), config)

    return expert_episodes([task], store, make, tiny.codec, spec, ExpertStyle(box_min=60), 0)[0]


def test_each_box_of_a_trajectory_looks_at_its_own_value(
    tiny: Tiny, store: MemoryStore, spec: ViewSpec, episode: Episode
) -> None:
    assert [turn.action.name for turn in episode.turns if turn.action] == ["search", "bbox", "search", "bbox", "answer"]
    assert episode.tokens is not None
    ids = episode.tokens.ids
    glances = example(episode, {}, tiny.codec).glances
    assert len(glances) == 2
    starts = [i for i, token in enumerate(ids) if token == tiny.codec.image_pad_id and ids[i - 1] != token]
    pages = [p for p in store.pages.values() if p.ref.document == "acme.pdf"]
    for glance, page, start, text in zip(glances, pages, (starts[0], starts[2]), ("42", "48"), strict=True):
        written = tiny.codec.decode(ids[glance.start + 1 : glance.end + 1])
        assert re.fullmatch(r"<bbox>\[\d+, \d+", written), "the second corner follows from the first"
        view = page_view(page, spec)
        row, column = divmod(glance.target - start, view.width // spec.factor)
        scale = page.width / view.width * spec.factor
        block = Box(x1=column * scale, y1=row * scale, x2=(column + 1) * scale, y2=(row + 1) * scale)
        box = store.box(page, text).scaled(page.width, page.height)
        assert block.x1 <= (box.x1 + box.x2) / 2 <= block.x2 and block.y1 <= (box.y1 + box.y2) / 2 <= block.y2


def test_without_guidance_nothing_is_looked_for(episode: Episode) -> None:
    assert example(episode, {}).glances == ()
