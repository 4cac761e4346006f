"""The agent server as OpenAI's own client sees it."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.asking import agent_serving, make_corpus, scripted, served
from tests.chats import chat_server, fails
from tests.serving import Running
from vrag.policies.speaker import load_speaker

QUESTION = "Which port does the daemon listen on?"
TOKEN = "canary-1b9d6bcd6a7d4f2e"


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("made") / "notes")


@pytest.fixture(scope="module")
def server(notes: Path) -> Generator[Running]:
    policies = {"extractive": load_speaker("extractive"), "lost": scripted("<search>daemon</search>", "x", "x", "x")}
    with agent_serving(chosen={"notes": notes}, policies=policies) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Running) -> Generator[openai.OpenAI]:
    with client_of(server) as client:
        yield client


def client_of(server: Running, key: str = "none") -> openai.OpenAI:
    http = httpx.Client(trust_env=False, timeout=30)
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0, http_client=http)


def say(text: str | list[Any]) -> list[Any]:
    return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]


def test_each_corpus_is_a_model_alone_and_with_each_policy(client: openai.OpenAI):
    assert [model.id for model in client.models.list()] == ["notes", "notes:extractive", "notes:lost"]


def test_a_completion_is_the_answer_and_vrag_says_where_it_stands(client: openai.OpenAI):
    made = client.chat.completions.create(model="notes", messages=say(QUESTION))
    (choice,) = made.choices
    assert "873" in (choice.message.content or "") and choice.finish_reason == "stop"
    told = (made.model_extra or {})["vrag"]
    assert told["stop"] == "answer" and told["evidence"]["document"] == "manual.pdf" and told["evidence"]["page"] == 2
    assert told["events"][0]["type"] == "start" and told["events"][-1]["type"] == "stop"
    assert made.usage is not None and made.usage.total_tokens == 0


def test_a_stream_has_a_chunk_for_each_event_and_the_answer_in_one_piece(client: openai.OpenAI):
    chunks = list(
        client.chat.completions.create(
            model="notes:extractive",
            messages=say([{"type": "text", "text": QUESTION}]),
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    *told, usage = chunks
    assert usage.choices == [] and usage.usage is not None
    contents = [chunk.choices[0].delta.content for chunk in told if chunk.choices[0].delta.content]
    assert len(contents) == 1 and "873" in contents[0]
    assert [chunk.choices[0].finish_reason for chunk in told if chunk.choices[0].finish_reason] == ["stop"]
    events = [chunk.model_extra["vrag"]["event"]["type"] for chunk in told[:-1] if chunk.model_extra]
    assert events[:3] == ["start", "step", "thought"] and events[-2:] == ["answer", "usage"]
    assert (told[-1].model_extra or {})["vrag"]["evidence"]["page"] == 2


def test_an_episode_without_an_answer_has_no_content_and_has_spent_its_budget(client: openai.OpenAI):
    (choice,) = client.chat.completions.create(model="notes:lost", messages=say(QUESTION)).choices
    assert choice.message.content == "" and choice.finish_reason == "length"


@pytest.mark.parametrize("model", ["nothing", "notes:nothing", "../notes", "/etc", ""])
def test_a_model_that_isnt_there_is_404(client: openai.OpenAI, model: str):
    with pytest.raises(openai.NotFoundError) as refused:
        client.chat.completions.create(model=model, messages=say(QUESTION))
    assert refused.value.code == "model_not_found" and refused.value.param == "model"


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"n": 2}, "n"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"stop": "x"}, "stop"),
        ({"temperature": 3}, "temperature"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "assistant", "content": "hello"}]}, "messages"),
        ({"messages": [{"role": "user", "content": " "}]}, "messages"),
        ({"messages": [{"role": "user", "content": "x" * 8193}]}, "messages"),
    ],
)
def test_what_would_have_to_be_ignored_is_400_and_named(client: openai.OpenAI, more: dict[str, Any], param: str):
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(**({"model": "notes", "messages": say(QUESTION)} | more))
    assert refused.value.param == param and refused.value.type == "invalid_request_error"


def test_what_is_no_json_names_no_field(notes: Path):
    with agent_serving(chosen={"notes": notes}) as server:
        headers = {"Content-Type": "application/json"}
        refused = server.client.post("/v1/chat/completions", content=b'{"model": "notes", oops}', headers=headers)
    error = refused.json()["error"]
    assert refused.status_code == 400 and error["param"] is None
    assert error["message"] == "JSON decode error at character 19"


def test_settings_that_change_nothing_are_taken(client: openai.OpenAI):
    made = client.chat.completions.create(
        model="notes", messages=say(QUESTION), n=1, top_p=1, frequency_penalty=0, user="me", seed=3, max_tokens=64
    )
    assert made.choices[0].message.content


def test_a_model_server_that_fails_is_an_error_of_the_server_also_within_a_stream(notes: Path):
    with (
        chat_server(fails(400)) as model,
        agent_serving(chosen={"notes": notes}, policies={"vlm": served(model.url)}) as server,
        client_of(server) as client,
    ):
        with pytest.raises(openai.InternalServerError) as failed:
            client.chat.completions.create(model="notes", messages=say(QUESTION))
        assert failed.value.status_code == 503 and failed.value.type == "server_error"
        with pytest.raises(openai.APIError, match="model server"):
            list(client.chat.completions.create(model="notes", messages=say(QUESTION), stream=True))


def test_with_a_token_the_clients_key_is_that_token(notes: Path):
    with agent_serving(chosen={"notes": notes}, token=TOKEN) as server:
        with client_of(server, TOKEN) as client:
            assert "notes" in [model.id for model in client.models.list()]
        with client_of(server, "wrong") as client, pytest.raises(openai.AuthenticationError) as refused:
            client.models.list()
        assert refused.value.type == "authentication_error" and TOKEN not in str(refused.value)
