"""The client of the search server: patient where it helps, and never an empty list for a failure."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Generator
from typing import Any

import anyio
import httpx
import pytest
import stamina

from vrag.environment import DocumentEnvironment, EnvironmentConfig
from vrag.episode import Episode
from vrag.errors import InfrastructureError, UsageError
from vrag.geometry import ViewSpec
from vrag.http import Server
from vrag.policies.scripted import ScriptedPolicy
from vrag.remote import RemoteRetriever
from vrag.rewards.combine import score_episode
from vrag.rollout import Limits, rollout
from vrag.testing import MemoryStore
from vrag.types import Hit, PageRef, Sampling, StopReason, Task

URL = "http://search.example:8002"
TOKEN = "canary-5d41402abc4b2a76"
PAGE = {"page_id": "p", "document": "d.pdf", "page": 3, "score": 1.5, "ranks": {"text": 1}}
Handler = Callable[[httpx.Request], Any]


@pytest.fixture(autouse=True)
def no_pauses() -> Generator[None]:
    with stamina.set_testing(True, attempts=5, cap=True):
        yield


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> Generator[list[float]]:
    """How long it would have slept."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    with stamina.set_testing(False):
        yield slept


def found(*results: list[dict[str, object]], **more: object) -> httpx.Response:
    return httpx.Response(200, json={"results": results, "index_version": "v-1", **more})


def answers(*responses: httpx.Response | Exception) -> tuple[Handler, list[httpx.Request]]:
    """A server that gives these answers in turn, the last one for ever, and what it was asked."""
    left, asked = list(responses), list[httpx.Request]()

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return handle, asked


def remote(handler: Handler, **more: Any) -> RemoteRetriever:
    return RemoteRetriever(URL, transport=httpx.MockTransport(handler), **more)


def search(retriever: RemoteRetriever, query: str = "q", k: int = 5) -> list[Hit]:
    return asyncio.run(retriever.search(query, k))


def test_hits_come_as_from_any_retriever():
    handler, asked = answers(found([PAGE]))
    hits = search(remote(handler, token=TOKEN, by="fused"), "café", 7)
    assert hits == [Hit(page_id="p", ref=PageRef(document="d.pdf", page=3), score=1.5, ranks={"text": 1})]
    assert str(asked[0].url) == f"{URL}/v1/search" and asked[0].headers["Authorization"] == f"Bearer {TOKEN}"
    assert json.loads(asked[0].content) == {"queries": ["café"], "k": 7, "by": "fused"}


def test_several_queries_are_one_request():
    handler, asked = answers(found([], [PAGE]))
    hits = asyncio.run(remote(handler).search_many(["a", "b"], 2))
    assert [len(one) for one in hits] == [0, 1] and len(asked) == 1


def test_nothing_is_asked_for_no_pages():
    handler, asked = answers(httpx.Response(500))
    assert search(remote(handler), k=0) == [] and asyncio.run(remote(handler).search_many([], 3)) == []
    assert asked == []


def test_fields_of_a_newer_server_are_ignored():
    handler, _ = answers(found([{**PAGE, "snippet": "…"}], took=3))
    assert [hit.page_id for hit in search(remote(handler))] == ["p"]


@pytest.mark.parametrize(
    "failure",
    [
        httpx.Response(503),
        httpx.Response(504),
        httpx.Response(429),
        httpx.ConnectError("down"),
        httpx.ReadTimeout("slow"),
    ],
)
def test_what_may_pass_is_tried_again(failure: httpx.Response | Exception):
    handler, asked = answers(failure, failure, found([PAGE]))
    assert len(search(remote(handler))) == 1 and len(asked) == 3


@pytest.mark.parametrize("failure", [httpx.Response(502), httpx.ConnectError("down")])
def test_what_doesnt_pass_is_an_error_that_names_the_server(failure: httpx.Response | Exception):
    handler, asked = answers(failure)
    with pytest.raises(InfrastructureError, match=f"search server {URL}: "):
        search(remote(handler, attempts=4))
    assert len(asked) == 4


@pytest.mark.parametrize(
    "form",
    ["{0}", "ab\\/c+d=\\\\e", "ab\\u002fc\\u002Bd\\u003d\\u005Ce", "ab%2Fc%2bd%3D%5Ce", "%61%62%2f%63%2b%64%3d%5c%65"],
)
def test_no_message_says_the_token_however_the_server_writes_it(form: str):
    token = "ab/c+d=\\e"
    masked = Server("search server", URL, token).masked(f"<{form.format(token)}> isn't AB/c+d=\\e")
    assert masked == "<***> isn't AB/c+d=\\e"


@pytest.mark.parametrize(
    ("status", "hint"), [(401, "token"), (404, "search server"), (422, "422"), (500, "500"), (302, "302")]
)
def test_what_wont_pass_is_asked_once(status: int, hint: str):
    handler, asked = answers(httpx.Response(status, headers={"Location": "http://elsewhere.example/"}))
    with pytest.raises(InfrastructureError, match=hint) as failed:
        search(remote(handler, token=TOKEN))
    assert len(asked) == 1 and TOKEN not in str(failed.value)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"results": [[{}]], "index_version": "1"}'])
def test_an_answer_that_is_none_is_an_error(body: bytes):
    handler, _ = answers(httpx.Response(200, content=body))
    with pytest.raises(InfrastructureError, match="no search result"):
        search(remote(handler))


def test_an_answer_to_another_number_of_queries_is_an_error():
    handler, _ = answers(found([PAGE], [PAGE]))
    with pytest.raises(InfrastructureError, match="2 of 1"):
        search(remote(handler))


def test_a_pause_that_the_server_asks_for_is_kept(pauses: list[float]):
    handler, _ = answers(httpx.Response(429, headers={"Retry-After": "1"}), found([PAGE]))
    assert len(search(remote(handler))) == 1
    assert len(pauses) == 1 and 1 <= pauses[0] <= 1.5


def test_pauses_grow_and_are_random(pauses: list[float]):
    handler, _ = answers(httpx.Response(503))
    with pytest.raises(InfrastructureError):
        search(remote(handler))
    assert len(pauses) == 4 and pauses != [0.1, 0.2, 0.4, 0.8]
    assert all(0.1 * 2**n <= pause <= 0.1 * 2**n + 0.5 for n, pause in enumerate(pauses))


def test_a_pause_beyond_its_patience_is_not_waited_for(pauses: list[float]):
    handler, asked = answers(httpx.Response(429, headers={"Retry-After": "3600"}))
    with pytest.raises(InfrastructureError, match="429"):
        search(remote(handler))
    assert (len(asked), pauses) == (1, [])


def test_patience_ends_what_never_answers():
    async def silent(_: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(InfrastructureError, match=r"no answer within 0\.05 s"):
        search(remote(silent, patience=0.05))


def test_a_connection_that_is_being_closed_when_patience_ends_is_closed():
    closed: list[bool] = []

    async def ends(_: httpx.Request) -> httpx.Response:
        with anyio.CancelScope(shield=True):  # as httpx closes one whose time is over
            await anyio.sleep(0.2)
            closed.append(True)
        raise httpx.ReadTimeout("")

    with pytest.raises(InfrastructureError, match=r"no answer within 0\.05 s"):
        search(remote(ends, patience=0.05))
    assert closed == [True]


@pytest.mark.parametrize("url", ["search.example", "ftp://x", "http://", "http://me:secret@x", ""])
def test_what_is_no_url_of_a_server_is_refused(url: str):
    with pytest.raises(UsageError, match="like http") as refused:
        RemoteRetriever(url)
    assert "secret" not in str(refused.value)


# ------------------------------------------------------------------------- in a rollout: FAULTS 13


def episode(handler: Handler, **more: Any) -> Episode:
    environment = DocumentEnvironment(
        MemoryStore(), remote(handler, **more), EnvironmentConfig(view=ViewSpec(min_pixels=3136, max_pixels=9408))
    )
    policy = ScriptedPolicy(["<search>revenue</search>", "<answer>7</answer>"])
    task = Task(id="t", question="What?", answers=["8"])
    return asyncio.run(rollout(environment, policy, None, task, Limits(), Sampling()))


async def _hang(_: httpx.Request) -> httpx.Response:
    await asyncio.Event().wait()
    raise AssertionError


@pytest.mark.parametrize(
    ("handler", "more"),
    [
        (answers(httpx.ConnectError("refused"))[0], {}),
        (answers(httpx.Response(503))[0], {}),
        (answers(httpx.Response(500))[0], {}),
        (answers(httpx.Response(200, content=b"{}"))[0], {}),
        (_hang, {"patience": 0.05}),
    ],
    ids=["down", "overloaded", "broken", "garbage", "slow"],
)
def test_a_retriever_that_fails_ends_the_episode_unscored(handler: Handler, more: dict[str, Any]):
    ended = episode(handler, **more)
    assert ended.stop is StopReason.ERROR and URL in (ended.error or "")
    assert score_episode(ended) is None


def test_a_retriever_that_finds_nothing_is_no_failure():
    ended = episode(answers(found([]))[0])
    assert ended.stop is StopReason.ANSWER and ended.error is None
    assert score_episode(ended) is not None
