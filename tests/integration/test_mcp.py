"""The MCP server as the official client sees it, by stdio and by HTTP."""

from __future__ import annotations

import asyncio
import base64
import io
import os
import sys
from collections.abc import Awaitable, Callable, Generator
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import Client, StdioServerParameters, stdio_client
from PIL import Image

from tests.asking import agent_service, make_corpus, scripted, served
from tests.chats import chat_server, fails
from tests.serving import Running, started
from vrag.policies.speaker import SpeakerOf
from vrag.servers.mcp.server import create_app, make_server

QUESTION = "Which port does the daemon listen on?"
TOKEN = "canary-7c9e6679f3a44b2e"
Talk = Callable[[Client], Awaitable[None]]


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("made") / "notes")


@pytest.fixture(scope="module")
def server(notes: Path) -> Generator[Running]:
    with started(create_app(agent_service(chosen={"notes": notes}, read_only=True))) as running:
        yield running


def over_http(server: Running, talk: Talk) -> None:
    async def run() -> None:
        async with Client(f"{server.url}/mcp") as client:
            await talk(client)

    asyncio.run(run())


def in_process(chosen: dict[str, Path], talk: Talk, policies: dict[str, SpeakerOf] | None = None) -> None:
    async def run() -> None:
        service = agent_service(policies, chosen=chosen, read_only=True)
        async with service.running(), Client(make_server(service)) as client:
            await talk(client)

    asyncio.run(run())


def picture(result: Any) -> tuple[str, Image.Image]:
    """What is said of an image, and the image."""
    assert not result.is_error, result.content
    text, image = result.content
    assert (text.type, image.type, image.mime_type) == ("text", "image", "image/jpeg")
    return text.text, Image.open(io.BytesIO(base64.b64decode(image.data)))


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    return result.content[0].text  # type: ignore[union-attr]


async def exercise(client: Client) -> None:
    """Each tool once, as an agent that looks for the answer by itself."""
    assert [tool.name for tool in (await client.list_tools()).tools] == [
        *("list_corpora", "search_pages", "view_page", "crop_page", "ask"),
    ]
    assert (await client.call_tool("list_corpora", {})).structured_content == {"result": ["notes"]}
    found = (await client.call_tool("search_pages", {"query": "daemon port"})).structured_content
    assert found is not None and found["corpus"] == "notes"
    best = {key: found["pages"][0][key] for key in ("document", "page")}
    assert best == {"document": "manual.pdf", "page": 2}
    text, page = picture(await client.call_tool("view_page", best | {"max_width": 200}))
    assert text.startswith("manual.pdf, page 2") and page.width == 200
    _, part = picture(await client.call_tool("crop_page", best | {"box": [0, 0, 0.5, 0.25]}))
    assert part.width / part.height == pytest.approx(2 * page.width / page.height, rel=0.05) and part.width > 200
    heard: list[str] = []

    async def progress(step: float, of: float | None, what: str | None) -> None:
        heard.append(f"{step:.0f} {what}")

    answer = (await client.call_tool("ask", {"question": QUESTION}, progress_callback=progress)).structured_content
    assert answer is not None and "873" in answer["answer"] and answer["stop"] == "answer"
    assert (answer["evidence"]["document"], answer["evidence"]["page"]) == ("manual.pdf", 2)
    assert "1 look at manual.pdf, page 2" in heard
    picture(await client.call_tool("crop_page", best | {"box": answer["evidence"]["box"]}))


def test_each_tool_works_over_http(server: Running):
    over_http(server, exercise)


def test_each_tool_works_over_stdio_and_the_server_ends_with_its_client(notes: Path):
    async def run() -> None:
        command = ["-m", "vrag", "mcp", "--corpus", str(notes)]
        parameters = StdioServerParameters(command=sys.executable, args=command, env=dict(os.environ))
        async with Client(stdio_client(parameters)) as client:
            await exercise(client)

    asyncio.run(asyncio.wait_for(run(), 60))


def test_what_a_tool_cant_do_is_an_error_that_says_what_to_do(server: Running):
    async def talk(client: Client) -> None:
        page = {"document": "manual.pdf", "page": 2}
        assert "search_pages gives names" in await refused(client, "view_page", document="nothing.pdf", page=1)
        assert "no page 9" in await refused(client, "view_page", document="manual.pdf", page=9)
        assert "UsageError: a box is" in await refused(client, "crop_page", **page, box=[0.5, 0, 0.2, 1])
        assert "UsageError: no corpus '../notes'" in await refused(client, "view_page", **page, corpus="../notes")
        assert "question has 1 to" in await refused(client, "ask", question=" ")
        assert "at most 8192" in await refused(client, "search_pages", query="x" * 9000)
        for arguments in ({"page": 0}, {"page": 1, "max_width": 10**6}, {"page": 1, "document": 5}):
            assert await refused(client, "view_page", **({"document": "manual.pdf"} | arguments))

    over_http(server, talk)


def test_with_several_corpora_one_has_to_be_named(notes: Path):
    async def talk(client: Client) -> None:
        assert "say which corpus: one, two" in await refused(client, "search_pages", query="port")
        found = await client.call_tool("search_pages", {"query": "port", "corpus": "two"})
        assert found.structured_content is not None and found.structured_content["corpus"] == "two"

    in_process({"one": notes, "two": notes}, talk)


def test_no_answer_an_answer_that_there_is_none_and_a_failure_are_told_apart(notes: Path):
    async def no_answer(client: Client) -> None:
        result = (await client.call_tool("ask", {"question": QUESTION, "max_turns": 1})).structured_content
        assert result is not None and result["answer"] is None and result["stop"] == "turns"

    async def nothing(client: Client) -> None:
        result = (await client.call_tool("ask", {"question": QUESTION})).structured_content
        assert result is not None and result["answer"] == "Not found." and result["evidence"] is None

    async def failure(client: Client) -> None:
        said = await refused(client, "ask", question=QUESTION)
        assert "a model server" in said and "127.0.0.1" not in said

    in_process({"notes": notes}, no_answer, {"scripted": scripted("<search>port</search>", "<search>port</search>")})
    none = scripted("<search>port</search>", "<bbox>[1, 1, 90, 90]</bbox>", "<answer>Not found.</answer>")
    in_process({"notes": notes}, nothing, {"scripted": none})
    with chat_server(fails(400)) as model:
        in_process({"notes": notes}, failure, {"vlm": served(model.url)})


@pytest.mark.parametrize("transport", ["memory", "http"])
def test_a_call_that_is_cancelled_ends_its_episode_and_what_that_asked(notes: Path, transport: str):
    left: list[bool] = []

    async def talk(client: Client) -> None:
        asking = asyncio.create_task(client.call_tool("ask", {"question": QUESTION}))
        while not model.asked:
            await asyncio.sleep(0.01)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        while model.together:
            await asyncio.sleep(0.01)
        left.append(True)

    with chat_server(lambda asked: asked.connection.recv(1) and None) as model:
        policies = {"vlm": served(model.url)}
        if transport == "memory":
            in_process({"notes": notes}, talk, policies)
        else:
            service = agent_service(policies, chosen={"notes": notes}, read_only=True)
            with started(create_app(service)) as server:
                over_http(server, talk)
                server.until(lambda: server.metric("vrag_episodes_admitted") == 0)
    assert left == [True]


def test_the_guard_of_the_other_servers_stands_before_it(notes: Path):
    hello = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    with started(create_app(agent_service(chosen={"notes": notes}, read_only=True), TOKEN)) as server:
        for wrong in ({}, {"Authorization": "Bearer no"}):
            assert server.client.post("/mcp", json=hello, headers=wrong).status_code == 401

        async def run() -> None:
            from mcp.client.streamable_http import streamable_http_client

            async with (
                httpx.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False) as http,
                Client(streamable_http_client(f"{server.url}/mcp", http_client=http)) as client,
            ):
                assert len((await client.list_tools()).tools) == 5

        asyncio.run(run())
    with started(create_app(agent_service(chosen={"notes": notes}, read_only=True))) as server:
        assert server.client.post("/mcp", json=hello, headers={"Host": "evil.example"}).status_code == 421
        assert server.client.post("/mcp", json=hello, headers={"Origin": "http://evil.example"}).status_code == 403
        assert server.client.get("/health").json() == {"status": "ok"}
        assert server.metric("vrag_requests_total") == 3
