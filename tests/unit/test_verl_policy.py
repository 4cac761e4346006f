"""The policy of verl's agent loop and what it makes of an episode; verl itself isn't needed."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from tests.tiny import NoisyWorld, Tiny, make_tiny
from vrag.episode import Episode, Reward
from vrag.errors import ConfigError, InfrastructureError, InvariantError, UsageError
from vrag.rollout import Limits, rollout
from vrag.types import Box, ImagePart, Message, PageRef, Request, Sample, Sampling, Task, View
from vrag.verl.output import output_fields
from vrag.verl.policy import ServerPolicy, images_of


@pytest.fixture(scope="module")
def tiny() -> Tiny:
    return make_tiny("qwen3_vl")


class Server:
    """Gives the same turn each time; `asked` keeps the arguments."""

    def __init__(self, ids: list[int], logprobs: list[float] | None = None, **other: Any) -> None:
        self.output = SimpleNamespace(
            token_ids=ids,
            log_probs=[-0.5] * len(ids) if logprobs is None else logprobs,
            **{"stop_reason": "completed", "num_preempted": None, "extra_fields": {}, **other},
        )
        self.asked: list[dict[str, Any]] = []

    async def generate(self, **arguments: Any) -> Any:
        self.asked.append(arguments)
        return self.output


def request(tiny: Tiny, messages: list[Message] | None = None) -> Request:
    return Request("s", messages or [Message("user", ["?"])], Sampling(1.0, 50), [1, 2, 3])


def say(tiny: Tiny, server: Server, engine: str = "vllm", **sampling: Any) -> Sample:
    return asyncio.run(ServerPolicy(server, tiny.codec, sampling, engine).generate(request(tiny)))


@pytest.mark.parametrize(
    ("said", "kept", "finish"),
    [
        ("<search>a</search>", "<search>a</search>", "stop"),
        ("<search>a</search> b <answer>c</answer>", "<search>a</search>", "stop"),
        ("no action", "no action", "length"),
        ("<answer>c</answer>", "<answer>c</answer>", "stop"),
    ],
)
def test_a_turn_ends_with_its_first_closed_action(tiny: Tiny, said: str, kept: str, finish: str) -> None:
    ids = tiny.codec.encode_text(said)
    sample = say(tiny, Server(ids, [-1.0 - i for i in range(len(ids))]))
    assert (sample.text, sample.finish) == (kept, finish)
    assert sample.ids == ids[: len(sample.ids)]
    assert sample.logprobs == [-1.0 - i for i in range(len(sample.ids))]


def test_a_turn_ends_at_the_end_of_turn_which_is_a_token_of_the_policy(tiny: Tiny) -> None:
    ids = tiny.codec.encode_sampled("no action")
    sample = say(tiny, Server([*ids, *ids]))
    assert (sample.ids, sample.text, sample.finish) == (ids, "no action", "stop")


def test_verls_own_parameters_are_kept_and_reserved_ids_forbidden(tiny: Tiny) -> None:
    for engine, name in (("vllm", int), ("sglang", str)):
        server = Server(tiny.codec.encode_sampled("x"))
        say(tiny, server, engine, temperature=0.3, top_k=-1)
        parameters = server.asked[0]["sampling_params"]
        assert (parameters["temperature"], parameters["top_k"], parameters["max_tokens"]) == (0.3, -1, 50)
        assert parameters["stop_token_ids"] == [tiny.codec.end_of_turn_id]
        assert parameters["logit_bias"] == {name(token): -100.0 for token in tiny.codec.forbidden_ids}
        assert ("stop" in parameters) is (engine == "vllm"), "SGLang has no tokenizer to stop at text with"


def test_what_a_server_does_not_give_is_an_error(tiny: Tiny) -> None:
    ids = tiny.codec.encode_sampled("x")
    with pytest.raises(InfrastructureError, match=r"sampled nothing \(aborted\)"):
        say(tiny, Server([], stop_reason="aborted"))
    with pytest.raises(UsageError, match="calculate_log_probs=True"):
        server = Server(ids)
        server.output.log_probs = None
        say(tiny, server)
    with pytest.raises(InvariantError, match="1 log-probabilities for"):
        say(tiny, Server(ids, [-1.0]))


def test_rounding_above_zero_is_no_error_and_more_is_left_for_the_check_of_the_episode(tiny: Tiny) -> None:
    ids = tiny.codec.encode_text("ab")
    rest = [-1.0] * (len(ids) - 2)
    assert say(tiny, Server(ids, [1e-7, 0.5, *rest])).logprobs == [0.0, 0.5, *rest]


def test_times_put_off_and_steps_are_summed_over_the_turns(tiny: Tiny) -> None:
    server = Server(tiny.codec.encode_sampled("x"))
    policy = ServerPolicy(server, tiny.codec, {}, "vllm", priority=4)
    assert policy.preempted == -1
    for step, preempted in ((3, None), (4, 2), (5, 1)):
        server.output.num_preempted, server.output.extra_fields = preempted, {"global_steps": step}
        asyncio.run(policy.generate(request(tiny)))
    assert (policy.steps, policy.preempted) == ((3, 5), 3) and policy.seconds > 0
    assert {(a["request_id"], a["priority"]) for a in server.asked} == {(server.asked[0]["request_id"], 4)}
    other = Server(server.output.token_ids)
    say(tiny, other)
    assert other.asked[0]["request_id"] != server.asked[0]["request_id"]


def test_images_in_the_messages_must_be_those_of_the_tokens(tiny: Tiny) -> None:
    box = Box(x1=0, y1=0, x2=32, y2=32)
    view = View(page_id="p", ref=PageRef(document="d", page=1), region=box, width=32, height=32)
    messages = [Message("user", ["?", ImagePart(Image.new("RGB", (32, 32)), view)])]
    policy = ServerPolicy(Server([1]), tiny.codec, {}, "vllm")
    with pytest.raises(InvariantError, match="1 images in the messages, 0 in the tokens"):
        asyncio.run(policy.generate(request(tiny, messages)))


# ------------------------------------------------------------------------------------ the output


@pytest.fixture
def episode(tiny: Tiny) -> Episode:
    """One that was shown images, by a world that always shows some."""
    policy = ServerPolicy(Server(tiny.codec.encode_sampled("go on")), tiny.codec, {}, "vllm")
    task = Task(id="3", question="?")
    found = asyncio.run(
        rollout(NoisyWorld(tiny.factor), policy, tiny.codec, task, Limits(800, 20, 4), Sampling(1.0, 20))
    )
    found.reward = Reward(total=0.4, parts={"answer": 0.5})
    return found


def test_an_episode_is_handed_over_as_it_was_sampled(episode: Episode) -> None:
    fields = output_fields(episode, ["answer", "retrieval"], 100, 800)
    tokens = episode.tokens
    assert tokens is not None and len(tokens.images) >= 2
    assert fields["prompt_ids"] + fields["response_ids"] == tokens.ids
    assert fields["response_mask"] == tokens.loss_mask and fields["response_logprobs"] == tokens.logprobs
    assert fields["multi_modal_data"]["images"] == images_of(episode.messages)
    assert (fields["reward_score"], fields["num_turns"]) == (0.4, len(episode.turns))
    told = fields["extra_fields"]["reward_extra_info"]
    assert (told["answer"], told["retrieval"], told["images_seen"]) == (0.5, None, len(tokens.images))


def test_what_verl_would_score_or_cut_wrongly_is_an_error_naming_the_task(episode: Episode) -> None:
    assert episode.tokens is not None
    with pytest.raises(ConfigError, match=r"task 3: a prompt of \d+ tokens: raise data.max_prompt_length"):
        output_fields(episode, [], 5, 800)
    with pytest.raises(ConfigError, match=r"task 3: a response of \d+ tokens: raise data.max_response_length"):
        output_fields(episode, [], 100, 50)
    images = episode.tokens.images.pop()
    with pytest.raises(InvariantError, match=r"task 3: .* images in the messages"):
        output_fields(episode, [], 100, 800)
    episode.tokens.images.append(images)
    episode.reward, episode.error = None, "search failed"
    with pytest.raises(InfrastructureError, match="task 3: the episode has no reward: search failed"):
        output_fields(episode, [], 100, 800)


def test_a_prompt_that_fills_the_context_is_an_error(tiny: Tiny) -> None:
    policy = ServerPolicy(Server([1]), tiny.codec, {}, "vllm")
    task = Task(id="3", question="?")
    found = asyncio.run(rollout(NoisyWorld(tiny.factor), policy, tiny.codec, task, Limits(10), Sampling()))
    found.reward = Reward(total=0.0, parts={})
    with pytest.raises(ConfigError, match="leaves no room to say anything"):
        output_fields(found, [], 100, 800)
