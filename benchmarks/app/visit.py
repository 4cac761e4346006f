"""What a person does in the app, each thing timed as the browser shows it."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlencode

from corpus import Made

from tests.browser import Page

READY = "document.documentElement.dataset.ready === 'yes'"
ANSWER = {
    "first step": "document.querySelector('#asked .turn .thought')",
    "answer": "document.querySelector('#asked .outcome')",
    "its place": "document.querySelector('.answer .part img').naturalWidth",
}
FOUND = "document.querySelectorAll('#search-results li').length"
ROWS = "document.querySelectorAll('#documents tbody tr').length"
MOST = 240  # results that are scrolled through
_WHEN = (
    "new Promise((done) => {{ const look = () => {{ let is = false; try {{ is = Boolean({}); }} catch {{}}"
    " is ? done() : requestAnimationFrame(look); }}; look(); }})"
)
_SEEN = (
    "((shown) => shown.length && shown.every((one) => one.complete && one.naturalWidth))"
    "([...document.querySelectorAll('#search-results li')].filter((one) => { const box = one.getBoundingClientRect();"
    " return box.bottom > 0 && box.top < innerHeight; }).map((one) => one.querySelector('img')))"
)
_SCROLL = """new Promise((done) => {
  let last = performance.now(), longest = 0, still = 0;
  const step = (now) => {
    longest = Math.max(longest, now - last);
    last = now;
    const before = scrollY;
    scrollBy({ top: 0.8 * innerHeight, behavior: "instant" });
    still = scrollY === before ? still + 1 : 0;
    still > 3 ? done(longest) : requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
})"""


@dataclass
class Times:
    """Seconds by what was done, and what came over the network meanwhile; `right` of `asked` questions."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: {})
    received: dict[str, list[int]] = field(default_factory=lambda: {})
    frames: list[float] = field(default_factory=lambda: [])  # ms, the longest while scrolling through results
    asked: int = 0
    right: int = 0


class Visit:
    """Of one server, in a tab that is the caller's. `rng` chooses what is searched for and asked."""

    def __init__(self, page: Page, url: str, corpus: str, made: Made, rng: random.Random) -> None:
        self._page, self._url, self._corpus, self._made, self._rng = page, url, corpus, made, rng
        self.times = Times()

    def round(self) -> None:
        """Everything once: from an empty tab, with an empty cache, and then in the page that is open."""
        self._empty("documents", "documents", {}, {"listed": ROWS})
        self._list_all()
        self._empty("search", "search", {"q": self._query()}, {"shown": FOUND, "images": _SEEN})
        self._search()
        self._more()
        self._view()
        name, value = self._rng.choice(self._made.facts)
        self._empty("question", "ask", {"q": _question(name)}, ANSWER)
        self._check(value)
        self._ask()
        assert self._page.errors == [], self._page.errors

    def views(self) -> Iterator[str]:
        """The name of each view, while it is shown."""
        self._empty("documents", "documents", {}, {"listed": ROWS})
        yield "documents"
        self._empty("search", "search", {"q": self._query()}, {"shown": FOUND, "images": _SEEN})
        yield "search"
        self._more()
        yield "results"
        self._view(close=False)
        yield "viewer"
        self._page.press("Escape", 27)
        self._empty("question", "ask", {"q": _question(self._made.facts[0][0])}, ANSWER)
        yield "question"

    def _empty(self, what: str, view: str, given: dict[str, str], until: dict[str, str]) -> None:
        self._page.open("about:blank")
        self._page.send("Network.clearBrowserCache")
        url = f"{self._url}/#/{view}?{urlencode({'corpus': self._corpus, **given})}"
        self._timed(f"empty tab, {what}", lambda: self._page.open(url), until)
        self._when(READY)

    def _list_all(self) -> None:
        """All documents, and down to the last of them."""
        count = self._made.documents
        more = "const more = document.querySelector('#documents-more'); more.hidden || more.click();"

        def act() -> None:
            for _ in range(3):  # 100, 300, 900
                before = self._page.run(ROWS)
                self._page.run(f"(() => {{ {more} }})()")
                self._when(f"{ROWS} >= {count} || {ROWS} > {before}")
            self._page.run(_SCROLL)

        last = "[...document.querySelectorAll('#documents tbody tr')].at(-1).getBoundingClientRect()"
        self._timed("documents", act, {"all, scrolled to the last": f"{ROWS} === {count} && {last}.top < innerHeight"})

    def _search(self) -> None:
        self._page.run("scrollTo(0, 0); document.querySelector('#query').value = ''; 0")
        self._page.run("document.querySelector('#search-status').textContent = ''; 0")
        self._page.click("#query")
        self._page.write(self._query())
        said = "document.querySelector('#search-status').textContent"
        self._timed("search", lambda: self._page.press("Enter", 13, "\r"), {"shown": said, "images": _SEEN})

    def _more(self) -> None:
        """Many results, and down to the last of them."""
        more = "document.querySelector('#search-more')"
        most = min(MOST, self._made.pages)

        def act() -> None:
            while self._page.run(f"!{more}.hidden && {FOUND} < {most}"):
                before = self._page.run(FOUND)
                self._page.run(f"{more}.click()")
                self._when(f"{FOUND} > {before} || {more}.hidden")

        self._timed("results", act, {f"{MOST} of them": FOUND})
        longest: list[float] = []
        self._timed("results", lambda: longest.append(self._page.run(_SCROLL)), {"scrolled to the last": _SEEN})
        self.times.frames += longest

    def _view(self, *, close: bool = True) -> None:
        """The page of the last result, and the one beside it."""
        image = "document.querySelector('.stage img')"
        shown = f"document.querySelector('#viewer').open && {image}.complete && {image}.naturalWidth"
        last = "[...document.querySelectorAll('#search-results li button')].at(-1)"
        self._timed("viewer", lambda: self._page.run(f"{last}.click()"), {"page": shown})
        self._when("/ of \\d/.test(document.querySelector('#viewer-title').textContent)")
        source = json.dumps(self._page.run(f"{image}.src"))
        ends = self._page.run("document.querySelector('#viewer-next').getAttribute('aria-disabled') === 'true'")
        key = ("ArrowLeft", 37) if ends else ("ArrowRight", 39)
        self._timed("viewer", lambda: self._page.press(*key), {"next page": f"{image}.src !== {source} && {shown}"})
        if close:
            self._page.press("Escape", 27)

    def _ask(self) -> None:
        name, value = self._rng.choice(self._made.facts)
        self._page.click("#question")
        self._page.write(_question(name))
        self._timed("question", lambda: self._page.press("Enter", 13, "\r"), ANSWER)
        self._check(value)

    def _check(self, value: int) -> None:
        self.times.asked += 1
        self.times.right += str(value) in self._page.text("#asked .answer .text")

    def _query(self) -> str:
        """Two words that most pages have."""
        return " ".join(self._rng.sample(self._made.words[10:60], 2))

    def _when(self, condition: str) -> None:
        self._page.run(_WHEN.format(condition))

    def _timed(self, what: str, act: Callable[[], object], until: dict[str, str]) -> None:
        """From the act to the frame in which each condition holds, in their order."""
        before, began = self._page.received, time.perf_counter()
        act()
        for name, condition in until.items():
            self._when(condition)
            self.times.seconds.setdefault(f"{what}: {name}", []).append(time.perf_counter() - began)
        self._page.run("new Promise((done) => setTimeout(done, 100))")  # what is still on its way
        self.times.received.setdefault(what, []).append(self._page.received - before)


def _question(name: str) -> str:
    return f"At how many bar does the valve {name} open?"
