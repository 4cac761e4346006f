"""The agent server as its clients see it: over a real socket."""

from __future__ import annotations

import asyncio
import errno
import io
import shutil
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import pytest
from PIL import Image
from reportlab.lib.pagesizes import A5
from reportlab.pdfbase.pdfmetrics import stringWidth

from tests.agents import plays
from tests.asking import MANUAL, agent_serving, ask, make_corpus, scripted, served, until_indexed
from tests.chats import chat_server, fails, hangs
from tests.colours import COLOURS, ColourEncoder
from tests.offices import write_docx
from tests.papers import write_pdf
from tests.serving import Gate, Running, in_threads
from vrag.corpus.paths import uploads_folder
from vrag.corpus.store import Corpus
from vrag.corpus.writer import sole_writer
from vrag.embed import embed, make_index
from vrag.environment import EnvironmentConfig
from vrag.errors import InfrastructureError, UsageError
from vrag.index.vectors import EncoderName
from vrag.kernels import KernelChoice
from vrag.policies.scripted import ScriptedPolicy
from vrag.policies.speaker import Speaker, SpeakerOf
from vrag.servers.agent.asking import Asking
from vrag.servers.agent.limits import AgentLimits
from vrag.servers.agent.playing import Question
from vrag.servers.agent.shelf import Shelf
from vrag.servers.agent.uploads import Received, receive
from vrag.servers.engine import Engine
from vrag.servers.metrics import Metrics
from vrag.servers.serial import Encoders
from vrag.types import Request, Sample

QUESTION = "Which port does the daemon listen on?"


@pytest.fixture(scope="module")
def manual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus that no test changes."""
    return make_corpus(tmp_path_factory.mktemp("made") / "notes")


@pytest.fixture(scope="module")
def server(manual: Path) -> Generator[Running]:
    with agent_serving(chosen={"notes": manual}) as running:
        yield running


@pytest.fixture
def notes(manual: Path, vrag_home: Path) -> Path:
    """The same, in the home of the test."""
    return Path(shutil.copytree(manual, vrag_home / "corpora" / "notes"))


@pytest.fixture
def writing(notes: Path) -> Generator[Running]:
    with agent_serving() as running:
        yield running


def asking(manual: Path, policies: dict[str, SpeakerOf], **more: Any) -> AbstractContextManager[Running]:
    return agent_serving(chosen={"notes": manual}, policies=policies, **more)


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


def pdf(path: Path, *lines: str) -> bytes:
    return write_pdf(path, list(lines)).read_bytes()


def upload(server: Running, *files: tuple[str, bytes], corpus: str = "notes", **query: Any) -> Any:
    parts = [("files", (name, content, "application/pdf")) for name, content in files]
    return server.client.post(f"/v1/corpora/{corpus}/documents", files=parts, params=query)


# ------------------------------------------------------------------------------------------ questions


def test_each_step_is_an_event_and_the_last_ones_are_the_answer_with_its_place_the_cost_and_the_end(server: Running):
    events = ask(server, QUESTION)
    assert kinds(events) == [
        *("start", "step", "thought", "query", "found", "page"),
        *("step", "thought", "box", "crop", "step", "thought", "answer", "usage", "stop"),
    ]
    by_type = {event["type"]: event for event in events}
    assert by_type["start"] | {"id": ""} == {
        "type": "start", "id": "", "corpus": "notes", "policy": "extractive", "question": QUESTION,
    }  # fmt: skip
    assert by_type["page"]["page"]["document"] == "manual.pdf" and by_type["page"]["page"]["page"] == 2
    assert by_type["page"]["score"] == by_type["found"]["hits"][0]["score"]
    evidence = by_type["answer"]["evidence"]
    assert "873" in by_type["answer"]["text"] and evidence["page"] == 2
    assert evidence["box"] == by_type["crop"]["box"] and 0 < evidence["box"]["y1"] < evidence["box"]["y2"] < 1
    assert evidence["pixels"]["x2"] == pytest.approx(evidence["box"]["x2"] * evidence["width"])
    assert by_type["stop"] == {"type": "stop", "reason": "answer", "steps": 3, "seconds": by_type["stop"]["seconds"]}


def test_the_crop_of_the_evidence_is_the_part_of_the_page_that_was_looked_at(server: Running):
    (evidence,) = [event["evidence"] for event in ask(server, QUESTION) if event["type"] == "answer"]
    part = Image.open(io.BytesIO(server.client.get(evidence["crop"]).content))
    pixels = evidence["pixels"]
    assert part.size == (pixels["x2"] - pixels["x1"], pixels["y2"] - pixels["y1"])
    page = Image.open(io.BytesIO(server.client.get(evidence["image"]).content))
    assert page.size == (evidence["width"], evidence["height"])
    small = Image.open(io.BytesIO(server.client.get(evidence["image"], params={"width": 100}).content))
    assert small.width == 100 and abs(small.height - 100 * page.height / page.width) <= 1


def test_an_action_that_is_none_is_an_event_and_so_is_what_finds_nothing(manual: Path):
    script = scripted("<bbox>[1, 2]</bbox>", "<search>zebra</search>", "<answer>none</answer>")
    with asking(manual, {"scripted": script}) as server:
        events = ask(server, "Is there a zebra?")
    (invalid,) = [event for event in events if event["type"] == "invalid"]
    assert invalid["step"] == 1 and "four numbers" in invalid["reason"] and invalid["text"] == "<bbox>[1, 2]</bbox>"
    (told,) = [event for event in events if event["type"] == "message"]
    assert told["step"] == 2 and "No page matches" in told["text"]
    (answer,) = [event for event in events if event["type"] == "answer"]
    assert answer["text"] == "none" and answer["evidence"] is None


@pytest.mark.parametrize(("said", "found"), [("Not found", False), ("Not answerable.", False), ("found in 873", True)])
def test_an_answer_that_there_is_none_has_no_evidence(manual: Path, said: str, found: bool):
    script = scripted("<search>port</search>", "<bbox>[1, 1, 90, 90]</bbox>", f"<answer>{said}</answer>")
    with asking(manual, {"scripted": script}) as server:
        (answer,) = [event for event in ask(server, QUESTION) if event["type"] == "answer"]
    assert answer["found"] is found and (answer["evidence"] is not None) is found


def test_an_answer_comes_without_its_place_when_its_document_is_removed_meanwhile(notes: Path, tmp_path: Path):
    def remove() -> None:
        (document,) = [one for one in server.client.get("/v1/corpora/notes").json()["documents"] if one["uploaded"]]
        assert server.client.delete(f"/v1/corpora/notes/documents/{document['id']}").status_code == 202
        until_indexed(server, runs=2)

    class Removes(ScriptedPolicy):
        async def generate(self, request: Request) -> Sample:
            sample = await super().generate(request)
            if sample.text.startswith("<answer>"):
                await asyncio.to_thread(remove)
            return sample

    policy = Removes(["<search>zebras</search>", "<answer>zebras</answer>"])
    with agent_serving(
        policies={"scripted": lambda _: Speaker("scripted", policy, None, EnvironmentConfig())}
    ) as server:
        upload(server, ("zebra.pdf", pdf(tmp_path / "a.pdf", "zebras sleep")))
        until_indexed(server)
        events = ask(server, "What sleeps?")
    assert kinds(events)[-3:] == ["answer", "usage", "stop"] and "page" in kinds(events)
    assert events[-3] == {"type": "answer", "text": "zebras", "evidence": None, "found": True}


def test_an_episode_that_spends_its_turns_ends_without_an_answer(server: Running):
    events = ask(server, QUESTION, max_turns=1)
    assert "answer" not in kinds(events) and events[-1]["reason"] == "turns"


def test_a_served_model_answers_and_its_tokens_are_counted(manual: Path):
    with (
        chat_server(plays({"port": "873"})) as model,
        asking(manual, {"vlm": served(model.url)}) as server,
    ):
        events = ask(server, QUESTION)
    assert [event["text"] for event in events if event["type"] == "answer"] == ["873"]
    (usage,) = [event for event in events if event["type"] == "usage"]
    assert usage == {"type": "usage", "calls": 3, "prompt_tokens": 300, "completion_tokens": 21, "cost": None}


def test_a_model_server_that_fails_is_an_error_and_no_answer(manual: Path, caplog: pytest.LogCaptureFixture):
    with (
        chat_server(fails(400)) as model,
        asking(manual, {"vlm": served(model.url)}) as server,
    ):
        events = ask(server, QUESTION)
        assert server.metric("vrag_episodes_total") == 1 and server.metric("vrag_episodes_admitted") == 0
    assert kinds(events) == ["start", "step", "error", "usage", "stop"]
    assert events[2]["code"] == "infrastructure" and events[-1]["reason"] == "error"
    assert model.url not in str(events) and model.url in caplog.text


def test_a_bug_in_a_policy_is_an_error_of_one_question(manual: Path, caplog: pytest.LogCaptureFixture):
    with asking(manual, {"scripted": scripted("<search>port</search>")}) as server:
        for _ in range(2):
            events = ask(server, QUESTION)  # the script ends too early
            assert kinds(events)[-2:] == ["error", "stop"] and events[-2]["code"] == "internal"
        assert server.client.get("/health").json()["episodes"] == 0
    assert "add a turn" in caplog.text


def test_a_question_takes_its_time_and_no_more(manual: Path):
    limits = AgentLimits(episode_seconds=0.2)
    with chat_server(hangs) as model, asking(manual, {"vlm": served(model.url)}, limits=limits) as server:
        events = ask(server, QUESTION)
    assert events[-2]["code"] == "timeout" and events[-1]["reason"] == "error"


def test_the_policy_is_chosen_by_name(manual: Path):
    policies = {"one": scripted("<answer>1</answer>"), "two": scripted("<answer>2</answer>")}
    with asking(manual, policies) as server:
        answers = [ask(server, QUESTION, **more) for more in ({}, {"policy": "two"})]
        refused = server.client.post("/v1/corpora/notes/ask", json={"question": QUESTION, "policy": "three"})
    assert [events[-3]["text"] for events in answers] == ["1", "2"]
    assert refused.status_code == 422 and "one, two" in refused.json()["detail"]


@pytest.mark.parametrize(
    "asked",
    [{}, {"question": " "}, {"question": "x" * 8193}, {"question": "x", "max_turns": 0}, {"question": "x", "a": 1}],
)
def test_a_question_that_is_none_is_422(server: Running, asked: dict[str, Any]):
    assert server.client.post("/v1/corpora/notes/ask", json=asked).status_code == 422


# -------------------------------------------------------------------------------------------- corpora


def test_corpora_are_listed_made_and_described(writing: Running):
    server = writing
    assert server.client.get("/v1/corpora").json() == {"corpora": ["notes"]}
    assert server.client.post("/v1/corpora", json={"name": "new"}).status_code == 201
    assert server.client.post("/v1/corpora", json={"name": "new"}).status_code == 409
    assert server.client.post("/v1/corpora", json={"name": "../new"}).status_code == 422
    assert server.client.get("/v1/corpora").json() == {"corpora": ["new", "notes"]}
    found = server.client.get("/v1/corpora/notes").json()
    assert (found["pages"], found["search"], found["document_count"]) == (2, "text", 1)
    (document,) = found["documents"]
    assert (document["name"], document["pages"], document["uploaded"]) == ("manual.pdf", 2, False)
    assert server.client.get("/v1/corpora/notes?offset=1").json()["documents"] == []


def test_a_corpus_that_isnt_there_is_404_for_all_that_asks_it(server: Running):
    paths = ["", "/search?q=a", f"/pages/{'0' * 24}/1", f"/pages/{'0' * 24}/1/text"]
    assert {server.client.get(f"/v1/corpora/nothing{path}").status_code for path in paths} == {404}
    assert server.client.post("/v1/corpora/nothing/ask", json={"question": "a"}).status_code == 404
    assert upload(server, ("a.pdf", b"%PDF-"), corpus="nothing").status_code == 404


def test_a_corpus_name_that_no_file_system_can_hold_is_none(writing: Running):
    long, short = "文" * 100, "文" * 66
    refused = writing.client.post("/v1/corpora", json={"name": long})
    assert refused.status_code == 422 and "of other alphabets fewer" in refused.json()["detail"]
    assert writing.client.get(f"/v1/corpora/{long}").status_code == 404
    assert writing.client.get(f"/v1/corpora/{long}/search?q=a").status_code == 404
    assert writing.client.post("/v1/corpora", json={"name": short}).status_code == 201
    assert writing.client.get(f"/v1/corpora/{short}").status_code == 200


def test_only_the_chosen_corpora_are_served_and_a_path_goes_by_its_last_part(notes: Path):
    shutil.copytree(notes, notes.with_name("secret"))
    with agent_serving(chosen={"mine": notes}) as server:
        assert server.client.get("/v1/corpora").json() == {"corpora": ["mine"]}
        assert server.client.get("/v1/corpora/secret").status_code == 404
        assert "873" in ask(server, QUESTION, corpus="mine")[-3]["text"]
        assert server.client.post("/v1/corpora", json={"name": "new"}).status_code == 422


def held_up(name: str) -> tuple[Callable[[Path], Engine], threading.Event, threading.Event, list[str]]:
    """What opens corpora, the one of that name not before the second event; the first says that it has begun."""
    begun, go, opened = threading.Event(), threading.Event(), list[str]()

    def open_engine(folder: Path) -> Engine:
        if folder.name == name:
            begun.set()
            assert go.wait(30)
        opened.append(folder.name)
        return Engine(folder, kernel=KernelChoice("numpy"))

    return open_engine, begun, go, opened


def test_what_is_wrong_with_the_servers_setup_is_no_fault_of_a_request(
    notes: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def refuses(corpus: Corpus, *_: object) -> None:
        raise UsageError(f"corpus {corpus.folder} has no vectors")

    monkeypatch.setattr("vrag.servers.engine.open_ways", refuses)
    with agent_serving() as server:
        for path in ("", "/search?q=port"):
            answer = server.client.get(f"/v1/corpora/notes{path}")
            assert answer.status_code == 503 and str(notes) not in answer.text
        asked = server.client.post("/v1/corpora/notes/ask", json={"question": QUESTION})
        assert asked.status_code == 503 and str(notes) not in asked.text
    assert f"{notes} has no vectors" in caplog.text


def test_a_corpus_that_doesnt_open_holds_up_no_other_and_is_opened_once(notes: Path):
    for name in ("slow", "open"):
        shutil.copytree(notes, notes.with_name(name))
    open_engine, begun, go, opened = held_up("slow")

    async def ask() -> None:
        shelf = Shelf(open_engine, None)
        first = await shelf.engine("open")
        gone, waiting = (asyncio.create_task(shelf.engine("slow")) for _ in range(2))
        await asyncio.to_thread(begun.wait, 30)
        assert await asyncio.wait_for(shelf.engine("open"), 10) is first
        await asyncio.wait_for(shelf.engine("notes"), 10)
        gone.cancel()
        await asyncio.wait({gone})
        go.set()
        assert await waiting is await shelf.engine("slow")
        shelf.close()

    asyncio.run(ask())
    assert opened == ["open", "notes", "slow"]


def test_an_encoder_that_doesnt_load_holds_up_no_other(monkeypatch: pytest.MonkeyPatch):
    slow, fast = SimpleNamespace(fingerprint="slow"), SimpleNamespace(fingerprint="fast")
    begun, go = threading.Event(), threading.Event()

    def load(index: Any, name: Any) -> Any:
        if index is slow:
            begun.set()
            assert go.wait(30)
        return SimpleNamespace(dim=8, fingerprint=index.fingerprint)

    monkeypatch.setattr("vrag.servers.serial.index_encoder", load)
    encoders: Any = Encoders()
    with ThreadPoolExecutor(3) as pool:
        two = [pool.submit(encoders.of, slow) for _ in range(2)]
        assert begun.wait(30)
        assert pool.submit(encoders.of, fast).result(10).fingerprint == "fast"
        go.set()
        assert two[0].result(10) is two[1].result(10), "each is loaded once"


def test_a_corpus_that_a_question_waits_for_isnt_closed_to_make_room(notes: Path):
    for name in ("one", "two"):
        shutil.copytree(notes, notes.with_name(name))
    policies = {"scripted": scripted("<search>port</search>", "<answer>873</answer>")}

    async def ask() -> list[str]:
        shelf = Shelf(lambda folder: Engine(folder, kernel=KernelChoice("numpy")), None, keep=1)
        engine = await shelf.engine("notes")
        async with Asking(AgentLimits(episodes=1), Metrics(), policies) as asking:
            first, second = (asking.ask("notes", engine, "scripted", Question(QUESTION)) for _ in range(2))
            await shelf.engine("one")
            told = [event.type for asked in (first, second) async for event in asked.events()]
        assert await shelf.engine("notes") is engine
        await shelf.engine("two")
        assert engine.current.closed, "nothing waits for it any more"
        shelf.close()
        return told

    told = asyncio.run(ask())
    assert told.count("answer") == 2 and "error" not in told


def test_a_search_finds_pages_with_their_places(server: Running):
    one = server.client.get("/v1/corpora/notes/search", params={"q": "port", "k": 3}).json()["results"]
    many = server.client.post("/v1/corpora/notes/search", json={"queries": ["port", "zebra"]}).json()["results"]
    assert many == [one[0], []]
    (hit,) = one[0]
    assert (hit["document"], hit["page"]) == ("manual.pdf", 2)
    assert hit["image"] == f"/v1/corpora/notes/pages/{hit['document_id']}/2"
    text = server.client.get(f"{hit['image']}/text").json()
    assert text["text"].split("\n") == MANUAL[1] and text["text_source"] == "layer"
    assert (text["page"], text["pages"], text["found"]) == (2, 2, [])


def test_a_search_shows_the_words_that_it_found_in_snippets_and_on_the_page(server: Running):
    query = "which PORT is told, the zebra?"
    search = "/v1/corpora/notes/search"
    ((hit,),) = server.client.get(search, params={"q": query, "snippets": True, "k": 1}).json()["results"]
    assert hit["snippet"] == {
        "text": "The daemon listens on port 873 unless told otherwise",
        "found": ["port", "told"],
    }
    plain = server.client.post(search, json={"queries": [query], "k": 1}).json()["results"][0][0]
    assert plain == hit | {"snippet": None}
    page = server.client.get(f"{hit['image']}/text", params={"q": query}).json()
    assert [word["text"] for word in page["found"]] == ["port", "told"]
    (port, told) = (word["box"] for word in page["found"])
    assert 0 < port["x1"] < port["x2"] < 1 and port["y2"] < told["y1"] < told["y2"] < 1
    assert told["x1"] == pytest.approx((40 + stringWidth("unless ", "Helvetica", 12)) / A5[0], abs=0.01)
    many = {"queries": [query] * 101, "k": 10, "snippets": True}
    refused = server.client.post(search, json=many)
    assert refused.status_code == 422 and "snippets" in refused.json()["detail"]


@pytest.mark.parametrize(
    "query", ["box=0,0,1", "box=0,0,1,nan", "box=0.5,0,0.2,1", "box=0,0,2,1", "width=0", "width=99999"]
)
def test_a_picture_that_cant_be_is_422(server: Running, query: str):
    (document,) = server.client.get("/v1/corpora/notes").json()["documents"]
    assert server.client.get(f"/v1/corpora/notes/pages/{document['id']}/1?{query}").status_code == 422


def test_health_and_the_schema_tell_what_there_is(server: Running):
    health = server.client.get("/health").json()
    assert ".pdf" in health.pop("reads") and health == {
        "status": "ok", "corpora": 1, "policies": ["extractive"], "episodes": 0, "read_only": False, "creates": False,
    }  # fmt: skip
    schema = server.client.get("/openapi.json").json()
    answers = schema["paths"]["/v1/corpora/{name}/ask"]["post"]["responses"]["200"]["content"]
    assert len(answers["text/event-stream"]["schema"]["oneOf"]) == 15


# -------------------------------------------------------------------------------------------- uploads


def test_uploaded_documents_are_indexed_and_found_and_leave_when_they_are_removed(writing: Running, tmp_path: Path):
    server = writing
    outcome = upload(server, ("zebra.pdf", pdf(tmp_path / "a.pdf", "zebras sleep", "zebras run")))
    assert outcome.status_code == 202 and [one["accepted"] for one in outcome.json()["files"]] == [True]
    found = until_indexed(server)
    (document,) = [one for one in found["documents"] if one["name"] == "zebra.pdf"]
    assert found["pages"] == 4 and document["uploaded"] and document["stored"] == 2
    hits = server.client.get("/v1/corpora/notes/search?q=zebras").json()["results"][0]
    assert {hit["page"] for hit in hits} == {1, 2}
    removed = server.client.delete(f"/v1/corpora/notes/documents/{document['id']}")
    assert (removed.status_code, removed.json()) == (202, {"removed": ["zebra.pdf"]})
    assert until_indexed(server, runs=2)["pages"] == 2
    assert server.client.get("/v1/corpora/notes/search?q=zebras").json()["results"] == [[]]
    assert server.client.delete(f"/v1/corpora/notes/documents/{document['id']}").status_code == 404


def test_each_file_of_an_upload_has_its_own_outcome_and_a_bad_one_stops_no_other(writing: Running, tmp_path: Path):
    server = writing
    good = pdf(tmp_path / "a.pdf", "zebra")
    outcome = upload(
        server,
        ("good.pdf", good),
        ("text.pdf", b"hello"),
        ("empty.pdf", b""),
        ("a.exe", good),
        ("broken.pdf", b"%PDF-1.4"),
    )
    files = {one["name"]: one for one in outcome.json()["files"]}
    assert outcome.status_code == 202
    assert [name for name, one in files.items() if one["accepted"]] == ["good.pdf", "broken.pdf"]
    assert files["text.pdf"]["kind"] == "UnsupportedFormat" and files["empty.pdf"]["kind"] == "UnreadableDocument"
    found = until_indexed(server)
    assert [one["document"] for one in found["failures"]] == ["broken.pdf"] and found["pages"] == 3
    assert (found["document_count"], found["read_count"]) == (3, 2), "what couldn't be read isn't ready"
    reasons = {one["name"]: one["reason"] for one in found["documents"]}
    assert reasons == {"manual.pdf": None, "good.pdf": None, "broken.pdf": found["failures"][0]["reason"]}
    assert upload(server, ("a.txt", b"hello")).status_code == 422
    assert server.client.post("/v1/corpora/notes/documents", data={"a": "b"}).status_code in (400, 422)


def test_office_documents_wait_for_libreoffice_and_say_so(
    writing: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("vrag.corpus.conversion.find_soffice", lambda: None)
    monkeypatch.setattr("vrag.corpus.office.find_soffice", lambda: None)
    letter, page = write_docx(tmp_path / "a.docx", ["zebra"]).read_bytes(), b"<!doctype html><p>giraffe</p>"
    outcome = upload(writing, ("letter.docx", letter), ("page.html", page))
    assert [one["accepted"] for one in outcome.json()["files"]] == [True, True]
    found = until_indexed(writing)
    assert {one["document"] for one in found["failures"]} == {"letter.docx", "page.html"}
    assert all("install LibreOffice" in one["reason"] for one in found["failures"])
    assert "install LibreOffice" in next(one for one in found["documents"] if one["name"] == "page.html")["reason"]
    assert ".docx" not in writing.client.get("/health").json()["reads"]
    monkeypatch.setattr("vrag.corpus.office.find_soffice", lambda: "/usr/bin/soffice")
    assert {".docx", ".html", ".pdf"} <= set(writing.client.get("/health").json()["reads"])
    assert found["indexing"]["state"] == "idle"


def test_a_document_of_the_same_name_makes_room_only_when_told_to(writing: Running, tmp_path: Path):
    server = writing
    first, second = pdf(tmp_path / "a.pdf", "zebra"), pdf(tmp_path / "b.pdf", "giraffe")
    assert upload(server, ("a.pdf", first)).status_code == 202
    again = upload(server, ("a.pdf", first)).json()["files"][0]
    assert again["accepted"] and again["unchanged"]
    refused = upload(server, ("a.pdf", second))
    assert refused.status_code == 422 and refused.json()["files"][0]["kind"] == "Exists"
    assert upload(server, ("a.pdf", second), replace=True).status_code == 202
    server.until(lambda: server.client.get("/v1/corpora/notes/search?q=giraffe").json()["results"] != [[]])
    until_indexed(server)
    assert server.client.get("/v1/corpora/notes/search?q=zebra").json()["results"] == [[]]


@pytest.mark.parametrize("kind", ["Exists", None])
def test_of_two_uploads_of_one_name_at_the_same_moment_one_is_kept(
    notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str | None
):
    late = pdf(tmp_path / "a.pdf", "zebra")
    soon = pdf(tmp_path / "b.pdf", "giraffe") if kind else late
    first: list[Received] = []

    def meanwhile(folder: Path, part: Path) -> None:
        if not first:
            monkeypatch.undo()
            first.append(receive(notes, "a.pdf", io.BytesIO(soon), replace=False))

    monkeypatch.setattr("vrag.servers.agent.uploads._present", meanwhile)
    second = receive(notes, "a.pdf", io.BytesIO(late), replace=False)
    assert first[0].accepted and not first[0].unchanged
    assert (second.accepted, second.unchanged, second.kind) == (kind is None, kind is None, kind)
    assert [file.name for file in uploads_folder(notes).iterdir()] == ["a.pdf"]
    assert (uploads_folder(notes) / "a.pdf").read_bytes() == soon


def test_a_file_system_without_links_takes_uploads_too(
    writing: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refused(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("vrag.servers.agent.uploads.os.link", refused)
    first, other = pdf(tmp_path / "a.pdf", "zebra"), pdf(tmp_path / "b.pdf", "okapi")
    assert upload(writing, ("a.pdf", first)).json()["files"][0]["accepted"]
    assert upload(writing, ("a.pdf", other)).json()["files"][0]["kind"] == "Exists"
    assert until_indexed(writing)["pages"] == 3


def test_removing_a_document_spares_the_one_that_has_taken_its_name(notes: Path, tmp_path: Path):
    first, second = pdf(tmp_path / "a.pdf", "zebra"), pdf(tmp_path / "b.pdf", "giraffe")
    with agent_serving() as server:
        upload(server, ("a.pdf", first))
        (_, document) = until_indexed(server)["documents"]
        with sole_writer(notes):  # the second isn't indexed yet
            upload(server, ("a.pdf", second), replace=True)
            removed = server.client.delete(f"/v1/corpora/notes/documents/{document['id']}")
            assert (removed.status_code, removed.json()) == (202, {"removed": []})
            assert (uploads_folder(notes) / "a.pdf").read_bytes() == second


def test_a_document_that_is_here_already_isnt_kept_twice_and_is_named(
    writing: Running, notes: Path, manual: Path, tmp_path: Path
):
    content = (manual.parent / "documents" / "manual.pdf").read_bytes()
    (outcome,) = upload(writing, ("copy.pdf", content)).json()["files"]
    assert outcome["accepted"] and outcome["unchanged"] and outcome["document"] == "manual.pdf"
    (document,) = until_indexed(writing)["documents"]
    assert document["names"] == ["manual.pdf"] and not document["uploaded"]
    assert not (uploads_folder(notes) / "copy.pdf").exists()
    upload(writing, ("own.pdf", pdf(tmp_path / "a.pdf", "zebra")))
    until_indexed(writing, runs=2)
    (outcome,) = upload(writing, ("own.pdf", content), replace=True).json()["files"]
    assert not outcome["unchanged"] and outcome["document"] is None, "what it replaces has to go"


def test_what_a_folder_of_the_server_holds_as_well_isnt_removed(notes: Path, manual: Path):
    content = (manual.parent / "documents" / "manual.pdf").read_bytes()
    uploads_folder(notes).mkdir()
    (uploads_folder(notes) / "copy.pdf").write_bytes(content)  # before the folder was indexed
    with agent_serving() as server:
        (document,) = until_indexed(server)["documents"]
        assert set(document["names"]) == {"manual.pdf", "copy.pdf"} and not document["uploaded"]
        assert server.client.delete(f"/v1/corpora/notes/documents/{document['id']}").status_code == 409
        assert (uploads_folder(notes) / "copy.pdf").is_file()


def test_corpora_are_made_only_where_the_server_says_so(manual: Path):
    with agent_serving() as home:
        assert home.client.get("/health").json()["creates"]
        assert home.client.post("/v1/corpora", json={"name": "new"}).status_code == 201
    for more in ({"chosen": {"notes": manual}}, {"read_only": True}):
        with agent_serving(**more) as server:
            assert not server.client.get("/health").json()["creates"]
            assert server.client.post("/v1/corpora", json={"name": "more"}).status_code in (403, 422)


def test_a_document_of_the_servers_own_folders_isnt_removed(server: Running, manual: Path):
    (document,) = server.client.get("/v1/corpora/notes").json()["documents"]
    refused = server.client.delete(f"/v1/corpora/notes/documents/{document['id']}")
    assert refused.status_code == 409 and "vrag index" in refused.json()["detail"]
    assert (manual.parent / "documents" / "manual.pdf").is_file()


def test_a_question_without_its_content_type_is_told_what_is_missing(notes: Path):
    with agent_serving() as server:
        refused = server.client.post("/v1/corpora/notes/ask", content=b'{"question": "hi"}')
        assert refused.status_code == 422 and "Content-Type: application/json" in refused.json()["detail"]


def test_an_upload_that_cant_be_written_is_logged_with_what_to_do(notes: Path, caplog: pytest.LogCaptureFixture):
    with agent_serving() as server:
        uploads_folder(notes).write_bytes(b"in the way")
        answer = server.client.post("/v1/corpora/notes/documents", files=[("files", ("a.pdf", b"%PDF-1.4"))])
        assert answer.status_code == 503, answer.text
    assert "let the server write there and upload again" in caplog.text


def test_a_file_that_cant_be_written_stops_none_of_the_others(
    notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    real = shutil.copyfileobj

    def copy(source: BinaryIO, target: Any, size: int) -> None:
        if b"%full" in source.read():
            raise OSError(errno.ENOSPC, "No space left on device")
        source.seek(0)
        real(source, target, size)

    monkeypatch.setattr("vrag.servers.agent.uploads.shutil.copyfileobj", copy)
    good, full = pdf(tmp_path / "a.pdf", "zebra"), b"%PDF-1.4 %full"
    with agent_serving() as server:
        assert upload(server, ("full.pdf", full)).status_code == 503
        outcome = upload(server, ("full.pdf", full), ("good.pdf", good), ("more.pdf", full))
        files = outcome.json()["files"]
        assert outcome.status_code == 202 and [one["accepted"] for one in files] == [False, True, False]
        assert files[0]["kind"] == "CorpusError" and str(notes) not in outcome.text
        assert until_indexed(server)["pages"] == 3
    assert "free some space there" in caplog.text


def test_what_a_get_cant_have_is_said_at_once(notes: Path):
    with agent_serving() as server:
        refused = server.client.get("/v1/corpora/notes/search?q=red&by=visual", timeout=10)
        assert refused.status_code == 422 and "no search by 'visual' here" in refused.json()["detail"]
        assert server.client.get("/v1/corpora/notes/pages/none", timeout=10).status_code == 404


def encode(folder: Path) -> None:
    """Give the corpus vectors of colours."""
    with Corpus.open(folder) as corpus:
        index = make_index(corpus, ColourEncoder(), EncoderName(name="tests.colours:ColourEncoder"))
        embed(corpus, ColourEncoder(), index)
        index.close()


def test_an_encoder_that_hangs_holds_up_no_search_by_text(notes: Path, monkeypatch: pytest.MonkeyPatch):
    shutil.copytree(notes, notes.with_name("plain"))
    encode(notes)
    gate = Gate(monkeypatch, ColourEncoder, "encode_queries")
    with agent_serving() as server:
        found = server.client.get("/v1/corpora/plain/search?q=port").json()["results"]

        def search(_: int) -> int:
            return server.client.get("/v1/corpora/notes/search?q=red").status_code

        hung = in_threads(1, search)
        server.until(gate.begun.is_set)
        hung += in_threads(3, search)  # in another batch
        server.until(lambda: server.metric("vrag_admitted_queries") == 4)
        for path in ("plain/search?q=port", "notes/search?q=port&by=text"):
            answer = server.client.get(f"/v1/corpora/{path}", timeout=10)
            assert len(answer.json()["results"][0]) == len(found[0]) == 1
        gate.open()
        assert [one.result(30) for one in hung] == [200] * 4


def test_new_pages_of_a_corpus_with_vectors_get_vectors(notes: Path):
    encode(notes)
    picture = io.BytesIO()
    Image.new("RGB", (200, 200), COLOURS["red"]).save(picture, "PNG")
    with agent_serving() as server:
        upload(server, ("red.png", picture.getvalue()))
        until_indexed(server)
        hits = server.client.get("/v1/corpora/notes/search?q=red&by=visual&k=1").json()["results"][0]
        assert [hit["document"] for hit in hits] == ["red.png"]


@pytest.mark.parametrize("opened", [True, False])
def test_what_comes_while_the_encoder_is_away_is_found_by_its_text_and_encoded_later(
    notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, opened: bool
):
    encode(notes)
    monkeypatch.setattr("vrag.servers.agent.indexing.AGAIN", 0.02)

    def away(*_: object) -> Any:
        raise InfrastructureError("encoder server http://10.0.0.9: answered 502")

    with agent_serving() as server:
        if opened:
            assert server.client.get("/v1/corpora/notes").json()["search"] == "fused"
        with monkeypatch.context() as patched:
            patched.setattr(ColourEncoder, "encode_pages", away)
            patched.setattr("vrag.servers.serial.index_encoder", away)
            upload(server, ("a.pdf", pdf(tmp_path / "a.pdf", "zebra")))
            server.until(lambda: "again in 0.08 s: encoder server http://10.0.0.9" in caplog.text)
            server.until(lambda: "the encoder" in str(server.service.indexer.state("notes").reason))
            with Corpus.open(notes) as corpus:
                assert [hit.ref.document for hit in corpus.search("zebra", 5)] == ["a.pdf"]
        found = until_indexed(server)
        assert found["indexing"]["state"] == "idle" and found["pages"] == 3
        hits = server.client.get("/v1/corpora/notes/search?q=red&by=visual").json()["results"][0]
        assert {hit["document"] for hit in hits} == {"manual.pdf", "a.pdf"}


def test_what_an_ended_server_left_is_indexed_by_the_next(notes: Path, tmp_path: Path):
    write_pdf(uploads_folder(notes) / "late.pdf", ["zebra"])
    with agent_serving() as server:
        assert until_indexed(server)["pages"] == 3


def test_a_corpus_that_another_process_indexes_waits(notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("vrag.servers.agent.indexing.AGAIN", 0.05)
    with agent_serving() as server:
        with sole_writer(notes):
            upload(server, ("a.pdf", pdf(tmp_path / "a.pdf", "zebra")))
            server.until(lambda: "another process" in str(server.client.get("/v1/corpora/notes").json()["indexing"]))
        assert until_indexed(server)["pages"] == 3


def test_a_server_that_only_reads_changes_nothing(notes: Path, tmp_path: Path):
    with agent_serving(read_only=True) as server:
        (document,) = server.client.get("/v1/corpora/notes").json()["documents"]
        assert upload(server, ("a.pdf", pdf(tmp_path / "a.pdf", "zebra"))).status_code == 403
        assert server.client.post("/v1/corpora", json={"name": "new"}).status_code == 403
        assert server.client.delete(f"/v1/corpora/notes/documents/{document['id']}").status_code == 403
    assert not uploads_folder(notes).exists()
