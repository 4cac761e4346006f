"""A policy behind a chat endpoint: what it is sent, and what becomes of what it says."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import stamina

from tests.agents import images, plays, texts
from tests.chats import Answer, Asked, chat_server, completion, event, fails, garbage, says, streams
from vrag.chat import NoReply
from vrag.environment import DocumentEnvironment, EnvironmentConfig
from vrag.episode import Episode
from vrag.errors import ConfigError, UsageError
from vrag.geometry import smart_resize
from vrag.policies.load import checkpoint_path
from vrag.policies.recipe import policy_recipe, policy_recipes
from vrag.policies.served import ServedPolicy, ServedSettings, served_environment
from vrag.policies.speaker import speaker
from vrag.rollout import Limits, rollout
from vrag.testing import MemoryStore, WordRetriever
from vrag.types import Crop, Message, Request, Sample, Sampling, StopReason, Task, Usage

QWEN = "Qwen/Qwen2.5-VL-7B-Instruct"


@pytest.fixture(autouse=True)
def no_pauses() -> Generator[None]:
    with stamina.set_testing(True, attempts=10, cap=True):
        yield


def settings(url: str = "http://127.0.0.1:1/v1", **more: Any) -> ServedSettings:
    return ServedSettings.model_validate({"url": url, "model": QWEN, "timeout": 5, "total": 10, **more})


def generate(answer: Answer, prompt: str = "hello", sampling: Sampling | None = None, **more: Any) -> Sample:
    request = Request("s", [Message("user", [prompt])], sampling or Sampling())
    with chat_server(answer) as server:
        return asyncio.run(ServedPolicy(settings(server.url, **more)).generate(request))


def finishes(text: str | None, finish: str | None) -> Answer:
    return lambda asked: asked.send(200, completion(text, finish=finish))  # type: ignore[arg-type]


def test_an_episode_runs_through_the_one_loop_and_says_what_it_cost() -> None:
    store = MemoryStore()
    store.add("acme.pdf", 1, ["Revenue of Acme", "2020 4,812"])
    with chat_server(plays({"revenue": "4,812"})) as server:
        agent = speaker(server.url, store, settings(server.url))
        environment = DocumentEnvironment(store, WordRetriever(store), agent.config)
        task = Task(id="t", question="What was the revenue?")
        sampling = Sampling(temperature=0.0, max_tokens=99, seed=2**62 + 5)
        episode: Episode = asyncio.run(rollout(environment, agent.policy, agent.codec, task, Limits(), sampling))
    assert (agent.name, agent.codec) == (QWEN, None)
    assert (episode.stop, episode.answer, episode.tokens) == (StopReason.ANSWER, "4,812", None)
    assert episode.usage == Usage(calls=3, prompt_tokens=300, completion_tokens=21) == episode.record().usage
    first, _, third = server.asked
    assert first.body["stop"] == ["</search>", "</bbox>", "</answer>"]
    assert (first.body["model"], first.body["max_tokens"], first.body["seed"]) == (QWEN, 99, 5)
    assert [message["role"] for message in third.body["messages"]] == ["user", "assistant"] * 2 + ["user"]
    assert texts(third, "assistant")[0] == "<think>I look.</think><search>What was the revenue</search>"
    views = [turn.observation.view for turn in episode.turns if turn.observation]
    assert [image.size for image in images(third)] == [(view.width, view.height) for view in views if view]


@pytest.mark.parametrize(
    ("said", "finish", "sample"),
    [
        ("<think>t</think><search>q", "stop", ("<think>t</think><search>q</search>", "stop")),
        ("<answer>42</answer>", "stop", ("<answer>42</answer>", "stop")),
        ("<think>t</think>", "stop", ("<think>t</think>", "stop")),
        ("<think>t", "stop", ("<think>t", "stop")),
        ("<answer>4", "length", ("<answer>4", "length")),
        ("<answer>4", "max_tokens", ("<answer>4", "length")),
        ("<bbox>[1, 2, 3, 4]", None, ("<bbox>[1, 2, 3, 4]</bbox>", "stop")),
        ("hm", "tool_calls", ("hm", "stop")),
        ("hm", "eos_token", ("hm", "stop")),
        (None, "stop", ("", "stop")),
        ("", "length", ("", "length")),
    ],
)
def test_a_turn_is_what_the_model_said_with_the_tag_at_which_it_was_stopped(
    said: str | None, finish: str | None, sample: tuple[str, str]
) -> None:
    given = generate(finishes(said, finish))
    assert (given.text, given.finish) == sample and given.ids == []


@pytest.mark.parametrize("finish", ["abort", "error", "content_filter"])
def test_an_answer_that_the_server_broke_off_is_asked_for_again_and_then_an_error(finish: str) -> None:
    with pytest.raises(
        NoReply, match=rf"policy server http://.*broke its answer off \(finish_reason '{finish}'\)"
    ) as no:
        generate(finishes("<answer>4", finish))
    assert no.value.usage.calls == 3


def test_a_server_that_cannot_stop_is_not_asked_to_and_nothing_is_completed() -> None:
    with chat_server(says("<answer>4")) as server:
        policy = ServedPolicy(settings(server.url, omit=["stop"]))
        sample = asyncio.run(policy.generate(Request("s", [Message("user", ["?"])], Sampling())))
    assert sample.text == "<answer>4" and "stop" not in server.asked[0].body


def test_what_a_page_or_a_question_says_makes_no_control_token() -> None:
    seen: list[Asked] = []

    def listens(asked: Asked) -> None:
        seen.append(asked)
        says("hm")(asked)

    generate(listens, "write < answer > or <think>; <|im_end|> <s> </s> <image> <start_of_turn> 3 < 4")
    said = "write < answer > or <think>; < |im_end|> < s> < /s> < image> < start_of_turn> 3 < 4"
    assert texts(seen[0]) == [said]


@pytest.mark.parametrize(
    ("model", "family", "frame", "factor", "prompt"),
    [
        (QWEN, "auto", "absolute", 28, "vrag-v1"),
        ("autumncc/Qwen2.5-VL-7B-VRAG", "auto", "absolute", 28, "vrag-v1"),
        ("qwen2.5vl:7b", "auto", "absolute", 28, "vrag-v1"),
        ("Qwen/Qwen3-VL-8B-Instruct", "auto", "relative1000", 32, "vrag-v1"),
        ("qwen3-vl:4b", "auto", "relative1000", 32, "vrag-v1"),
        ("agent", "qwen3_vl", "relative1000", 32, "vrag-v1"),
        (QWEN, "other", "relative1000", 28, "vrag-1000-v1"),
    ],
)
def test_the_family_says_how_boxes_are_read_and_how_large_images_are(
    model: str, family: str, frame: str, factor: int, prompt: str
) -> None:
    config = served_environment(settings(model=model, family=family))
    assert (config.view.frame, config.view.factor, config.prompt) == (frame, factor, prompt)
    assert (config.view.min_pixels, config.view.max_pixels) == (256 * factor**2, 512 * factor**2)
    assert config.model_copy(update={"view": EnvironmentConfig().view, "prompt": "vrag-v1"}) == EnvironmentConfig()


@pytest.mark.parametrize("model", ["gpt-5", "Qwen/Qwen3-8B", "my-agent"])
def test_a_name_that_tells_no_family_is_an_error_that_says_what_to_set(model: str) -> None:
    with pytest.raises(UsageError, match=rf"{model}.*family=qwen2_5_vl.*family=other"):
        served_environment(settings(model=model))


@pytest.mark.parametrize(
    ("model", "factor", "least", "most"),
    [(QWEN, 28, 4 * 28**2, 16384 * 28**2), ("qwen2.5vl", 28, 4 * 28**2, 1280 * 28**2), ("qwen3-vl", 32, 2**16, 2**24)],
)
def test_servers_leave_the_images_as_they_are(model: str, factor: int, least: int, most: int) -> None:
    """By the pixel budgets of the families' processors on the Hub, and of Ollama's."""
    store = MemoryStore()
    page = store.add("acme.pdf", 1, ["Revenue"], size=(1654, 2339))
    config = served_environment(settings(model=model))
    environment = DocumentEnvironment(store, WordRetriever(store), config)
    environment.reset(Task(id="t", question="?"))
    for text in ("<search>revenue</search>", "<bbox>[3, 5, 400, 21]</bbox>"):
        step = asyncio.run(environment.step(text))
        assert step.turn.observation is not None and step.turn.observation.view is not None
        view = step.turn.observation.view
        assert view.page_id == page.id
        assert smart_resize(view.height, view.width, factor, least, most) == (view.height, view.width)


def test_a_box_of_each_family_crops_the_same_part_of_the_page() -> None:
    store = MemoryStore()
    store.add("acme.pdf", 1, ["Revenue of Acme", "2020 4,812"])
    regions = []
    for family, box in (("qwen2_5_vl", "[{w}, 0, {W}, {h}]"), ("other", "[500, 0, 1000, 500]")):
        config = served_environment(settings(family=family))
        environment = DocumentEnvironment(store, WordRetriever(store), config)
        environment.reset(Task(id="t", question="?"))
        page = asyncio.run(environment.step("<search>revenue</search>")).turn.observation
        assert page is not None and page.view is not None
        w, h = page.view.width, page.view.height
        crop = asyncio.run(environment.step(f"<bbox>{box.format(w=w / 2, W=w, h=h / 2)}</bbox>")).turn
        assert isinstance(crop.action, Crop) and crop.observation is not None and crop.observation.view is not None
        regions.append(crop.observation.view.region)
    assert regions[0] == regions[1]


def test_nothing_and_half_an_action_are_corrected_and_a_failure_is_no_answer() -> None:
    store = MemoryStore()
    answers = [finishes(None, "stop"), finishes("<answer>4", "length"), says("<answer>42</answer>")]
    with chat_server(*answers) as server:
        policy = ServedPolicy(settings(server.url))
        environment = DocumentEnvironment(store, WordRetriever(store))
        task = Task(id="t", question="?")
        episode = asyncio.run(rollout(environment, policy, None, task, Limits(), Sampling()))
    assert episode.answer == "42" and [turn.action is None for turn in episode.turns] == [True, True, False]
    with chat_server(says("hm", 10, 2), fails(401)) as server:
        policy = ServedPolicy(settings(server.url))
        episode = asyncio.run(rollout(environment, policy, None, task, Limits(), Sampling()))
    assert episode.stop is StopReason.ERROR and episode.error is not None and "VRAG_POLICY_KEY" in episode.error
    assert episode.usage == Usage(calls=2, prompt_tokens=10, completion_tokens=2)


def test_an_answer_that_is_no_completion_names_the_server() -> None:
    with pytest.raises(NoReply, match="policy server http"):
        generate(garbage(b"<html>"))


def test_a_served_model_cannot_be_trained() -> None:
    with pytest.raises(UsageError, match="no token ids to train on"):
        checkpoint_path("http://127.0.0.1:8000/v1")


@pytest.mark.parametrize("name", policy_recipes())
def test_a_recipe_names_the_frame_and_the_sizes_of_its_family(name: str) -> None:
    recipe = policy_recipes()[name]
    assert recipe.model is not None and recipe.environment == served_environment(settings(model=recipe.model))
    for model in (recipe.model, "my-agent"):
        assert served_environment(settings(model=model).by(recipe)) == recipe.environment


def test_a_recipe_that_a_models_name_or_family_contradicts_is_refused() -> None:
    recipe = policy_recipe("qwen3-vl")
    with pytest.raises(UsageError, match=r"qwen2_5_vl.*absolute.*relative1000"):
        settings(model=QWEN).by(recipe)
    with pytest.raises(UsageError, match="give one of the two"):
        settings(model="my-agent", family="other").by(recipe)


def test_a_recipe_of_ones_own_says_the_frame_and_what_the_server_takes(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(
        'omit = ["stop"]\nextra = {top_k = 1, a = 1}\n[environment.view]\nframe = "relative1000"\nfactor = 20\n'
    )
    found = settings(model="my-agent", omit=["seed"], extra={"a": 2}).by(policy_recipe(str(own)))
    assert served_environment(found).view.factor == 20
    assert (found.omit, found.extra) == (("stop", "seed"), {"top_k": 1, "a": 2})
    own.write_text("[environment.view]\nfactor = 20\n")
    with pytest.raises(ConfigError, match=r"own\.toml.*frame is missing"):
        policy_recipe(str(own))
    with pytest.raises(ConfigError, match="did you mean qwen3-vl"):
        policy_recipe("qwen3vl")


def test_a_thought_stands_where_the_model_wrote_it() -> None:
    thinks = event("<search>q", "stop").replace(b'"content"', b'"reasoning_content": "I look.", "content"')
    assert generate(streams(thinks)).text == "<think>I look.</think><search>q</search>"


def test_prices_make_a_cost_of_what_was_spent_also_by_a_turn_that_failed() -> None:
    prices = {"price_in": 2.0, "price_out": 10.0}
    with chat_server(says("<answer>42</answer>", 500_000, 100_000)) as server:
        policy = ServedPolicy(settings(server.url, **prices))
        sample = asyncio.run(policy.generate(Request("s", [Message("user", ["?"])], Sampling())))
    assert sample.usage == Usage(calls=1, prompt_tokens=500_000, completion_tokens=100_000, cost=2.0)
    with chat_server(finishes("<answer>4", "abort")) as server:
        policy = ServedPolicy(settings(server.url, **prices))
        with pytest.raises(NoReply) as failed:
            asyncio.run(policy.generate(Request("s", [Message("user", ["?"])], Sampling())))
    assert failed.value.usage.calls == 3 and failed.value.usage.cost is not None
    assert (Usage(cost=0.5) + Usage()).cost == 0.5 and (Usage() + Usage()).cost is None
    with pytest.raises(ValueError, match="both, or neither"):
        settings(price_in=1.0)


def test_where_the_model_is_is_no_part_of_a_runs_configuration() -> None:
    assert settings().model_dump() == {"model": QWEN, "extra": {}, "omit": (), "family": "auto"}
