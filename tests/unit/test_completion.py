"""Completions as they arrive, from servers that stream, badly for the most part."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from typing import Any

import pytest
import stamina

from tests.chats import DONE, SPENT, Answer, Asked, chat_server, event, says, streams
from vrag.actions import closed_at
from vrag.chat import Chat, ChatSettings, NoReply, Reply
from vrag.types import Message, Sampling, Usage

HELLO = [Message("user", ["hello"])]


@pytest.fixture(autouse=True)
def no_pauses() -> Generator[None]:
    with stamina.set_testing(True, attempts=10, cap=True):
        yield


class Endless:
    """Goes on talking after what it is told to say, until its listener has left."""

    def __init__(self, *events: bytes, more: bytes = event(" and")) -> None:
        self.events, self.more, self.left = events, more, threading.Event()

    def __call__(self, asked: Asked) -> None:
        streams(*self.events)(asked)
        try:
            while not asked.server.owner.over.wait(0.001):
                asked.wfile.write(self.more)
        except OSError:
            self.left.set()


def ask(*answers: Answer, ends: Any = closed_at, **more: Any) -> Reply:
    with chat_server(*answers) as server:
        chat = Chat(ChatSettings(url=server.url, model="m", **{"timeout": 5.0, "total": 10.0, "attempts": 1, **more}))
        return asyncio.run(chat.ask(HELLO, Sampling(), ends=ends))


def test_a_message_is_put_together_from_its_parts_with_what_it_cost() -> None:
    parts = [b": hello\n\n", b"event: message\n", event("<answer>4"), event("2"), event("", "stop"), SPENT, DONE]
    assert ask(streams(*parts)) == Reply("<answer>42", "stop", Usage(calls=1, prompt_tokens=7, completion_tokens=3))


def test_parts_may_be_cut_anywhere_even_within_a_character() -> None:
    raw = b"".join([event("<answer>"), event("4 µm"), event("</answer>", "stop"), DONE]).replace(
        b"\\u00b5", "µ".encode()
    )
    assert ask(streams(*(raw[at : at + 3] for at in range(0, len(raw), 3)))).text == "<answer>4 µm</answer>"


@pytest.mark.parametrize("closes", [["</answer>"], ["</", "ans", "wer>"], ["< /answer", " > and"]])
def test_a_server_that_goes_on_after_the_action_is_left_at_its_closing_tag(closes: list[str]) -> None:
    talks = Endless(event("<think>t</think><answer>42"), *map(event, closes))
    with chat_server(talks) as server:
        reply = asyncio.run(Chat(ChatSettings(url=server.url, model="m")).ask(HELLO, ends=closed_at))
        assert talks.left.wait(2), "the server was told within two seconds"
    assert reply.text == "<think>t</think><answer>42" + "".join(closes).removesuffix(" and")
    assert reply.finish == "stop"


def test_a_server_that_ends_at_the_tag_is_heard_out_for_what_it_cost() -> None:
    closed = event("<search>q</search>")
    assert ask(streams(closed, event(" \n"), event("", "stop", (9, 4)))).usage == Usage(
        calls=1, prompt_tokens=9, completion_tokens=4
    )
    assert ask(streams(event("<search>", usage=(9, 1)), event("q</search>", usage=(9, 3)), event("<"))).usage == Usage(
        calls=1, prompt_tokens=9, completion_tokens=3
    ), "the newest count of a server that counts as it goes"


def test_a_server_that_hangs_after_the_action_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vrag.completion._GRACE", 0.05)

    def hangs(asked: Asked) -> None:
        streams(event("<answer>42</answer>"))(asked)
        asked.server.owner.over.wait(30)

    assert ask(hangs).text == "<answer>42</answer>"


@pytest.mark.parametrize("last", [[], [DONE]])
def test_a_server_that_said_why_it_ended_is_not_waited_for_either(
    last: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vrag.completion._GRACE", 0.05)

    def hangs(asked: Asked) -> None:
        streams(event("<think>hm"), event("", "length"), *last)(asked)
        asked.server.owner.over.wait(30)

    assert ask(hangs, timeout=4.0).finish == "length"


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([event("<answer>4")], "broke off amid its answer"),
        ([], "broke off amid its answer"),
        ([event("<answer>4"), DONE], "broke off amid its answer"),
        ([event("<answer>4"), b'data: {"error": {"message": "out of memory"}}\n\n'], "out of memory"),
        ([b'data: {"error": "no such field"}\n\n'], "no such field"),
        ([event("<answer>4"), b"data: \xff\xfe\n\n"], "no chat completion"),
        ([event("<answer>4\ud83d", "stop")], "no chat completion"),
        ([event("<answer>4"), b'data: {"choices": [{"delta": {"content": ["2"]}}]}\n\n'], "no chat completion"),
        ([b"data: <html>\n\n"], "no chat completion"),
        ([event("x" * (1 << 20)), event("x")], "more than 1048576 characters"),
        ([event("<answer>4"), event("", "abort")], "finish_reason 'abort'"),
    ],
)
def test_a_stream_that_breaks_is_asked_for_again_and_then_an_error(events: list[bytes], reason: str) -> None:
    whole = streams(event("<answer>42</answer>", "stop"), DONE)
    assert ask(streams(*events), whole, attempts=2).usage.calls == 2
    with pytest.raises(NoReply, match=f"chat server http.*{reason}"):
        ask(streams(*events))


def test_a_key_that_an_error_amid_a_stream_repeats_is_masked() -> None:
    with chat_server(streams(b'data: {"error": "canary-51ce8a is no key"}\n\n')) as server:
        chat = Chat(ChatSettings(url=server.url, model="m", attempts=1), key="canary-51ce8a")
        with pytest.raises(NoReply, match=r"failed amid its answer: \"\*\*\* is no key"):
            asyncio.run(chat.ask(HELLO, ends=closed_at))


def test_silence_amid_a_stream_is_an_attempt_that_failed() -> None:
    def hangs(asked: Asked) -> None:
        streams(event("<answer>4"))(asked)
        asked.server.owner.over.wait(30)

    with pytest.raises(NoReply, match="ReadTimeout"):
        ask(hangs, timeout=0.05)


def test_a_caller_that_is_cancelled_takes_the_request_with_it() -> None:
    server = Endless(event("<think>hm"))

    async def cancelled(url: str) -> None:
        chat = Chat(ChatSettings(url=url, model="m"))
        asking = asyncio.ensure_future(chat.ask(HELLO, ends=closed_at))
        while not other.asked:
            await asyncio.sleep(0.005)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    with chat_server(server) as other:
        asyncio.run(cancelled(other.url))
        assert server.left.wait(2), "the server was told within two seconds"


def test_a_server_that_doesnt_stream_is_read_whole_and_ends_at_the_same_place() -> None:
    assert ask(says("<answer>42</answer> and more")).text == "<answer>42</answer>"


def test_it_is_streamed_only_where_the_message_ends_by_itself_and_the_server_can() -> None:
    bodies: list[dict[str, Any]] = []
    for ends, omit in ((closed_at, ()), (None, ()), (closed_at, ("stream",)), (closed_at, ("stream_options",))):
        with chat_server(says("<answer>42</answer>")) as server:
            chat = Chat(ChatSettings(url=server.url, model="m", omit=omit))
            asyncio.run(chat.ask(HELLO, ends=ends))
            bodies.append(server.asked[0].body)
    assert [("stream" in body, "stream_options" in body) for body in bodies] == [
        (True, True),
        (False, False),
        (False, False),
        (True, False),
    ]
    assert bodies[0]["stream_options"] == {"include_usage": True}


def test_a_thought_that_the_server_takes_out_of_the_text_is_kept_apart() -> None:
    for name in ("reasoning_content", "reasoning"):
        said = event("<search>q</search>", "stop").replace(
            b'"content"', f'"{name}": "hm </search>", "content"'.encode()
        )
        thinks = said.replace(b"<search>q</search>", b"")
        reply = ask(streams(thinks, said, DONE))
        assert (reply.thought, reply.text) == ("hm </search>hm </search>", "<search>q</search>")
    assert ask(streams(event("a", "stop"))).thought == ""
