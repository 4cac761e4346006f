"""The client of the encoder server: patient where it helps, within its bounds, and never with vectors of two models."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
from collections.abc import Callable, Generator
from typing import Any

import httpx
import numpy as np
import pytest
import stamina
from PIL import Image

from tests.vectors import unit
from vrag.encoders.load import load_encoder
from vrag.encoders.remote import RemoteEncoder, RemoteSettings, _Room
from vrag.encoders.wire import About, EncoderInfo, pack
from vrag.errors import BudgetExceeded, ConfigError, DocumentError, InfrastructureError, UnsupportedFormat, UsageError
from vrag.types import PageVectors, PatchGrid

URL = "http://gpu.example:8003"
TOKEN = "canary-900150983cd24fb0"
DIM = 4
INFO = EncoderInfo(name="m", settings={}, dim=DIM, fingerprint="f-1", page_bytes=1 << 20, queries=3, timeout=30.0)
Answer = httpx.Response | Exception


@pytest.fixture(autouse=True)
def no_pauses() -> Generator[None]:
    with stamina.set_testing(True, attempts=10, cap=True):
        yield


def vectors(*rows: np.ndarray, fingerprint: str = "f-1", grid: PatchGrid | None = None) -> httpx.Response:
    return httpx.Response(200, content=pack(list(rows), About(fingerprint=fingerprint, grid=grid), "float32"))


def rows(seed: int, count: int = 3) -> np.ndarray:
    return unit(np.random.default_rng(seed).standard_normal((count, DIM)))


class FakeServer:
    """Says who it is, and gives `answers` to all else: in turn and the last for ever, or what a function makes of a
    request. `asked` are the requests but the first.
    """

    def __init__(self, *answers: Answer | Callable[[httpx.Request], Any], info: EncoderInfo = INFO) -> None:
        self.info, self._answers = info, list(answers)
        self.asked: list[httpx.Request] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/encoder":
            return httpx.Response(200, json=self.info.model_dump())
        self.asked.append(request)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if callable(answer):
            answer = await answer(request)
        if isinstance(answer, Exception):
            raise answer
        return answer


def remote(server: Callable[[httpx.Request], Any], token: str | None = None, **settings: Any) -> RemoteEncoder:
    return RemoteEncoder(URL, RemoteSettings(**settings), token=token, transport=httpx.MockTransport(server))


def page(shade: int = 0, size: tuple[int, int] = (20, 30)) -> Image.Image:
    return Image.new("RGB", size, (shade, 0, 0))


def shade_of(request: httpx.Request) -> int:
    with Image.open(io.BytesIO(request.content)) as image:
        return image.getpixel((0, 0))[0]  # type: ignore[index]


async def by_shade(request: httpx.Request) -> httpx.Response:
    return vectors(rows(shade_of(request)))


# ------------------------------------------------------------------------------------------------ answers


def test_it_is_as_wide_as_the_servers_encoder_and_has_its_fingerprint():
    encoder = remote(FakeServer(httpx.Response(500)))
    assert (encoder.dim, encoder.fingerprint) == (DIM, "f-1")


def test_a_page_is_a_png_alone_in_its_request_and_what_comes_back_is_in_the_order_of_pages():
    server = FakeServer(by_shade)
    made = remote(server, TOKEN).encode_pages([page(shade) for shade in range(40)])
    assert all(np.array_equal(one.vectors, rows(shade)) for shade, one in enumerate(made))  # type: ignore[union-attr]
    assert {request.headers["Content-Type"] for request in server.asked} == {"image/png"}
    assert {request.headers["Authorization"] for request in server.asked} == {f"Bearer {TOKEN}"}
    assert {str(request.url) for request in server.asked} == {f"{URL}/v1/encode/page?dtype=float32"}


def test_a_pages_patches_are_told():
    (made,) = remote(FakeServer(vectors(rows(1), grid=PatchGrid(1, 1, 2)))).encode_pages([page()])
    assert isinstance(made, PageVectors) and made.grid == PatchGrid(1, 1, 2)


def test_queries_go_in_requests_of_as_many_as_the_server_takes():
    server = FakeServer(vectors(rows(1), rows(2), rows(3)), vectors(rows(4, 1)))
    made = remote(server, dtype="float16").encode_queries(["a", "b", "c", "é"])
    assert [one.tolist() for one in made] == [rows(1).tolist(), rows(2).tolist(), rows(3).tolist(), rows(4, 1).tolist()]
    assert [request.read() for request in server.asked] == [b'{"queries":["a","b","c"]}', '{"queries":["é"]}'.encode()]
    assert server.asked[0].url.params["dtype"] == "float16"


def test_nothing_is_asked_for_nothing():
    server = FakeServer(httpx.Response(500))
    assert remote(server).encode_pages([]) == [] and remote(server).encode_queries([]) == []
    assert server.asked == []


def test_it_works_beside_a_running_event_loop():
    async def notebook() -> list[Any]:
        return remote(FakeServer(by_shade)).encode_pages([page(7)])

    assert np.array_equal(asyncio.run(notebook())[0].vectors, rows(7))


def test_fields_of_a_newer_server_are_ignored():
    def handle(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={**INFO.model_dump(), "colour": "green"})

    assert remote(handle).dim == DIM


# ------------------------------------------------------------------------------------------------- bounds


@pytest.mark.parametrize(("parallel", "most"), [(1, 1), (5, 5), (64, 12)])
def test_no_more_pages_are_under_way_than_asked_for(parallel: int, most: int):
    at_once, peak = 0, 0

    async def slow(request: httpx.Request) -> httpx.Response:
        nonlocal at_once, peak
        at_once += 1
        for _ in range(200):  # turns of the loop, in which the others could begin
            peak = max(peak, at_once)
            await asyncio.sleep(0)
        at_once -= 1
        return await by_shade(request)

    remote(FakeServer(slow), parallel=parallel).encode_pages([page(shade) for shade in range(12)])
    assert peak <= most and (parallel == 1) == (peak == 1)


def test_room_is_given_back_and_what_is_larger_than_all_of_it_waits_until_it_is_alone():
    async def story() -> None:
        room, order = _Room(10), list[str]()

        async def use(name: str, size: int) -> None:
            async with room.taken(size):
                order.append(name)
                await asyncio.sleep(0)
                order.append(name)

        await asyncio.gather(use("a", 4), use("b", 6), use("large", 99), use("c", 10))
        assert order[:4] in (["a", "b", "a", "b"], ["b", "a", "b", "a"], ["a", "b", "b", "a"])
        assert order[4:] in (["large", "large", "c", "c"], ["c", "c", "large", "large"])

    asyncio.run(story())


# ----------------------------------------------------------------------------------------------- bad pages


def test_a_page_that_cannot_be_encoded_is_an_error_in_its_place():
    async def picky(request: httpx.Request) -> httpx.Response:
        if shade_of(request) == 2:
            return httpx.Response(422, json={"kind": "BudgetExceeded", "detail": "is too red"})
        return await by_shade(request)

    server = FakeServer(picky)
    noise = np.random.default_rng(0).integers(0, 255, (800, 800, 3), dtype=np.uint8)
    images = [page(1), page(2), Image.new("L", (5, 5)), page(0, (0, 5)), Image.fromarray(noise), page(3)]
    made = remote(server).encode_pages(images)
    assert [type(one) for one in made] == [
        PageVectors,
        BudgetExceeded,
        UnsupportedFormat,
        type(made[3]),
        BudgetExceeded,
        PageVectors,
    ]
    assert isinstance(made[3], DocumentError) and "empty" in str(made[3])
    assert str(made[1]) == "is too red" and URL in str(made[4]) and str(1 << 20) in str(made[4])
    assert len(server.asked) == 3  # the other three never left


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(422, json={"detail": "a request holds at most 5 bytes"}),
        httpx.Response(422, json={"kind": "KeyboardInterrupt", "detail": "x"}),
        httpx.Response(500, json={"kind": "BudgetExceeded", "detail": "x"}),
        httpx.Response(422, content=b"<html>"),
    ],
    ids=range(4),
)
def test_a_refusal_that_names_no_fault_of_the_page_is_none(answer: httpx.Response):
    with pytest.raises(InfrastructureError, match=f"encoder server {URL}: answered {answer.status_code}"):
        remote(FakeServer(answer)).encode_pages([page()])


# ------------------------------------------------------------------------------------------------ failures


@pytest.mark.parametrize(
    "failure",
    [httpx.Response(429, headers={"Retry-After": "1"}), httpx.Response(503), httpx.ConnectError("down")],
    ids=["429", "503", "down"],
)
def test_what_may_pass_is_tried_again_for_that_page_alone(failure: Answer):
    server = FakeServer(failure, by_shade)
    made = remote(server).encode_pages([page(1), page(2), page(3)])
    assert all(isinstance(one, PageVectors) for one in made)
    assert len(server.asked) == 4
    assert len(remote(FakeServer(failure, vectors(rows(1)))).encode_queries(["a"])) == 1


def test_a_server_that_is_gone_ends_it_and_the_other_pages_are_given_up():
    async def gone(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("down")

    server = FakeServer(by_shade, gone)
    with pytest.raises(InfrastructureError, match=f"encoder server {URL}: ConnectError: down"):
        remote(server, parallel=1).encode_pages([page(shade) for shade in range(9)])
    assert len(server.asked) == 1 + 10  # one page, and all tries of the next


def test_its_patience_ends_what_never_answers():
    async def silent(_: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(InfrastructureError, match=r"no answer within 0\.05 s"):
        remote(FakeServer(silent), patience=0.05).encode_queries(["a"])


@pytest.mark.parametrize("fingerprint", ["f-2"])
def test_a_server_with_another_model_than_it_had_is_refused(fingerprint: str):
    encoder = remote(FakeServer(by_shade, vectors(rows(1), fingerprint=fingerprint)), parallel=1)
    with pytest.raises(InfrastructureError, match=r"another model now \(fingerprint f-2, not f-1\)"):
        encoder.encode_pages([page(1), page(2)])
    with pytest.raises(InfrastructureError, match="another model"):
        encoder.encode_queries(["a"])


@pytest.mark.parametrize("answer", [httpx.Response(200), vectors(), vectors(np.ones((2, DIM + 1)))], ids=range(3))
def test_an_answer_without_vectors_is_an_error(answer: httpx.Response):
    with pytest.raises(InfrastructureError, match=f"{URL}: answered no vectors of 4 dimensions"):
        remote(FakeServer(answer)).encode_queries(["a"])


def test_what_is_no_encoder_server_is_said_at_once():
    for answer in (httpx.Response(200, json={"status": "ok"}), httpx.Response(200, content=b"<html>")):
        with pytest.raises(InfrastructureError, match="says of no encoder"):
            remote(lambda _, answer=answer: answer)
    with pytest.raises(InfrastructureError, match="is this the URL of an encoder server"):
        remote(lambda _: httpx.Response(404))


# ------------------------------------------------------------------------------------------------- by name


def test_a_url_is_the_name_of_an_encoder_and_the_token_comes_from_its_own_variable(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("VRAG_TOKEN", "of-another-server")
    monkeypatch.setenv("VRAG_ENCODER_TOKEN", TOKEN)
    made: list[RemoteEncoder] = []

    class Recorded(RemoteEncoder):
        def __init__(self, url: str, settings: RemoteSettings, **more: Any) -> None:
            server = FakeServer(vectors(rows(1)))
            super().__init__(url, settings, **more, transport=httpx.MockTransport(server))
            self.encode_queries(["q"])
            assert server.asked[0].headers["Authorization"] == f"Bearer {TOKEN}"
            made.append(self)

    monkeypatch.setattr("vrag.encoders.remote.RemoteEncoder", Recorded)
    load_encoder(URL + "/", parallel=3)
    assert made[0].settings == RemoteSettings(parallel=3)


@pytest.mark.parametrize("token", ["two words", "two\nlines", "ü"])
def test_a_token_that_is_none_is_refused_and_not_shown(token: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("VRAG_ENCODER_TOKEN", token)
    with pytest.raises(UsageError, match="token") as refused:
        load_encoder(URL)
    assert token not in str(refused.value)


def test_a_setting_that_it_lacks_is_refused():
    with pytest.raises(ConfigError, match=r"batch_tokens: .*the settings are dtype, parallel, patience"):
        load_encoder(URL, batch_tokens=4)


@pytest.mark.parametrize("url", ["http://", "http://me:secret@x", "http://[::1"])
def test_what_is_no_url_of_a_server_is_refused(url: str):
    with pytest.raises(UsageError, match="an encoder server is like http") as refused:
        load_encoder(url)
    assert "secret" not in str(refused.value)


def test_the_extra_that_is_missing_is_named_and_no_model_library_is_loaded():
    command = (
        "import sys; sys.modules['{}'] = None\n"
        "from vrag.encoders.load import load_encoder\n"
        "try: load_encoder('http://127.0.0.1:9')\n"
        "except Exception as error: print(error, {{'torch', 'transformers'}} & sys.modules.keys())\n"
    )
    for package in ("httpx", "safetensors"):
        ended = subprocess.run([sys.executable, "-c", command.format(package)], capture_output=True, text=True)
        assert ended.stdout == f"an encoder server needs {package}: pip install 'vrag[remote]' set()\n", ended.stderr
