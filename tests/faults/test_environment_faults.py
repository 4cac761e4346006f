"""Policies that never stop, never act rightly, or point nowhere: corrected, then stopped, within every
budget."""

import asyncio
import random

import pytest

from vrag.environment import DocumentEnvironment, EnvironmentConfig
from vrag.episode import Episode
from vrag.errors import InfrastructureError
from vrag.geometry import ViewSpec
from vrag.policies.scripted import ScriptedPolicy
from vrag.protocols import Retriever
from vrag.rollout import Limits, rollout
from vrag.testing import FixedRetriever, MemoryStore, WordRetriever
from vrag.types import Sampling, StopReason, Task

SPEC = ViewSpec(min_pixels=4 * 784, max_pixels=12 * 784)
TASK = Task(id="t", question="What is the revenue?")
SEARCH = "<search>revenue report</search>"


@pytest.fixture(scope="module")
def store() -> MemoryStore:
    store = MemoryStore()
    for page in range(1, 4):
        store.add("report.pdf", page, [f"revenue report page {page}"], size=(400, 300))
    return store


def run(store: MemoryStore, texts: list[str], retriever: Retriever | None = None, **settings: object) -> Episode:
    config = EnvironmentConfig.model_validate({"view": SPEC, **settings})
    environment = DocumentEnvironment(store, retriever or WordRetriever(store), config)
    return asyncio.run(rollout(environment, ScriptedPolicy(texts), None, TASK, Limits(), Sampling()))


@pytest.mark.parametrize(
    "text",
    ["", "no action", "<think>" + "hm " * 20_000, "<bbox>[1, 1, 5, 5]</bbox>", "<bbox>[9, 9, 1, 1]</bbox>"],
)
def test_repeated_invalid_actions_are_corrected_and_then_end_the_episode(store: MemoryStore, text: str) -> None:
    episode = run(store, [text] * 50, max_turns=20, max_invalid=3)
    assert episode.stop is StopReason.INVALID
    assert len(episode.turns) == 4
    for turn in episode.turns[:-1]:
        assert turn.error and turn.observation is not None and "not a valid action" in turn.observation.text


def test_exhausted_results_end_with_the_turns(store: MemoryStore) -> None:
    episode = run(store, [SEARCH] * 50, max_turns=8)
    kinds = [turn.observation.kind if turn.observation else None for turn in episode.turns]
    assert kinds == ["page"] * 3 + ["message"] * 5 + [None]
    assert episode.stop is StopReason.TURNS


def test_a_search_that_never_finds_anything_ends_with_the_turns(store: MemoryStore) -> None:
    episode = run(store, [SEARCH] * 50, FixedRetriever(), max_turns=5)
    assert episode.stop is StopReason.TURNS and len(episode.turns) == 6


def test_a_crop_before_any_search_is_corrected_and_the_episode_goes_on(store: MemoryStore) -> None:
    episode = run(store, ["<bbox>[1, 1, 5, 5]</bbox>", SEARCH, "<answer>5</answer>"])
    assert episode.stop is StopReason.ANSWER
    assert [turn.error is None for turn in episode.turns] == [False, True, True]


def test_a_failing_retriever_is_a_typed_stop_and_not_an_answer(store: MemoryStore) -> None:
    episode = run(store, [SEARCH], FixedRetriever(error=InfrastructureError("index is down")))
    assert episode.stop is StopReason.ERROR and episode.error == "index is down"
    assert episode.answer is None and episode.reward is None


def test_no_policy_gets_past_the_budgets_of_turns_and_pixels(store: MemoryStore, full: bool) -> None:
    pieces = [SEARCH, "x", "<answer>5</answer>", "<search>nowhere</search>", "<bbox>[9, 9, 1, 1]</bbox>"]
    for seed in range(2_000 if full else 200):
        rng = random.Random(seed)
        texts = []
        for _ in range(40):
            box = [rng.randint(-20, 150) for _ in range(4)]
            texts.append(rng.choice([*pieces, SEARCH, f"<bbox>{box}</bbox>", f"<bbox>{box}</bbox>"]))
        turns, pixels = rng.randint(1, 12), rng.choice([None, 5_000, 20_000, 40_000])
        invalid, final = rng.randint(0, 3), rng.random() < 0.5
        episode = run(store, texts, max_turns=turns, max_pixels=pixels, max_invalid=invalid, final_turn=final)
        assert len(episode.turns) <= turns + final
        views = [turn.observation.view for turn in episode.turns if turn.observation]
        shown = sum(view.width * view.height for view in views if view)
        assert pixels is None or shown <= pixels
        pages = [view.page_id for view in views if view and view.region.width == 400]
        assert episode.stop is not StopReason.ERROR
        assert (episode.stop is StopReason.ANSWER) == (episode.answer is not None)
        assert len(set(pages)) <= 3
