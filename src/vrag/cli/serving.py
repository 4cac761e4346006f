"""What the verbs that serve have in common: their options, their extras, and an app on a socket until it is ended."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from enum import Enum
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vrag.errors import UsageError

if TYPE_CHECKING:
    from fastapi import FastAPI

AGENT_GRACE = 5.0  # s that questions under way have when the server is ended
EXTRACTIVE = "extractive"
_EXTRA = {
    "fastapi",
    "starlette",
    "uvicorn",
    "h11",
    "httpx",
    "stamina",
    "prometheus_client",
    "safetensors",
    "python_multipart",
    "mcp",
}


def _finite(seconds: float) -> float:
    """Seconds that end: whoever ends the server waits for no more."""
    if not isfinite(seconds):
        raise typer.BadParameter(f"{seconds} is no number of seconds")
    return seconds


class OcrOption(str, Enum):
    auto = "auto"
    off = "off"


Readers = Annotated[int, typer.Option(min=0, help="Processes that read documents; 0: one for each core.")]
Ocr = Annotated[OcrOption, typer.Option(help="Pages without text: auto reads them, if OCR is installed.")]
ReadOnly = Annotated[bool, typer.Option("--read-only", help="No uploads, no removal, no new corpora.")]
Episodes = Annotated[int, typer.Option(min=1, help="Questions that are answered at once.")]
EpisodeSeconds = Annotated[float, typer.Option(min=0.1, callback=_finite, help="Seconds that a question may take.")]
TokenFile = Annotated[
    Path | None, typer.Option(help="File with the token that each request must bear; else VRAG_TOKEN, if set.")
]
Host = Annotated[str, typer.Option(help="Address to listen on; others than this machine's own need a token.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")]
Timeout = Annotated[float, typer.Option(min=0.1, callback=_finite, help="Seconds that a request may take; then 504.")]
Corpora = Annotated[
    list[str] | None,
    typer.Option("--corpus", "-c", help="Name or path of a corpus; repeat for more. None: all that have a name."),
]
Policies = Annotated[
    list[str] | None,
    typer.Option(
        "--policy",
        "-p",
        help="As of `vrag ask`; repeat for more, the first is the default.",
        show_default=EXTRACTIVE,
    ),
]


@contextmanager
def named_extra(extra: str) -> Generator[None]:
    """What is missing is named, and how to get it."""
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _EXTRA:
            raise
        raise UsageError(f"the server needs {missing}: pip install 'vrag[{extra}]'") from error


def serve_app(
    what: str,
    make: Callable[[str | None], FastAPI],
    host: str,
    port: int,
    grace: float,
    token_file: Path | None,
    variable: str,
    on_ready: Callable[[str], None] = lambda _: None,
) -> None:
    """The app that `make` makes with its token, until someone ends it; what runs then has `grace` seconds. `on_ready`
    gets its URL once it answers.
    """
    from vrag.servers.guard import read_token
    from vrag.servers.run import Server, bind, log_to_stderr

    token = read_token(host, token_file, os.environ.get(variable), variable)
    with bind(host, port) as bound:  # before a model is loaded, which takes its time
        app = make(token)

        def ready(url: str) -> None:
            print(f"{what} at {url}", file=sys.stderr)
            on_ready(url)

        server = Server(app, bound, ready, grace)
        log_to_stderr()
        with suppress(KeyboardInterrupt):  # how a server is ended
            server.until_ended()
        _leave()


def _leave() -> None:
    """End the process where threads hang, for which Python would wait for ever."""
    others = [one for one in threading.enumerate() if one is not threading.current_thread() and not one.daemon]
    for one in others:
        one.join(1.0)
    if any(one.is_alive() for one in others):
        print("vrag: ended; what still ran didn't answer", file=sys.stderr, flush=True)
        os._exit(1)
