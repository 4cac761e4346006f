"""The client of chat endpoints, against a server that misbehaves."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import logging
import sys
import threading
import time
import weakref
from collections.abc import Generator
from io import BytesIO
from typing import Any

import httpx
import pytest
import stamina
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.chats import Answer, Asked, chat_server, completion, cuts, fails, garbage, hangs, repeats_the_key, says
from vrag.actions import closed_at
from vrag.chat import Chat, ChatSettings, NoReply, Reply, wire
from vrag.errors import UsageError
from vrag.types import Box, ImagePart, Message, PageRef, Sampling, Usage, View

KEY = "canary-0cc175b9c0f1b6a8"
HELLO = [Message("user", ["hello"])]


@pytest.fixture(autouse=True)
def no_pauses() -> Generator[None]:
    with stamina.set_testing(True, attempts=10, cap=True):
        yield


def settings(url: str, **more: Any) -> ChatSettings:
    return ChatSettings(url=url, model="m", **{"timeout": 5.0, "total": 10.0, **more})


def ask(*answers: Answer, objection: Any = None, sampling: Sampling | None = None, **more: Any) -> Reply:
    with chat_server(*answers) as server:
        return asyncio.run(Chat(settings(server.url, **more)).ask(HELLO, sampling, objection))


def test_a_reply_comes_with_what_it_cost() -> None:
    assert ask(says("hi", 7, 3)) == Reply("hi", "stop", Usage(calls=1, prompt_tokens=7, completion_tokens=3))


def test_the_request_is_what_every_server_takes_and_settings_change_its_fields() -> None:
    with chat_server(says("hi")) as server:
        chat = Chat(settings(server.url), key=KEY)
        asyncio.run(chat.ask(HELLO, Sampling(temperature=0.5, max_tokens=9, seed=3)))
        other = Chat(settings(server.url, omit=["temperature", "max_tokens"], extra={"max_completion_tokens": 9}))
        asyncio.run(other.ask(HELLO))
        first, second = server.asked
    assert first.path == "/v1/chat/completions" and first.headers["Authorization"] == f"Bearer {KEY}"
    assert first.body == {
        "model": "m",
        "messages": [{"role": "user", "content": "hello"}],
        "temperature": 0.5,
        "max_tokens": 9,
        "seed": 3,
    }
    assert second.headers["Authorization"] is None
    assert set(second.body) == {"model", "messages", "seed", "max_completion_tokens"}


def test_an_image_arrives_with_the_pixels_that_it_had() -> None:
    image = Image.effect_noise((20, 10), 90).convert("RGB")
    region = Box(x1=0, y1=0, x2=20, y2=10)
    view = View(page_id="p", ref=PageRef(document="d", page=1), region=region, width=20, height=10)
    with chat_server(says("noise")) as server:
        message = Message("user", ["What is this?", ImagePart(image, view)])
        asyncio.run(Chat(settings(server.url)).ask([Message("system", ["Be brief."]), message]))
        system, user = server.asked[0].body["messages"]
    assert system == {"role": "system", "content": "Be brief."} and user["role"] == "user"
    text, picture = user["content"]
    assert text == {"type": "text", "text": "What is this?"} and picture["type"] == "image_url"
    head, _, data = picture["image_url"]["url"].partition(",")
    assert head == "data:image/png;base64"
    assert Image.open(BytesIO(base64.b64decode(data))).convert("RGB").tobytes() == image.tobytes()


def test_texts_alone_are_one_string() -> None:
    assert wire(Message("user", ["a", "b"])) == {"role": "user", "content": "ab"}


@pytest.mark.parametrize(
    "failure",
    [fails(500), fails(503), fails(429), cuts, garbage(b"<html>"), garbage(b'{"choices": []}'), garbage(b"")],
    ids=["500", "503", "429", "cut", "no json", "no choice", "empty"],
)
def test_what_may_pass_is_tried_again(failure: Answer) -> None:
    assert ask(failure, failure, says("hi")).usage.calls == 3


@pytest.mark.parametrize("failure", [fails(500), cuts, garbage(b"{}")], ids=["500", "cut", "garbage"])
def test_what_doesnt_pass_costs_three_tries_and_names_the_server(failure: Answer) -> None:
    with chat_server(failure) as server:
        with pytest.raises(NoReply, match=f"chat server {server.url}") as failed:
            asyncio.run(Chat(settings(server.url)).ask(HELLO))
        assert len(server.asked) == failed.value.usage.calls == 3


def test_a_server_that_hangs_costs_the_attempts_and_no_more_than_the_total() -> None:
    began = time.perf_counter()
    with pytest.raises(NoReply, match="ReadTimeout") as failed:
        ask(hangs, timeout=0.05)
    assert failed.value.usage.calls == 3
    with pytest.raises(NoReply, match=r"no answer within 0\.1 s"):
        ask(hangs, total=0.1)
    assert time.perf_counter() - began < 5


def test_nobody_who_listens_is_an_error_that_names_the_server() -> None:
    with pytest.raises(NoReply, match=r"chat server http://127\.0\.0\.1:1/v1: ConnectError"):
        asyncio.run(Chat(settings("http://127.0.0.1:1/v1")).ask(HELLO))


@pytest.mark.parametrize("after", ["1", "3600"])
def test_a_pause_that_the_server_asks_for_is_kept_unless_it_is_too_long(
    after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    with stamina.set_testing(False):
        if after == "1":
            assert ask(fails(429, Retry_After=after), says("hi")).text == "hi"
            assert len(slept) == 1 and 1 <= slept[0] <= 1.5
        else:
            with pytest.raises(NoReply, match="429"):
                ask(fails(429, Retry_After=after))
            assert slept == []


@pytest.mark.parametrize(
    ("status", "fix"),
    [(400, "omit"), (401, "VRAG_CHAT_KEY"), (403, "VRAG_CHAT_KEY"), (404, r"/v1.*model m\?"), (302, "no")],
)
def test_what_wont_pass_is_asked_once_and_says_the_fix(status: int, fix: str) -> None:
    with pytest.raises(NoReply, match=f"answered {status}.*{fix}") as failed:
        ask(fails(status, Location="http://elsewhere.example/"))
    assert failed.value.usage.calls == 1


def test_an_objection_is_said_to_the_model_and_its_cost_is_counted() -> None:
    with chat_server(says("five"), says("six"), says("7", 30, 1)) as server:
        reply = asyncio.run(Chat(settings(server.url)).ask(HELLO, objection=lambda t: None if t == "7" else "digits!"))
        third = server.asked[2].body["messages"]
    assert reply.text == "7" and reply.usage == Usage(calls=3, prompt_tokens=50, completion_tokens=5)
    assert [message["content"] for message in third] == ["hello", "six", "digits!"]


def test_objections_and_failures_share_the_attempts() -> None:
    with pytest.raises(NoReply, match=r"said 'five'.*digits!") as failed:
        ask(says("five"), fails(500), says("five"), objection=lambda text: "digits!")
    assert failed.value.usage == Usage(calls=3, prompt_tokens=20, completion_tokens=4)


def test_an_error_says_whether_the_model_or_what_lies_between_was_at_fault() -> None:
    for answers, objected in (((fails(500), says("five")), True), ((says("five"), fails(500)), False)):
        with pytest.raises(NoReply) as failed:
            ask(*answers, objection=lambda text: "digits!", attempts=2)
        assert failed.value.objected is objected


def test_a_key_that_a_reply_repeats_is_masked() -> None:
    with chat_server(says(f"the key is {KEY}")) as server:
        reply = asyncio.run(Chat(settings(server.url), key=KEY).ask(HELLO))
    assert reply.text == "the key is ***"


def test_requests_run_together_and_no_more_than_allowed() -> None:
    meeting = threading.Barrier(8)

    def meets(asked: Asked) -> None:
        meeting.wait(10)
        says("hi")(asked)

    async def many(url: str, parallel: int) -> list[Reply]:
        chat = Chat(settings(url, parallel=parallel))
        return await asyncio.gather(*(chat.ask(HELLO) for _ in range(8)))

    with chat_server(meets) as server:
        assert len(asyncio.run(many(server.url, 8))) == 8
    with chat_server(says("hi")) as server:
        asyncio.run(many(server.url, 2))
        assert server.most_together <= 2 and len(server.asked) == 8


def test_an_event_loop_that_is_busy_for_a_while_is_no_server_that_cannot_be_reached() -> None:
    given: list[Any] = []

    def listen(request: httpx.Request) -> httpx.Response:
        given.append(request.extensions["timeout"])
        return httpx.Response(200, content=completion("hi"))

    chat = Chat(settings("http://127.0.0.1:1/v1", timeout=77.0), transport=httpx.MockTransport(listen))
    asyncio.run(chat.ask(HELLO))
    assert given[0]["connect"] == given[0]["read"] == 77.0


def test_one_client_serves_event_loop_after_event_loop() -> None:
    async def two(chat: Chat) -> None:
        await asyncio.gather(chat.ask(HELLO), chat.ask(HELLO))  # the second waits for the first

    with chat_server(says("hi")) as server:
        chat = Chat(settings(server.url, parallel=1))
        asyncio.run(two(chat))
        asyncio.run(two(chat))
        assert len(server.asked) == 4


def test_event_loops_that_are_over_are_forgotten() -> None:
    loops: list[weakref.ref[asyncio.AbstractEventLoop]] = []

    async def two() -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        await asyncio.gather(chat.ask(HELLO), chat.ask(HELLO))  # the second waits, which ties the loop to its place

    with chat_server(says("hi")) as server:
        chat = Chat(settings(server.url, parallel=1))
        for _ in range(3):
            asyncio.run(two())
    gc.collect()
    assert [loop() for loop in loops[:2]] == [None, None]


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats()
    | st.sampled_from(["hi", "<answer>1</answer>", "\ud83d"])
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2)
)


def fields(**known: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """An object with some of these fields, or anything else in its place."""
    return st.fixed_dictionaries({}, optional=known) | VALUES


SAID = fields(content=VALUES, reasoning_content=VALUES, reasoning=VALUES)
CHOICES = st.lists(fields(delta=SAID, message=SAID, finish_reason=VALUES), min_size=1, max_size=2) | VALUES
ANSWERS = fields(choices=CHOICES, usage=fields(prompt_tokens=VALUES, completion_tokens=VALUES), error=VALUES)


def test_whatever_json_a_server_answers_is_a_reply_or_an_error_that_names_it() -> None:
    answers: list[httpx.Response] = []
    transport = httpx.MockTransport(lambda _: answers.pop())
    chat = Chat(settings("http://127.0.0.1:1/v1", attempts=1), transport=transport)

    @given(ANSWERS, st.booleans())
    def asked(answer: Any, streamed: bool) -> None:
        body, kind = json.dumps(answer), "application/json"
        if streamed:
            body, kind = f"data: {body}\n\ndata: [DONE]\n\n", "text/event-stream"
        answers.append(httpx.Response(200, text=body, headers={"Content-Type": kind}))
        try:
            reply = asyncio.run(chat.ask(HELLO, ends=closed_at))
        except NoReply as failure:
            assert str(failure).startswith("chat server http://127.0.0.1:1/v1 (m): ")
        else:
            assert min(reply.usage.prompt_tokens, reply.usage.completion_tokens) >= 0
            assert f"{reply.text}{reply.finish}{reply.thought}".encode()

    asked()


@pytest.mark.parametrize("deep", [b"[" * 200_000, b'{"a":' * 200_000])
def test_an_answer_too_deep_to_be_read_is_an_error(deep: bytes) -> None:
    with pytest.raises(NoReply, match="no chat completion"):
        ask(garbage(deep), attempts=1)


def test_a_reply_without_text_or_usage_is_empty_and_counts_no_tokens() -> None:
    assert ask(garbage(b'{"choices": [{"message": {"content": null}}]}')) == Reply("", "stop", Usage(calls=1))


# ------------------------------------------------------------------------------ the key: FAULTS 21


def test_the_key_is_read_from_the_environment_and_is_nowhere_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MY_KEY", f"{KEY}\n")
    with chat_server(repeats_the_key, fails(500), garbage(f"{KEY}".encode())) as server:
        asked = settings(server.url, key_variable="MY_KEY")
        chat = Chat(asked)
        for _ in range(2):
            with pytest.raises(NoReply) as failed:
                asyncio.run(chat.ask(HELLO))
            errors = [failed.value, failed.value.__cause__]
            assert KEY not in f"{errors!r} {errors[0]} {chat} {chat!r} {asked!r} {asked.model_dump_json()}"
        assert server.asked[0].headers["Authorization"] == f"Bearer {KEY}"
    assert KEY not in caplog.text and all(KEY not in repr(vars(record)) for record in caplog.records)


@pytest.mark.parametrize("key", [None, KEY])
def test_what_the_environment_says_of_openais_own_server_is_not_told_to_another(
    key: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("API_KEY", "ADMIN_KEY", "ORG_ID", "PROJECT_ID", "WEBHOOK_SECRET"):
        monkeypatch.setenv(f"OPENAI_{name}", "another-servers")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://another-servers.example/v1")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: another-servers\nX-Api-Key: another-servers")
    with chat_server(says("hi")) as server:
        asyncio.run(Chat(settings(server.url), key=key).ask(HELLO))
        headers = dict(server.asked[0].headers)
    assert "another-servers" not in repr(headers)
    assert headers.pop("Authorization", None) == (key and f"Bearer {key}")
    assert {name.lower() for name in headers} <= {
        *("host", "accept", "accept-encoding", "connection", "user-agent", "content-type", "content-length"),
        "x-stainless-raw-response",
    }


@pytest.mark.parametrize("name", [KEY, KEY.replace("-", "_")])
def test_a_key_in_place_of_its_variables_name_is_not_repeated(name: str) -> None:
    with pytest.raises(UsageError, match="environment variable") as refused:
        Chat(settings("http://127.0.0.1:1/v1", key_variable=name))
    assert name not in str(refused.value)


@pytest.mark.parametrize("missing", ["httpx", "openai", "stamina"])
def test_a_missing_library_is_named_with_its_extra(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("vrag.http", "vrag.completion"):
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(UsageError, match=rf"needs {missing}: pip install 'vrag\[remote\]'"):
        Chat(settings("http://127.0.0.1:1/v1"))


@pytest.mark.parametrize("url", ["example.com", "http://me:secret@x/v1", "http://x/v1?key=secret", "ftp://x", ""])
def test_what_is_no_url_of_a_server_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="like http") as refused:
        Chat(settings(url))
    assert "secret" not in str(refused.value)


def test_where_the_server_is_is_no_part_of_a_runs_configuration() -> None:
    assert settings("http://127.0.0.1:1/v1").model_dump() == {"model": "m", "extra": {}, "omit": ()}
