"""What an episode's world replies."""

import asyncio

import pytest
from pydantic import ValidationError

from vrag.environment import DocumentEnvironment, EnvironmentConfig
from vrag.errors import InfrastructureError, UsageError
from vrag.geometry import ViewSpec, render
from vrag.prompts import PROMPTS, question_of
from vrag.protocols import Retriever
from vrag.testing import FixedRetriever, MemoryStore, WordRetriever
from vrag.types import Answer, ImagePart, Step, StopReason, Task
from vrag.views import ViewRenderer

TASK = Task(id="t", question="What was the revenue of Acme in 2020?")
SMALL = ViewSpec(min_pixels=16 * 784, max_pixels=32 * 784)


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    store.add("acme.pdf", 1, ["Revenue of Acme", "2020 4,812", "2021 5,120"])
    store.add("acme.pdf", 2, ["Acme staff", "2020 310"])
    store.add("other.pdf", 1, ["Weather report"])
    return store


def world(store: MemoryStore, retriever: Retriever | None = None, **settings: object) -> DocumentEnvironment:
    config = EnvironmentConfig.model_validate({"view": SMALL, **settings})
    environment = DocumentEnvironment(store, retriever or WordRetriever(store), config)
    environment.reset(TASK)
    return environment


def play(environment: DocumentEnvironment, *texts: str) -> list[Step]:
    return [asyncio.run(environment.step(text)) for text in texts]


def image(step: Step) -> ImagePart:
    (message,) = step.messages
    (part,) = message.parts
    assert message.role == "user" and isinstance(part, ImagePart)
    return part


def said(step: Step) -> str:
    (message,) = step.messages
    (part,) = message.parts
    assert message.role == "user" and isinstance(part, str)
    return part


def test_the_prompt_is_one_user_message_that_ends_in_the_question(store: MemoryStore) -> None:
    (message,) = world(store).reset(TASK)
    (text,) = message.parts
    assert message.role == "user" and isinstance(text, str)
    assert text.endswith(f"Question: {TASK.question}") and question_of(text) == TASK.question
    for tag in ("<think>", "<search>", "<bbox>", "<answer>"):
        assert tag in text


def test_a_search_shows_the_best_page_as_a_bare_image_and_records_all_hits(store: MemoryStore) -> None:
    (step,) = play(world(store), "<think>find it</think><search>revenue of acme</search>")
    part = image(step)
    assert (part.view.ref.document, part.view.ref.page) == ("acme.pdf", 1)
    assert part.image.size == (part.view.width, part.view.height)
    assert step.turn.observation is not None
    assert [hit.ref.page for hit in step.turn.observation.hits] == [1, 2]
    assert step.turn.thought == "find it" and step.stop is None


def test_the_next_search_shows_the_best_page_not_yet_seen_until_none_is_left(store: MemoryStore) -> None:
    search = "<search>acme</search>"
    first, second, third = play(world(store), search, search, search)
    assert [image(first).view.ref.page, image(second).view.ref.page] == [1, 2]
    assert "every page" in said(third) and third.stop is None and third.turn.error is None


def test_a_search_that_finds_nothing_says_so(store: MemoryStore) -> None:
    (step,) = play(world(store), "<search>zebra</search>")
    assert "No page matches" in said(step)


def test_crops_nest_and_are_cut_from_the_raw_page(store: MemoryStore) -> None:
    environment = world(store)
    page, crop, inner = play(
        environment,
        "<search>revenue of acme</search>",
        "<bbox>[10, 10, 80, 60]</bbox>",
        "<bbox>[10, 10, 60, 60]</bbox>",
    )
    outer_region, region = image(crop).view.region, image(inner).view.region
    assert outer_region.x1 <= region.x1 and region.x2 <= outer_region.x2
    assert region.width < outer_region.width < image(page).view.region.width
    expected = render(store.image(image(inner).view.page_id), image(inner).view)
    assert image(inner).image.tobytes() == expected.tobytes()


def test_a_box_that_missed_can_be_drawn_again_over_the_page(store: MemoryStore) -> None:
    environment = world(store, crops_of="page", max_turns=6)
    small, large = "<bbox>[10, 10, 80, 60]</bbox>", "<bbox>[10, 10, 150, 200]</bbox>"
    _, once, again, wider = play(environment, "<search>revenue of acme</search>", small, small, large)
    first = image(once).view.region
    assert image(again).view.region == first and image(wider).view.region.width > 1.5 * first.width
    found, crop = play(environment, "<search>acme staff</search>", small)
    assert image(crop).view.ref == image(found).view.ref != image(wider).view.ref, "of the page that was shown last"


def test_without_a_page_there_is_nothing_to_crop(store: MemoryStore) -> None:
    for crops_of in ("image", "page"):
        (step,) = play(world(store, crops_of=crops_of), "<bbox>[10, 10, 80, 60]</bbox>")
        assert "search first" in said(step) and step.turn.error is not None


def test_a_new_page_becomes_the_image_that_is_cropped(store: MemoryStore) -> None:
    steps = play(world(store), "<search>acme</search>", "<search>acme</search>", "<bbox>[0, 0, 50, 50]</bbox>")
    assert image(steps[2]).view.ref.page == 2


def test_an_answer_ends_the_episode(store: MemoryStore) -> None:
    (step,) = play(world(store), "<think>known</think><answer> 4,812 </answer>")
    assert step.stop is StopReason.ANSWER and step.messages == []
    assert step.turn.action == Answer(text="4,812")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<bbox>[1, 1, 20, 20]</bbox>", "search first"),
        ("nothing", "no action"),
        ("<search>a</search><answer>b</answer>", "exactly one action"),
    ],
)
def test_an_invalid_action_is_corrected_with_the_reason_and_what_is_allowed(
    store: MemoryStore, text: str, reason: str
) -> None:
    (step,) = play(world(store), text)
    assert reason in said(step) and "<answer>answer</answer>" in said(step)
    assert step.turn.action is None and step.turn.error is not None and reason in step.turn.error


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ("[50, 10, 20, 60]", "x2 must be larger"),
        ("[20, 10, 20, 60]", "x2 must be larger"),
        ("[-5, 10, 20, 60]", "outside the image"),
        ("[5000, 10, 6000, 60]", "outside the image"),
    ],
)
def test_a_box_that_is_not_in_the_view_is_refused(store: MemoryStore, box: str, reason: str) -> None:
    _, step = play(world(store), "<search>acme</search>", f"<bbox>{box}</bbox>")
    assert reason in said(step) and step.turn.error is not None


def test_after_too_many_invalid_actions_in_a_row_the_episode_ends(store: MemoryStore) -> None:
    steps = play(world(store, max_invalid=2, max_turns=10), "x", "x", "<search>acme</search>", "x", "x", "x")
    assert [step.stop for step in steps] == [None] * 5 + [StopReason.INVALID]
    assert steps[-1].messages == []


def test_of_the_forced_final_turn_only_an_answer_counts(store: MemoryStore) -> None:
    search = "<search>acme</search>"
    steps = play(world(store, max_turns=2), search, search, search)
    assert [step.stop for step in steps] == [None, None, StopReason.TURNS]
    steps = play(world(store, max_turns=2), search, search, "<answer>a</answer>")
    assert steps[-1].stop is StopReason.ANSWER


def test_without_a_final_turn_the_last_turn_must_be_the_answer(store: MemoryStore) -> None:
    search = "<search>acme</search>"
    steps = play(world(store, max_turns=2, final_turn=False), search, search)
    assert [step.stop for step in steps] == [None, StopReason.TURNS]
    assert steps[-1].turn.action is not None and steps[-1].turn.observation is None


def test_the_pixel_budget_ends_the_episode_before_it_is_exceeded(store: MemoryStore) -> None:
    search = "<search>acme</search>"
    (first,) = play(world(store), search)
    budget = image(first).view.width * image(first).view.height * 2 - 1
    steps = play(world(store, max_pixels=budget), search, search)
    assert [step.stop for step in steps] == [None, StopReason.PIXELS]
    assert steps[1].messages == [] and steps[1].turn.observation is not None
    assert len(steps[1].turn.observation.hits) == 2


def test_an_action_that_the_recipe_leaves_out_is_invalid(store: MemoryStore) -> None:
    environment = world(store, prompt="search-v1", actions=["search", "answer"])
    _, step = play(environment, "<search>acme</search>", "<bbox>[0, 0, 9, 9]</bbox>")
    assert "<bbox> can't be used here" in said(step) and "[x1" not in said(step)


def test_a_retriever_that_fails_is_no_observation(store: MemoryStore) -> None:
    environment = world(store, FixedRetriever(error=InfrastructureError("index is down")))
    with pytest.raises(InfrastructureError, match="index is down"):
        play(environment, "<search>acme</search>")


def test_a_hit_on_a_page_that_the_store_lacks_is_a_failure_of_infrastructure(store: MemoryStore) -> None:
    elsewhere = MemoryStore().add("gone.pdf", 1, ["gone"])
    with pytest.raises(InfrastructureError, match="index its document again"):
        play(world(store, FixedRetriever([elsewhere])), "<search>gone</search>")


def test_environments_that_share_a_renderer_see_equal_bytes_and_render_once(store: MemoryStore) -> None:
    renderer = ViewRenderer(store)
    config = EnvironmentConfig(view=SMALL)
    shown = []
    for _ in range(2):
        environment = DocumentEnvironment(store, WordRetriever(store), config, renderer)
        environment.reset(TASK)
        shown.append(image(play(environment, "<search>acme</search>")[0]).image)
    assert shown[0] is shown[1]


def test_reset_forgets_the_episode_before(store: MemoryStore) -> None:
    environment = world(store)
    (before,) = play(environment, "<search>acme</search>")
    environment.reset(TASK)
    (after,) = play(environment, "<search>acme</search>")
    assert image(before).view == image(after).view


def test_a_prompt_that_teaches_more_than_is_allowed_is_refused() -> None:
    with pytest.raises(ValidationError, match="teaches"):
        EnvironmentConfig(actions=("search", "answer"))
    with pytest.raises(ValidationError, match="no prompt"):
        EnvironmentConfig(prompt="vrag-v0")
    with pytest.raises(ValidationError, match="must hold 'answer'"):
        EnvironmentConfig(prompt="brief-v1", actions=("search",))


def test_the_brief_prompt_is_the_question_alone() -> None:
    assert PROMPTS["brief-v1"].text("Who?") == "Question: Who?"


class Scoped(WordRetriever):
    """Says where it was asked to stay."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self._store = store

    def within(self, document: str) -> Retriever:
        return FixedRetriever([page for page in self._store.pages.values() if page.ref.document == document])


def test_a_search_stays_within_the_tasks_document_where_the_scope_says_so(store: MemoryStore) -> None:
    environment = world(store, Scoped(store))
    assert environment.config.scope == "corpus"
    (step,) = play(environment, "<search>Weather</search>")
    assert image(step).view.ref.document == "other.pdf"
    config = EnvironmentConfig(view=SMALL, scope="document")
    environment = DocumentEnvironment(store, Scoped(store), config)
    for document in ("acme.pdf", "other.pdf"):  # the scope is that of the episode
        environment.reset(TASK.model_copy(update={"document": document}))
        (step,) = play(environment, "<search>Weather</search>")
        assert image(step).view.ref.document == document


def test_a_scope_that_cannot_be_kept_is_an_error(store: MemoryStore) -> None:
    config = EnvironmentConfig(view=SMALL, scope="document")
    with pytest.raises(UsageError, match="task t names no document to search alone"):
        DocumentEnvironment(store, Scoped(store), config).reset(TASK)
    with pytest.raises(UsageError, match="WordRetriever can't search one document alone"):
        DocumentEnvironment(store, WordRetriever(store), config).reset(TASK.model_copy(update={"document": "a"}))
