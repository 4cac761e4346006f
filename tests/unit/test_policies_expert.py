"""The scripted expert and the scripted policy."""

import asyncio
import random

import pytest
from pydantic import ValidationError

from vrag.environment import DocumentEnvironment, EnvironmentConfig
from vrag.errors import DataError, UsageError
from vrag.geometry import ViewSpec
from vrag.policies.expert import AGAIN, ExpertPolicy, ExpertStyle
from vrag.policies.extractive import NOTHING
from vrag.policies.scripted import ScriptedPolicy
from vrag.protocols import Policy
from vrag.testing import MemoryStore, WordRetriever
from vrag.types import Answer, Crop, Evidence, Message, Request, Sampling, Search, StopReason, Task, Turn

SPECS = [
    ViewSpec(min_pixels=16 * 784, max_pixels=64 * 784),
    ViewSpec(frame="relative1000", factor=32, min_pixels=16 * 1024, max_pixels=64 * 1024),
]


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    store.add("noise.pdf", 1, ["Acme Corp plant plant plant", "nothing here"])
    store.add("acme.pdf", 1, ["Acme Corp plants", "plant 42", "mine 17"])
    store.add("acme.pdf", 2, ["Plant 42 output", "output 4,812", "staff 310"])
    return store


def gold(store: MemoryStore, document: str, page: int, text: str) -> Evidence:
    found = next(p for p in store.pages.values() if (p.ref.document, p.ref.page) == (document, page))
    return Evidence(ref=found.ref, box=store.box(found, text))


def two_hops(store: MemoryStore) -> Task:
    return Task(
        id="two",
        question="What is the output of the plant of Acme Corp?",
        answers=["4,812"],
        gold=[gold(store, "acme.pdf", 1, "42"), gold(store, "acme.pdf", 2, "4,812")],
        hops=2,
        meta={
            "entity": "Acme Corp",
            "metric": "Output",
            "site": "Plant",
            "bridge": "42",
            "queries": ["acme corp plants", "plant 42 output"],
        },
    )


def one_hop(store: MemoryStore) -> Task:
    return Task(
        id="one",
        question="What is the staff of plant 42?",
        answers=["310"],
        gold=[gold(store, "acme.pdf", 2, "310")],
    )


async def episode(policy: Policy, task: Task, store: MemoryStore, spec: ViewSpec, **settings: object) -> list[Turn]:
    config = EnvironmentConfig.model_validate({"view": spec, "max_turns": 9, **settings})
    environment = DocumentEnvironment(store, WordRetriever(store), config)
    messages = environment.reset(task)
    turns: list[Turn] = []
    while True:
        sample = await policy.generate(Request("s", list(messages), Sampling()))
        messages.append(Message("assistant", [sample.text]))
        step = await environment.step(sample.text)
        turns.append(step.turn)
        if step.stop is not None:
            assert step.stop is StopReason.ANSWER
            return turns
        messages += step.messages


def play(task: Task, store: MemoryStore, style: ExpertStyle, spec: ViewSpec = SPECS[0], seed: int = 0) -> list[Turn]:
    expert = ExpertPolicy(task, store, spec, style, random.Random(seed))
    return asyncio.run(episode(expert, task, store, spec))


def region(turn: Turn):
    assert turn.observation is not None and turn.observation.view is not None
    return turn.observation.view.region


def holds(turn: Turn, evidence: Evidence, store: MemoryStore) -> bool:
    page = next(p for p in store.pages.values() if p.ref == evidence.ref)
    assert evidence.box is not None
    return region(turn).holds(evidence.box.scaled(page.width, page.height))


@pytest.mark.parametrize("spec", SPECS)
def test_two_hops_are_searched_cropped_at_the_gold_boxes_and_answered(store: MemoryStore, spec: ViewSpec) -> None:
    task = two_hops(store)
    turns = play(task, store, ExpertStyle(), spec)
    crops = [turn for turn in turns if isinstance(turn.action, Crop)]
    assert [holds(turn, evidence, store) for turn, evidence in zip(crops, task.gold, strict=True)] == [
        True,
        True,
    ]
    assert turns[-1].action == Answer(text="4,812")
    assert all(turn.thought for turn in turns)
    assert any("42" in turn.thought for turn in turns)


def test_a_wrong_page_is_searched_past_with_the_full_query(store: MemoryStore) -> None:
    turns = play(two_hops(store), store, ExpertStyle(full_query=0, metric_only=1))
    searches = [turn.action.query for turn in turns if isinstance(turn.action, Search)]
    assert searches[:2] == ["plant", "acme corp plants"]
    assert turns[-1].action == Answer(text="4,812")


def test_after_its_searches_the_expert_gives_up(store: MemoryStore) -> None:
    task = two_hops(store).model_copy(update={"meta": {"queries": ["nothing here"]}})
    turns = play(task, store, ExpertStyle(max_searches=1))
    assert turns[-1].action == Answer(text=NOTHING)


def test_without_meta_the_query_is_the_content_of_the_question(store: MemoryStore) -> None:
    turns = play(one_hop(store), store, ExpertStyle(thoughts=False))
    assert turns[0].action == Search(query="staff plant 42")
    assert turns[-1].action == Answer(text="310")
    assert not any(turn.thought for turn in turns)


@pytest.mark.parametrize(
    "meta", [{"queries": "amber harbour"}, {"queries": None}, {"bridge": "42"}, {"metric": 3, "category": ["x"]}]
)
def test_columns_of_ones_own_mean_nothing_to_it(store: MemoryStore, meta: dict[str, object]) -> None:
    plain = two_hops(store).model_copy(update={"meta": {}})
    own = plain.model_copy(update={"meta": meta})
    assert [turn.action for turn in play(own, store, ExpertStyle())] == [
        turn.action for turn in play(plain, store, ExpertStyle())
    ]


def test_a_guess_leaves_the_crop_out(store: MemoryStore) -> None:
    turns = play(one_hop(store), store, ExpertStyle(guess=1.0))
    assert [turn.action.name for turn in turns if turn.action] == ["search", "answer"]


def test_an_oversize_box_shows_more_than_an_exact_one(store: MemoryStore) -> None:
    exact = play(one_hop(store), store, ExpertStyle())[1]
    large = play(one_hop(store), store, ExpertStyle(oversize=1.0))[1]
    assert region(large).width > 1.5 * region(exact).width


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("spec", SPECS)
def test_a_miss_is_drawn_again_over_the_page(store: MemoryStore, spec: ViewSpec, seed: int) -> None:
    task, style = two_hops(store), ExpertStyle(miss=1.0)
    expert = ExpertPolicy(task, store, spec, style, random.Random(seed))
    turns = asyncio.run(episode(expert, task, store, spec, crops_of="page"))
    names = [turn.action.name for turn in turns if turn.action]
    assert names == ["search", "bbox", "bbox", "search", "bbox", "bbox", "answer"]
    for evidence, (missed, mended) in zip(task.gold, (turns[1:3], turns[4:6]), strict=True):
        assert not holds(missed, evidence, store) and holds(mended, evidence, store)
        assert mended.thought.startswith(AGAIN) and not missed.thought.startswith(AGAIN)
    assert turns[-1].action == Answer(text="4,812")


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("spec", SPECS)
def test_boxes_are_snapped_and_still_hold_the_gold_box_under_jitter(
    store: MemoryStore, spec: ViewSpec, seed: int
) -> None:
    style = ExpertStyle(box_snap=4, box_jitter=0.2, box_margin=0.25, box_min=8)
    turn = play(one_hop(store), store, style, spec, seed)[1]
    assert isinstance(turn.action, Crop)
    assert all(edge % 4 == 0 for edge in turn.action.box.as_tuple())
    assert holds(turn, one_hop(store).gold[0], store)


def test_the_same_seed_plays_the_same_episode(store: MemoryStore) -> None:
    style = ExpertStyle(entity_only=1, metric_only=1, box_jitter=0.3, guess=0.3, oversize=0.3)
    first, again = (play(two_hops(store), store, style, seed=7) for _ in range(2))
    assert [turn.text for turn in first] == [turn.text for turn in again]


def test_a_task_without_gold_is_refused(store: MemoryStore) -> None:
    with pytest.raises(DataError, match="task bare"):
        ExpertPolicy(Task(id="bare", question="?", answers=["a"]), store, SPECS[0], ExpertStyle(), random.Random(0))
    with pytest.raises(ValidationError, match="above 0"):
        ExpertStyle(full_query=0)


def test_a_script_is_spoken_in_order_for_each_session_and_its_end_is_an_error() -> None:
    policy = ScriptedPolicy(["a", "b"])

    def speak(session: str) -> str:
        return asyncio.run(policy.generate(Request(session, [], Sampling()))).text

    assert [speak("x"), speak("y"), speak("x")] == ["a", "a", "b"]
    with pytest.raises(UsageError, match="turn 3 of a script of 2"):
        speak("x")
    policy.close("x")
    assert speak("x") == "a" and policy.closed == ["x"]
