"""Headless Chromium, driven over a pipe by its own protocol: no driver, no socket."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

WAIT = 60.0  # s that something may take on a busy machine
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--remote-debugging-pipe",
)  # fmt: skip


class Page:
    """A tab. `errors` is what scripts complained of, `requests` the addresses that were asked for, `cancelled` those
    that the page then didn't want any more, `received` the bytes that came for the others, headers included.
    """

    def __init__(self, read: int, write: int) -> None:
        self._read, self._write, self._held, self._ids = read, write, b"", 0
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.cancelled: list[str] = []
        self._addresses: dict[str, str] = {}  # of requests, by their ids
        self.received = 0
        self._session: str | None = None
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **given: Any) -> dict[str, Any]:
        """The answer to one command; what happens meanwhile is noted."""
        self._ids += 1
        message = {"id": self._ids, "method": method, "params": given}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._ids:
                assert "error" not in answer, f"{method}: {answer['error']['message']}"
                return answer["result"]
            self._note(answer)

    def open(self, url: str) -> None:
        self.send("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """What an expression of JavaScript comes to, as JSON."""
        done = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def until(self, condition: str) -> None:
        """Looks until the expression is true; one that fails isn't, as when the page is still to come."""
        end = time.monotonic() + WAIT
        while time.monotonic() < end:
            if self.run(f"(() => {{ try {{ return Boolean({condition}); }} catch {{ return false; }} }})()"):
                return
            select.select([self._read], [], [], 0.02)  # until something happens, or a while
        raise AssertionError(f"never came true: {condition}; errors: {self.errors}; page: {self.text('body')[:2000]}")

    def text(self, selector: str) -> str:
        return self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")

    def click(self, selector: str) -> None:
        """With the mouse, in the middle of the first element of `selector`, once it stands still: an image that comes
        moves what is below it.
        """
        at = self.run(
            f"(async () => {{ const it = document.querySelector({json.dumps(selector)});"
            " const place = () => { it.scrollIntoView({block: 'center', behavior: 'instant'});"
            " const box = it.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; };"
            " let at = place(), still = 0;"
            " while (still < 5) { await new Promise(requestAnimationFrame); const now = place();"
            " still = now[0] === at[0] && now[1] === at[1] ? still + 1 : 0; at = now; }"
            " return at; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=at[0], y=at[1], button="left", clickCount=1)

    def write(self, text: str) -> None:
        """Into what has the focus."""
        self.send("Input.insertText", text=text)

    def press(self, key: str, code: int = 0, text: str = "") -> None:
        given = {"key": key, "windowsVirtualKeyCode": code, **({"text": text} if text else {})}
        self.send("Input.dispatchKeyEvent", type="keyDown", **given)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def choose(self, selector: str, files: list[Path]) -> None:
        """Files, as if a person had chosen them."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", nodeId=node, files=[str(file) for file in files])

    def look(self, width: int, height: int, *, dark: bool = False) -> None:
        """The window's size, and whether its user likes it dark."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[feature])

    def screenshot(self, file: Path, *, whole: bool = False) -> None:
        shot = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(shot["data"]))

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._held:
            ready, _, _ = select.select([self._read], [], [], WAIT)
            assert ready, "the browser doesn't answer"
            part = os.read(self._read, 1 << 16)
            assert part, "the browser has ended"
            self._held += part
        message, self._held = self._held.split(b"\0", 1)
        return json.loads(message)

    def _note(self, event: dict[str, Any]) -> None:
        given = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.errors.append(str(given["exceptionDetails"].get("exception", {}).get("description")))
        elif event.get("method") == "Log.entryAdded" and given["entry"]["level"] == "error":
            self.errors.append(f"{given['entry']['text']} {given['entry'].get('url', '')}")
        elif event.get("method") == "Network.requestWillBeSent":
            self.requests.append(given["request"]["url"])
            self._addresses[given["requestId"]] = given["request"]["url"]
        elif event.get("method") == "Network.loadingFailed" and given.get("canceled"):
            self.cancelled.append(self._addresses[given["requestId"]])
        elif event.get("method") == "Network.loadingFinished":
            self.received += round(given["encodedDataLength"])


@contextmanager
def chromium(profile: Path) -> Generator[Page]:
    """Skips the test where there is none."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium on PATH")
    there, write = os.pipe()
    read, back = os.pipe()
    # it reads from descriptor 3 and writes to 4
    command = ["bash", "-c", f'exec "$@" 3<&{there} 4>&{back} 2>/dev/null', "chromium", found]
    with subprocess.Popen([*command, *_FLAGS, f"--user-data-dir={profile}"], pass_fds=(there, back)) as process:
        os.close(there), os.close(back)
        try:
            yield Page(read, write)
        finally:
            os.close(write), os.close(read)
            process.kill()
