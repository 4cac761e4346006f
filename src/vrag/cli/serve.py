"""`vrag serve …`: what answers over HTTP."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from vrag.cli.options import By, Device, Kernel, KernelOption, Way
from vrag.corpus.paths import corpus_folder
from vrag.errors import UsageError
from vrag.kernels import KernelChoice

serve = typer.Typer(no_args_is_help=True, help="Serve a corpus over HTTP.")
_EXTRA = {"fastapi", "starlette", "uvicorn", "h11", "httpx", "stamina", "prometheus_client"}


@serve.callback()
def _group() -> None:
    """Serve a corpus over HTTP."""


@serve.command()
def search(
    corpus: Annotated[str, typer.Option("--corpus", "-c", help="Name of the corpus, or a path.")],
    host: Annotated[str, typer.Option(help="Address to listen on; others than this machine's own need a token.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8002,
    by: By = Way.auto,
    kernel: Kernel = KernelOption.auto,
    device: Device = None,
    max_queue: Annotated[int, typer.Option(min=1, help="Queries admitted at once; more are refused with 429.")] = 256,
    max_batch: Annotated[int, typer.Option(min=1, help="Queries encoded together.")] = 32,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that a request may take; then 504.")] = 30.0,
    token_file: Annotated[
        Path | None, typer.Option(help="File with the token that each request must bear; else VRAG_TOKEN, if set.")
    ] = None,
) -> None:
    """Search a corpus over HTTP, also with the agents of VRAG-RL; see docs/search-server.md."""
    try:
        from vrag.servers.engine import Engine
        from vrag.servers.guard import read_token
        from vrag.servers.limits import Limits
        from vrag.servers.run import Server, bind, log_to_stderr
        from vrag.servers.search import create_app
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        raise UsageError(f"the server needs {error.name}: pip install 'vrag[serve]'") from error

    token = read_token(host, token_file, os.environ.get("VRAG_TOKEN"))
    with bind(host, port) as bound:  # before the encoder is loaded, which takes its time
        engine = Engine(corpus_folder(corpus), by.value, KernelChoice(kernel.value, device))
        app = create_app(engine, Limits(max_queue, max_batch, timeout), token)
        server = Server(app, bound, lambda url: print(f"search {corpus} at {url}", file=sys.stderr), timeout)
        log_to_stderr()
        with suppress(KeyboardInterrupt):  # how a server is ended
            server.until_ended()
