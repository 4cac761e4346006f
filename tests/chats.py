"""A chat server in a thread that behaves as it is told, badly for the most part."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[["Asked"], None]
TRUE, FALSE = "<judge>True</judge>", "<judge>False</judge>"


class Asked(BaseHTTPRequestHandler):
    """One request, and the means to answer it."""

    server: _Server
    body: dict[str, Any]

    def do_POST(self) -> None:
        self.body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        owner = self.server.owner
        with owner.lock:
            owner.asked.append(self)
            owner.together += 1
            owner.most_together = max(owner.most_together, owner.together)
            answer = owner.answers.pop(0) if len(owner.answers) > 1 else owner.answers[0]
        try:
            answer(self)
        except OSError:
            pass  # the client has left
        finally:
            with owner.lock:
                owner.together -= 1

    def log_message(self, format: str, *args: object) -> None:
        pass

    def send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    @property
    def prompt(self) -> str:
        return self.body["messages"][0]["content"]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    owner: ChatServer


@dataclass
class ChatServer:
    """Gives `answers` in turn, the last one for ever; `asked` are the requests."""

    answers: list[Answer]
    url: str = ""
    asked: list[Asked] = field(default_factory=lambda: [])
    lock: threading.Lock = field(default_factory=threading.Lock)
    over: threading.Event = field(default_factory=threading.Event)
    together: int = 0
    most_together: int = 0


@contextmanager
def chat_server(*answers: Answer) -> Generator[ChatServer]:
    server = _Server(("127.0.0.1", 0), Asked)
    server.owner = ChatServer(list(answers), f"http://127.0.0.1:{server.server_port}/v1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.owner
    finally:
        server.owner.over.set()
        server.shutdown()
        thread.join(10)
        server.server_close()


def completion(text: str | None, usage: dict[str, Any] | None = None, finish: str = "stop") -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    return json.dumps({"id": "c", "object": "chat.completion", "choices": [choice], "usage": usage}).encode()


def says(text: str | None, prompt_tokens: int = 10, completion_tokens: int = 2) -> Answer:
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens, "total_tokens": 0}
    return lambda asked: asked.send(200, completion(text, usage))


def fails(status: int, content: bytes = b'{"error": "no"}', **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda asked: asked.send(status, content, named)


def garbage(content: bytes) -> Answer:
    return lambda asked: asked.send(200, content)


def cuts(asked: Asked) -> None:
    """The stream ends within the answer."""
    whole = completion(TRUE)
    asked.send_response(200)
    asked.send_header("Content-Length", str(len(whole)))
    asked.end_headers()
    asked.wfile.write(whole[: len(whole) // 2])


def hangs(asked: Asked) -> None:
    """No answer until the test is over."""
    asked.server.owner.over.wait(30)


def repeats_the_key(asked: Asked) -> None:
    """As some proxies do."""
    asked.send(401, f"invalid: {asked.headers['Authorization']}".encode())


# ------------------------------------------------------------------------------------ streams


def event(text: str = "", finish: str | None = None, usage: tuple[int, int] | None = None) -> bytes:
    part: dict[str, Any] = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}
    if usage:
        part["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
    return b"data: " + json.dumps(part).encode() + b"\n\n"


SPENT = b'data: {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}\n\n'
DONE = b"data: [DONE]\n\n"


def opens(asked: Asked) -> None:
    asked.send_response(200)
    asked.send_header("Content-Type", "text/event-stream; charset=utf-8")
    asked.end_headers()


def streams(*events: bytes) -> Answer:
    def answer(asked: Asked) -> None:
        opens(asked)
        for one in events:
            asked.wfile.write(one)
            asked.wfile.flush()

    return answer
