"""The app as a person uses it, in headless Chromium; skipped where there is none."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from tests.asking import MANUAL, app_serving, make_corpus, scripted, served, until_indexed
from tests.browser import Page, chromium
from tests.chats import chat_server, hangs
from tests.fabricated import GOLD, answer_turn, episode, make_task
from tests.papers import write_pdf
from tests.traces import make_trace
from vrag.app.training_report import write_training_report
from vrag.corpus.paths import uploads_folder
from vrag.corpus.store import Corpus, Document
from vrag.corpus.writer import sole_writer
from vrag.errors import DataError
from vrag.runs import RunDir
from vrag.servers.agent.pictures import picture
from vrag.servers.agent.runs import RunInfo, Runs
from vrag.training.samples import KeptEpisode
from vrag.types import Evidence, PageRef

QUESTION = "Which port does the daemon listen on?"
MARKUP = "<img src=x onerror=\"document.title='pwned'\"><b>bold</b>"
NAME = "<img src=x onerror=alert(1)>.pdf"
TOKEN = "canary-d41d8cd98f00b204"
NO_SERVER = ("blob:", "data:", "file:")
READY = "document.documentElement.dataset.ready === 'yes'"
DONE = "document.querySelector('#asked .outcome')"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Generator[Page]:
    with chromium(tmp_path_factory.mktemp("profile")) as opened:
        opened.look(1280, 900)
        yield opened


@pytest.fixture(autouse=True)
def quiet(page: Page) -> Generator[None]:
    """No test leaves an error in the console, an address of another server, or a policy that was broken."""
    page.open("about:blank")
    page.errors.clear()
    page.requests.clear()
    yield
    assert page.errors == []
    assert {urlsplit(url).hostname for url in page.requests if not url.startswith(NO_SERVER)} <= {"127.0.0.1"}


@pytest.fixture(scope="module")
def manual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("made") / "notes", {"manual.pdf": MANUAL, "notes.pdf": [MARKUP]})


def opened(page: Page, url: str) -> None:
    """Afresh: another address after # alone loads nothing."""
    page.open("about:blank")
    page.open(url)
    page.until(READY)


def heard(page: Page, condition: Callable[[], bool]) -> None:
    """Looks again whenever the browser has something to tell."""
    for _ in range(5000):
        if condition():
            return
        page.run("new Promise(requestAnimationFrame)")
    raise AssertionError("never came true")


def asked(page: Page, question: str) -> None:
    page.click("#question")
    page.write(question)
    page.press("Enter", 13, "\r")


def test_a_question_is_watched_answered_opened_at_its_box_and_kept(page: Page, manual: Path):
    with app_serving(chosen={"notes": manual}) as server:
        opened(page, server.url)
        asked(page, QUESTION)
        page.until(DONE)
        assert "873" in page.text("#asked .answer .text") and "manual.pdf, page 2" in page.text(".sources")
        steps = [page.text(f"#asked .turn:nth-child({step})") for step in (1, 2, 3)]
        assert "search" in steps[0] and "crop" in steps[1] and "answer" in steps[2]
        assert page.run("document.querySelectorAll('.turn:nth-child(1) .thumbs button').length") >= 1
        assert page.run("document.querySelectorAll('.turn:nth-child(1) .sheet .box.cut').length") == 1
        page.until("document.querySelector('.turn:nth-child(2) .part img').naturalWidth")
        assert page.text("#ask-status") == "answered"

        page.click(".citation")
        page.until("document.querySelector('#viewer').open && document.querySelector('.stage img').naturalWidth")
        box = page.run("document.querySelector('.stage .box').getBoundingClientRect().toJSON()")
        sheet = page.run("document.querySelector('.stage img').getBoundingClientRect().toJSON()")
        evidence = page.run(
            "JSON.parse(localStorage['vrag-history'])[0].events.find((e) => e.type === 'answer').evidence"
        )
        assert box["x"] - sheet["x"] == pytest.approx(evidence["box"]["x1"] * sheet["width"], abs=1.5)
        assert box["bottom"] - sheet["y"] == pytest.approx(evidence["box"]["y2"] * sheet["height"], abs=1.5)
        page.press("ArrowLeft", 37)
        page.until("document.querySelector('#viewer-title').textContent === 'manual.pdf, page 1 of 2'")
        assert page.run("document.querySelector('#viewer-previous').getAttribute('aria-disabled')") == "true"
        page.press("ArrowLeft", 37)
        page.until("document.querySelector('#viewer-status').textContent === 'No further page.'")
        page.press("t", 84, "t")
        page.until("document.querySelector('#viewer-words').textContent.includes('introduction to the daemon')")
        page.press("+", 187, "+")
        page.until("!document.querySelector('#viewer-stage').classList.contains('fit')")
        page.press("Escape", 27)
        page.until("!document.querySelector('#viewer').open")

        opened(page, server.url)
        page.click("#history-list a")
        page.until(DONE)
        assert "873" in page.text("#asked .answer .text") and "crop" in page.text("#asked .turn:nth-child(2)")


def test_a_deep_link_asks_at_once_and_a_reload_doesnt_ask_again(page: Page, manual: Path):
    with app_serving(chosen={"notes": manual}) as server:
        opened(page, f"{server.url}/#/ask?corpus=notes&q={quote(QUESTION)}")
        page.until(DONE)
        page.send("Page.reload")
        page.until(f"{READY} && {DONE}")
        assert "873" in page.text("#asked .answer .text")
        assert server.metric("vrag_episodes_total") == 1


def test_a_link_to_a_corpus_that_isnt_here_says_so_and_asks_no_other_one(page: Page, manual: Path):
    with app_serving(chosen={"notes": manual}) as server:
        opened(page, f"{server.url}/#/ask?corpus=gone&q={quote(QUESTION)}")
        page.until("document.querySelector('#alert').textContent.includes('no corpus “gone”')")
        page.click("[data-view=search]")
        page.until("!document.querySelector('#view-search').hidden")
        assert server.metric("vrag_episodes_total") == 0


def test_stopping_ends_the_episode_on_the_server(page: Page, manual: Path):
    with (
        chat_server(hangs) as model,
        app_serving(chosen={"notes": manual}, policies={"v": served(model.url)}) as server,
    ):
        opened(page, server.url)
        asked(page, QUESTION)
        page.until("document.querySelector('#asked .turn')")
        assert server.metric("vrag_episodes_admitted") == 1
        page.click("#stop-button")
        page.until(DONE)
        server.until(lambda: server.metric("vrag_episodes_admitted") == 0)
        assert "stopped by you" in page.text("#asked") and "No answer" in page.text("#asked .answer")
        assert page.run("!document.querySelector('#ask-button').hidden")


def test_documents_are_added_searched_and_removed_and_one_that_cant_be_read_says_why(
    page: Page, vrag_home: Path, tmp_path: Path
):
    paper, broken = write_pdf(tmp_path / "amber.pdf", ["amber", "basalt"]), tmp_path / "broken.pdf"
    broken.write_bytes(paper.read_bytes()[:200])
    note = tmp_path / "note.txt"
    note.write_text("hello")
    with app_serving() as server:
        opened(page, f"{server.url}/#/documents")
        page.choose("#files", [paper, broken, note])
        page.until("document.querySelector('#documents tbody').innerText.includes('amber.pdf')")
        page.until("document.querySelectorAll('#uploads .bad').length === 1")
        assert "doesn't end in" in page.text("#uploads")
        page.until("document.querySelector('#indexing').hidden && !document.querySelector('#failures').hidden")
        assert (
            "broken.pdf" in page.text("#failure-list")
            and page.text("#documents-title") == "1 of 2 documents read, 2 pages"
        )
        page.until("document.querySelectorAll('#documents .bad').length === 1")
        assert "couldn’t be read: " in page.text("#documents tbody tr:has(.bad)")
        page.errors.clear()  # the console notes the 422 of note.txt

        page.click('[data-view="ask"]')
        page.until("document.querySelector('#ask-empty').innerText.includes('2 pages of 1 document are ready')")
        assert "1 document couldn’t be read" in page.text("#ask-empty")

        page.click('[data-view="search"]')
        page.until("document.activeElement.id === 'query'")
        page.write("basalt")
        page.press("Enter", 13, "\r")
        # its text content: what isn't painted yet has no inner text
        page.until("document.querySelector('#search-results li')?.textContent.includes('amber.pdf')")
        assert "page 2" in page.run("document.querySelector('#search-results').textContent")
        assert page.run("document.querySelector('#search-results .snippet mark').textContent") == "basalt"
        page.until("document.querySelector('#search-results img').naturalWidth")

        page.click('[data-view="documents"]')
        page.until("document.querySelector('#documents tbody button')?.offsetParent")
        button = "#documents tbody tr:first-child td button"
        page.click(button)
        page.until(f"document.querySelector({button!r}).textContent === 'Really?'")
        page.click(button)
        page.until("!document.querySelector('#documents tbody').innerText.includes('amber.pdf')")
        server.until(lambda: not (vrag_home / "corpora" / "documents" / "uploads" / "amber.pdf").exists())


def test_the_words_that_were_searched_for_are_marked_on_the_page_and_in_its_text(page: Page, manual: Path):
    with app_serving(chosen={"notes": manual}) as server:
        opened(page, f"{server.url}/#/search?corpus=notes&q=daemon+port")
        page.until("document.querySelector('#search-results img')?.naturalWidth")  # nothing moves any more
        page.click("#search-results button")
        page.until("document.querySelectorAll('.stage .box.word').length === 2")
        page.until("document.querySelector('.stage img').naturalWidth")
        (hit,) = server.client.get("/v1/corpora/notes/search?q=daemon+port&k=1").json()["results"][0]
        words = server.client.get(f"{hit['image']}/text?q=daemon+port").json()["found"]
        sheet = page.run("document.querySelector('.stage img').getBoundingClientRect().toJSON()")
        boxes = page.run(
            "[...document.querySelectorAll('.box.word')].map((one) => one.getBoundingClientRect().toJSON())"
        )
        for box, word in zip(boxes, words, strict=True):
            assert box["x"] - sheet["x"] == pytest.approx(word["box"]["x1"] * sheet["width"], abs=1.5)
            assert box["bottom"] - sheet["y"] == pytest.approx(word["box"]["y2"] * sheet["height"], abs=1.5)
        page.press("t", 84, "t")
        page.until("document.querySelectorAll('#viewer-words mark').length === 2")
        page.press("ArrowLeft", 37)  # the other page has one of the words, too
        page.until("document.querySelectorAll('.stage .box.word').length === 1")


def test_a_score_of_next_to_nothing_isnt_said_to_be_none(page: Page, manual: Path):
    with app_serving(chosen={"notes": manual}) as server:
        opened(page, f"{server.url}/#/search?corpus=notes&q=daemon")  # which most pages have
        page.until("document.querySelector('#search-results .about')")
        assert "· < 0.01" in page.run("document.querySelector('#search-results .about').textContent")


def test_pages_that_were_found_are_those_of_the_corpus_that_is_shown(page: Page, manual: Path, tmp_path: Path):
    other = make_corpus(tmp_path / "other", {"other.pdf": [["Another daemon"]]})
    with app_serving(chosen={"notes": manual, "other": other}) as server:

        def found(name: str) -> str:
            return f"document.querySelector('#search-results')?.textContent.includes('{name}')"

        opened(page, f"{server.url}/#/search?corpus=notes&q=daemon")
        page.until(found("manual.pdf"))
        page.run("location.hash = '#/search?corpus=other&q=daemon'")
        page.until(found("other.pdf"))
        assert not page.run(found("manual.pdf"))
        searches = [url for url in page.requests if "/search?" in url]
        page.run("location.hash = '#/search?corpus=other&q=daemon&by=text'")
        heard(page, lambda: len([url for url in page.requests if "/search?" in url]) > len(searches))
        page.until(found("other.pdf"))
        page.run("document.querySelector('#corpus').value = 'notes'")
        page.run("document.querySelector('#corpus').dispatchEvent(new Event('change'))")
        page.until("!document.querySelector('#search-results').textContent")
        assert page.text("#search-status") == ""


@pytest.mark.parametrize("token", [None, TOKEN])
def test_an_image_that_is_scrolled_past_before_it_came_isnt_waited_for(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str | None
):
    wall = {f"{number:02}.pdf": [f"brick {number}"] for number in range(30)}
    corpus, come = make_corpus(tmp_path / "wall", wall), threading.Event()

    def late(*given: Any) -> bytes:
        assert come.wait(60)
        return picture(*given)

    monkeypatch.setattr("vrag.servers.agent.pages.picture", late)
    first, last = (f"[...document.querySelectorAll('#search-results img')].at({at})" for at in (0, -1))
    with app_serving(chosen={"wall": corpus}, token=token) as server:
        page.open(server.url)
        if token:
            page.until("document.querySelector('#token-dialog').open")
            page.write(token)
            page.press("Enter", 13, "\r")
        page.until(READY)
        page.errors.clear()  # the console notes the 401
        try:
            page.run("location.hash = '#/search?corpus=wall&q=brick'; 0")
            page.until(f"{last} && {last} !== {first}")
            upper, lower = (server.url + page.run(f"{image}.dataset.path") for image in (first, last))
            heard(page, lambda: upper in page.requests)
            height = page.run(f"{first}.getBoundingClientRect().height")
            assert lower not in page.requests
            page.run("scrollTo({ top: 1e6, behavior: 'instant' })")
            heard(page, lambda: lower in page.requests and upper in page.cancelled)
        finally:
            come.set()
        page.until(f"{last}.naturalWidth")
        page.run("scrollTo({ top: 0, behavior: 'instant' })")
        page.until(f"{first}.naturalWidth")
        assert page.run(f"{first}.getBoundingClientRect().height") == height, "nothing moves when an image comes"


def test_only_what_the_server_takes_is_offered_and_a_complaint_goes_away(
    page: Page, vrag_home: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("vrag.corpus.office.find_soffice", lambda: None)
    notes = make_corpus(vrag_home / "corpora" / "notes")
    with app_serving(chosen={"notes": notes}) as server:
        opened(page, f"{server.url}/#/documents")
        assert page.run("document.querySelector('#new-corpus').hidden")
        assert ".docx" not in page.run("document.querySelector('#files').accept")
        assert page.text("#kinds") == "PDF, PNG, JPEG, TIFF, WebP"
    monkeypatch.setattr("vrag.corpus.office.find_soffice", lambda: "/usr/bin/soffice")
    with app_serving() as server:
        opened(page, f"{server.url}/#/documents")
        assert {".pdf", ".docx", ".html"} <= set(page.run("document.querySelector('#files').accept").split(","))
        assert "Word, PowerPoint, Excel" in page.text("#kinds")
        for away in ("#alert-close", '[data-view="search"]'):
            page.click("#new-name")
            page.write("notes")
            page.press("Enter", 13, "\r")
            page.until("document.querySelector('#alert').innerText.includes('a corpus of this name')")
            page.click(away)
            page.until("document.querySelector('#alert').hidden")
            page.run("document.querySelector('#new-name').value = ''")
        page.errors.clear()  # the console notes the refusals


def test_all_documents_are_listed_and_filtered_however_many_there_are(
    page: Page, manual: Path, monkeypatch: pytest.MonkeyPatch
):
    def documents(_: Corpus) -> list[Document]:
        names = [f"{number:04}.pdf" for number in range(2500)]
        return [
            Document(id=f"{n:024}", name=name, names=[name], kind="pdf", pages=1, stored=1)
            for n, name in enumerate(names)
        ]

    monkeypatch.setattr(Corpus, "documents", documents)
    rows = "document.querySelectorAll('#documents tbody tr').length"
    with app_serving(chosen={"notes": manual}) as server:
        opened(page, f"{server.url}/#/documents")
        page.until(f"{rows} === 100")
        page.click("#document-filter")
        page.write("2499")
        page.until(f"{rows} === 1 && document.querySelector('#documents tbody').textContent.includes('2499.pdf')")
        page.run("document.querySelector('#document-filter').value = ''")
        page.run("document.querySelector('#document-filter').dispatchEvent(new Event('input'))")
        page.until(f"{rows} === 100")
        for count in (300, 900, 2500):
            page.click("#documents-more")
            page.until(f"{rows} === {count}")
        assert page.run("document.querySelector('#documents-more').hidden")


def test_a_file_that_is_here_already_is_named_and_its_row_stays_the_folders(page: Page, vrag_home: Path):
    notes = make_corpus(vrag_home / "corpora" / "notes", {"manuals/port.pdf": MANUAL})
    paper = notes.parent / "documents" / "manuals" / "port.pdf"
    with app_serving() as server:
        opened(page, f"{server.url}/#/documents")
        page.choose("#files", [paper])
        page.until("document.querySelector('#uploads').innerText.includes('already here as manuals/port.pdf')")
        until_indexed(server)
        page.until("document.querySelector('#documents tbody tr')")
        assert page.text("#documents tbody") == "manuals/port.pdf\t2\t"
        opened(page, f"{server.url}/#/search?q=port")
        page.until("document.querySelector('#search-results li')")
        assert page.run("document.querySelector('#search-results .name').textContent") == "1. port.pdf"
        assert "manuals" in page.run("document.querySelector('#search-results .about .soft').textContent")
        opened(page, server.url)
        asked(page, QUESTION)
        page.until(DONE)
        assert page.text(".thumbs button").startswith("1. port.pdf")
        assert "manuals/port.pdf" in page.run("document.querySelector('.thumbs button').title")


def test_what_wasnt_found_is_no_answer_and_says_that_documents_were_still_to_come(
    page: Page, vrag_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("vrag.servers.agent.indexing.AGAIN", 0.05)
    late = write_pdf(tmp_path / "late.pdf", ["zebra"]).read_bytes()
    notes = make_corpus(vrag_home / "corpora" / "notes")
    script = scripted("<search>port</search>", "<bbox>[1, 1, 90, 90]</bbox>", "<answer>not found</answer>")
    with app_serving(policies={"scripted": script}) as server:
        opened(page, server.url)
        asked(page, "Is there a zebra?")
        page.until(f"{DONE} && !document.querySelector('#ask-button').hidden")
        assert page.run("document.querySelector('#asked .answer').className") == "answer none"
        assert page.run("document.querySelector('#asked .answer .part') === null"), "no box is evidence for it"
        assert page.text("#asked .sources").startswith("Looked at") and page.text(".outcome").startswith("not found")
        assert page.text("#ask-status") == "not found"
        assert page.run("document.querySelector('#asked .note') === null"), "all documents were read"
        with sole_writer(notes):
            server.client.post("/v1/corpora/notes/documents", files=[("files", ("late.pdf", late))])
            server.until(lambda: "another" in str(server.client.get("/v1/corpora/notes").json()["indexing"]))
            asked(page, "Is there a zebra now?")
            page.until("document.querySelector('#asked .note button')")
            assert "still being read when this was asked (" in page.text("#asked .note")
        page.until("document.querySelector('#indexing').hidden")
        page.click("#asked .note button")
        page.until("!document.querySelector('#ask-button').hidden && !document.querySelector('#asked .note')")
        assert page.run("document.querySelectorAll('#history-list li').length") == 3
        page.click("#history-list li:nth-child(2) a")
        page.until("document.querySelector('#asked .note button')")


@pytest.mark.parametrize("width", [390, 1280])
def test_a_long_question_is_cut_until_it_is_wanted_whole(page: Page, manual: Path, width: int):
    question = "Which of " + "variable history command option " * 30 + "is it?"
    with app_serving(chosen={"notes": manual}) as server:
        page.look(width, 844)
        try:
            opened(page, f"{server.url}/#/ask?corpus=notes&q={quote(question)}")
            page.until(f"{DONE} && !document.querySelector('#asked .more').hidden")
            tall = "document.querySelector('#asked h1').clientHeight"
            assert page.run(tall) < 120
            page.click("#asked .more")
            page.until(f"{tall} > 300 && document.querySelector('#asked .more').textContent === 'Show less'")
            opened(page, f"{server.url}/#/ask?corpus=notes&q={quote(QUESTION)}")
            page.until(DONE)
            assert page.run("document.querySelector('#asked .more').hidden")
        finally:
            page.look(1280, 900)


def test_buttons_of_documents_stay_whole_on_a_phone(page: Page, vrag_home: Path):
    notes = make_corpus(vrag_home / "corpora" / "notes", {f"{'long_name_' * 6}.pdf": MANUAL})
    write_pdf(uploads_folder(notes) / f"{'another_name_' * 5}.pdf", ["zebra"])
    with app_serving() as server:
        until_indexed(server)
        page.look(390, 844)
        try:
            opened(page, f"{server.url}/#/documents")
            page.until("document.querySelector('#documents td button')")
            lines = "document.querySelector('#documents td button').getClientRects()[0].height"
            assert page.run(lines) < 40 and page.run("document.documentElement.scrollWidth") <= 390
        finally:
            page.look(1280, 900)


def test_gold_pages_of_an_episode_open_at_their_box(page: Page, manual: Path, tmp_path: Path):
    gold = Evidence(ref=PageRef(document="manual.pdf", page=2), box=GOLD)
    task = make_task().model_copy(update={"gold": [gold]})
    RunDir.open(tmp_path / "run", {"corpus": str(manual)}).log("episodes").append(episode(task, answer_turn("42")))
    with app_serving(chosen={"notes": manual}, runs=tmp_path) as server:
        opened(page, f"{server.url}/#/runs?run=run&episode=0")
        page.until("document.querySelector('#trajectory .citation')")
        page.click("#trajectory .citation")
        page.until("document.querySelector('#viewer-title').textContent === 'manual.pdf, page 2 of 2'")
        assert page.run("document.querySelectorAll('.stage .box.gold').length") == 1


def test_markup_in_names_pages_models_and_questions_is_text(page: Page, tmp_path: Path):
    folder = make_corpus(tmp_path / "notes", {NAME: [MARKUP]})
    script = scripted(
        f"<think>{MARKUP}</think><search>bold {MARKUP}</search>",
        f"<think>{MARKUP}</think><oops>{MARKUP}",
        f"<answer>{MARKUP}</answer>",
    )
    with app_serving(chosen={"notes": folder}, policies={MARKUP: script}) as server:
        opened(page, server.url)
        asked(page, MARKUP)
        page.until(DONE)
        assert page.text("#asked h1").strip() == MARKUP and page.text("#asked .answer .text") == MARKUP
        assert NAME in page.text("#asked .sources")
        page.click(".citation")
        page.press("t", 84, "t")
        page.until(f"document.querySelector('#viewer-words').textContent.includes({json.dumps(MARKUP)})")
        page.press("Escape", 27)
        opened(page, f"{server.url}/#/documents?corpus=notes")
        page.until(f"document.querySelector('#documents').innerText.includes({json.dumps(NAME)})")
        opened(page, f"{server.url}/#/search?corpus=notes&q=bold")
        page.until(f"document.querySelector('#search-results').innerText.includes({json.dumps(NAME)})")
        assert page.run("document.querySelectorAll('b b, bdi *, img:not([alt])').length") == 0
        assert "pwned" not in page.run("document.title")


def test_two_runs_are_filtered_and_seen_side_by_side(page: Page, manual: Path, tmp_path: Path):
    for name, right in (("before", False), ("after", True)):
        log = RunDir.open(tmp_path / name, {"policy": name}).log("episodes")
        log.append(episode(make_task("t1"), right=right))
        log.append(episode(make_task("t2")))
    with app_serving(chosen={"notes": manual}, runs=tmp_path) as server:
        opened(page, f"{server.url}/#/runs?run=before&beside=after")
        page.until("document.querySelectorAll('#episodes tbody tr').length === 2")
        assert "1 of 2 right (50 %)" in page.text("#run-status") and "2 of 2 right" in page.text("#run-status")
        page.click('[name="differs"]')
        page.until("document.querySelectorAll('#episodes tbody tr').length === 1")
        page.click("#episodes tbody a")
        page.until("document.querySelectorAll('#trajectory article').length === 2")
        both = page.text("#trajectory")
        assert "17" in both and "42" in both and "retrieval" in both and "0.8" in both
        assert page.run("document.querySelectorAll('#trajectory .box.gold').length") == 2
        page.errors.clear()  # the console notes the images of pages that no corpus here has


def kept_run(folder: Path, **given: Any) -> Path:
    """A run of training with one kept episode, whose trace is made so."""
    run = RunDir.open(folder, {"steps": 1})
    run.metrics.append({"step": 0, "reward": 0.5})
    run.log("samples").append(KeptEpisode(step=0, why="best", episode=episode(), tokens=make_trace(**given)))
    return run.path


def watched(page: Page) -> None:
    """The tokens of the episode that is shown, opened with the mouse."""
    page.click(".token-details summary")
    page.until("document.querySelectorAll('.token-text .token').length")


def chosen(page: Page, way: str) -> list[str]:
    """What is coloured how by `way`: of each token how full its colour is."""
    page.run(
        f"(() => {{ const by = document.querySelector('.token-bar select'); by.value = '{way}';"
        " by.dispatchEvent(new Event('change')); })()"
    )
    tokens = "[...document.querySelectorAll('.token-text .token')]"
    return page.run(f"{tokens}.map((token) => token.style.getPropertyValue('--fill'))")


def test_the_tokens_of_a_kept_episode_are_read_coloured_and_gone_through_with_keys(page: Page, tmp_path: Path):
    kept_run(tmp_path / "rl")
    with app_serving(runs=tmp_path) as server:
        opened(page, f"{server.url}/#/runs?run=rl&episode=0")
        page.until("document.querySelector('.token-details')")
        assert page.text(".token-details summary") == "Tokens 508, of them 10 sampled · advantage −1.25"
        assert page.run("document.querySelector('.token') === null"), "the text is made when it is opened"
        watched(page)
        text = page.run("document.querySelector('.token-text').textContent")
        first = "<think>turn1.\né<|im_end|>[image: report.pdf, page 3, 240 tokens]"
        assert text.startswith(f"<|im_start|>user\nQuestion: what?{first}<think>turn2")
        assert text.endswith("<think>turn2.\né<|im_end|>[image: part of report.pdf, page 3, 240 tokens]")
        assert page.run("document.querySelectorAll('.token').length") == 10 + 1, "and one that explains the dashes"
        assert page.run("document.querySelectorAll('.token-text .below').length") == 10
        assert set(chosen(page, "advantage")) == {"38%"}
        assert chosen(page, "logprob")[:5] == ["1%", "28%", "6%", "36%", "3%"]
        assert chosen(page, "ratio")[:5] == ["0%", "60%", "3%", "0%", "0%"]
        assert chosen(page, "entropy")[:5] == ["4%", "30%", "15%", "50%", "0%"]

        page.run("document.querySelector('.token-text').focus()")
        page.press("ArrowRight", 39)
        page.press("ArrowRight", 39)
        numbers = page.text(".token-numbers").replace("\n", " ")
        assert numbers.startswith('"turn1"') and "token 18" in numbers and "turn 1" in numbers
        assert "log-probability −2.300 (10.0 %)" in numbers and "in the update −2.000" in numbers
        assert "ratio 1.350" in numbers and "entropy 1.50" in numbers and "the upper bound acted" in numbers
        page.press("ArrowDown", 40)
        assert '"<think>"' in page.text(".token-numbers") and "turn 2" in page.text(".token-numbers")
        page.press("End", 35)
        assert "ratio –" in page.text(".token-numbers").replace("\n", " "), "what wasn't finite"
        page.click(".token.part")
        assert "part of a character" in page.text(".token-numbers")
        assert page.run("document.querySelectorAll('.token.current').length") == 1
        page.errors.clear()  # the console notes the images of pages that no corpus here has


def test_a_run_without_tokens_says_so_and_one_that_the_update_left_out_too(page: Page, tmp_path: Path):
    kept_run(tmp_path / "rl", advantage=None)
    log = RunDir.open(tmp_path / "old", {}).log("samples")
    log.append({"step": 2, "why": "best", "episode": episode().model_dump(mode="json")})
    with app_serving(runs=tmp_path) as server:
        opened(page, f"{server.url}/#/runs?run=old&episode=0")
        page.until("document.querySelector('#trajectory').innerText.includes('weren’t kept')")
        opened(page, f"{server.url}/#/runs?run=rl&episode=0")
        page.until("document.querySelector('.token-details')")
        assert "left out of the update" in page.text(".token-details summary")
        watched(page)
        assert page.run("[...document.querySelectorAll('.token-bar option')].map((one) => one.value)") == ["logprob"]
        page.errors.clear()


def test_tokens_fit_a_phone_in_the_app_and_in_a_report_and_the_keyboard_reaches_them(page: Page, tmp_path: Path):
    run = kept_run(tmp_path / "rl", text=MARKUP * 20, turns=30)
    write_training_report(tmp_path / "report.html", run)
    page.look(390, 844)
    try:
        with app_serving(runs=tmp_path) as server:
            for url in (f"{server.url}/#/runs?run=rl&episode=0", (tmp_path / "report.html").as_uri()):
                page.open("about:blank")
                page.open(url)
                page.until("document.querySelector('.token-details')")
                watched(page)
                assert page.run("document.documentElement.scrollWidth") <= 390
                assert MARKUP in page.run("document.querySelector('.token-text').textContent")
                assert page.run("document.querySelectorAll('.token-text img, .token-text b').length") == 0
                page.press("Tab", 9)  # from the summary to the switch, and to the text
                page.press("Tab", 9)
                assert page.run("document.activeElement.className") == "token-text"
                page.press("End", 35)
                shown = page.run("document.querySelector('.token.current').getBoundingClientRect().toJSON()")
                within = page.run("document.querySelector('.token-text').getBoundingClientRect().toJSON()")
                assert within["top"] <= shown["top"] and shown["bottom"] <= within["bottom"]
                assert "turn 30" in page.text(".token-numbers") and "pwned" not in page.run("document.title")
                if url.startswith(server.url):
                    page.errors.clear()  # the console notes the images of pages that no corpus here has
    finally:
        page.look(1280, 900)


def test_a_token_is_asked_for_and_images_come_with_it(page: Page, manual: Path):
    with app_serving(chosen={"notes": manual}, token=TOKEN) as server:
        page.open("about:blank")
        page.open(server.url)
        page.until("document.querySelector('#token-dialog').open")
        page.write(TOKEN)
        page.press("Enter", 13, "\r")
        page.until(READY)
        page.errors.clear()  # the console notes the 401
        asked(page, QUESTION)
        page.until(DONE)
        page.until("document.querySelector('.answer .part img').naturalWidth")
        assert TOKEN not in page.run("location.href + document.documentElement.outerHTML")
        assert all(TOKEN not in url for url in page.requests)


def test_a_token_that_no_request_can_bear_is_refused_before_it_is_kept(page: Page, manual: Path):
    with app_serving(chosen={"notes": manual}, token=TOKEN) as server:
        page.open("about:blank")
        page.open(server.url)
        page.until("document.querySelector('#token-dialog').open")
        page.write("тoken")
        page.press("Enter", 13, "\r")
        assert page.run("document.querySelector('#token').validity.patternMismatch")
        assert page.run("document.querySelector('#token-dialog').open && sessionStorage.length === 0")
        page.run("document.querySelector('#token').select()")
        page.write(f" {TOKEN} ")
        page.press("Enter", 13, "\r")
        page.until(READY)
        page.errors.clear()  # the console notes the 401


def test_what_is_odd_leaves_the_rest_of_the_page_as_it_is(
    page: Page, manual: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fails(_: Runs) -> list[RunInfo]:
        raise DataError("a run is damaged")

    monkeypatch.setattr(Runs, "list", fails)
    with app_serving(chosen={"notes": manual}, runs=tmp_path) as server:
        page.open(server.url)
        page.run(
            """localStorage.setItem("vrag-history", '[null, {"id": 1}, {"id": 2, "question": "kept", "events": []}]')"""
        )
        opened(page, f"{server.url}/#/constructor")
        assert "Runs can’t be shown" in page.text("#alert") and "2 documents" in page.text("#ask-empty")
        assert page.run("document.querySelectorAll('#history-list li').length") == 1
        assert "kept" in page.text("#history-list")
        page.run("localStorage.clear()")
        page.errors.clear()  # the console notes the 422


@pytest.mark.parametrize("view", ["ask", "search", "documents"])
def test_nothing_is_wider_than_a_phone(page: Page, manual: Path, view: str):
    with app_serving(chosen={"notes": manual}) as server:
        page.look(390, 844)
        try:
            opened(page, f"{server.url}/#/{view}?corpus=notes&q={quote(QUESTION)}")
            page.until({"ask": DONE, "search": "document.querySelector('#search-results li')"}.get(view, "true"))
            assert page.run("document.documentElement.scrollWidth") <= 390
        finally:
            page.look(1280, 900)
