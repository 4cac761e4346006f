"""`vrag serve …`: what answers over HTTP."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vrag.cli.options import By, Device, Encoder, EncoderSet, Kernel, KernelOption, Way, encoder_name
from vrag.corpus.paths import corpus_folder
from vrag.errors import UsageError
from vrag.kernels import KernelChoice

if TYPE_CHECKING:
    from fastapi import FastAPI

serve = typer.Typer(no_args_is_help=True, help="Serve a corpus or an encoder over HTTP.")
_EXTRA = {"fastapi", "starlette", "uvicorn", "h11", "httpx", "stamina", "prometheus_client", "safetensors"}

Host = Annotated[str, typer.Option(help="Address to listen on; others than this machine's own need a token.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")]
Timeout = Annotated[float, typer.Option(min=0.1, help="Seconds that a request may take; then 504.")]


@serve.callback()
def _group() -> None:
    """Serve a corpus or an encoder over HTTP."""


@serve.command()
def search(
    corpus: Annotated[str, typer.Option("--corpus", "-c", help="Name of the corpus, or a path.")],
    host: Host = "127.0.0.1",
    port: Port = 8002,
    by: By = Way.auto,
    encoder: Encoder = None,
    encoder_set: EncoderSet = None,
    kernel: Kernel = KernelOption.auto,
    device: Device = None,
    max_queue: Annotated[int, typer.Option(min=1, help="Queries admitted at once; more are refused with 429.")] = 256,
    max_batch: Annotated[int, typer.Option(min=1, help="Queries encoded together.")] = 32,
    timeout: Timeout = 30.0,
    token_file: Annotated[
        Path | None, typer.Option(help="File with the token that each request must bear; else VRAG_TOKEN, if set.")
    ] = None,
) -> None:
    """Search a corpus over HTTP, also with the agents of VRAG-RL; see docs/search-server.md."""
    with _named_extra():
        from vrag.servers.engine import Engine
        from vrag.servers.limits import Limits
        from vrag.servers.search import create_app

    def made(token: str | None) -> FastAPI:
        chosen = KernelChoice(kernel.value, device)
        engine = Engine(corpus_folder(corpus), by.value, encoder_name(encoder, encoder_set), chosen)
        return create_app(engine, Limits(max_queue, max_batch, timeout), token)

    _serve(f"search {corpus}", made, host, port, timeout, token_file, "VRAG_TOKEN")


@serve.command()
def encoder(
    encoder: Annotated[
        str, typer.Option(help="A checkpoint's folder, owner/name on the Hub, or module:attribute of your own.")
    ],
    encoder_set: EncoderSet = None,
    host: Host = "127.0.0.1",
    port: Port = 8003,
    max_queue: Annotated[
        int, typer.Option(min=1, help="Pages admitted at once, and queries; more are refused with 429.")
    ] = 256,
    max_batch: Annotated[int, typer.Option(min=1, help="Pages handed to the encoder together, or queries.")] = 32,
    timeout: Timeout = 300.0,
    token_file: Annotated[
        Path | None,
        typer.Option(help="File with the token that each request must bear; else VRAG_ENCODER_TOKEN, if set."),
    ] = None,
) -> None:
    """Encode the pages and queries of other machines over HTTP; see docs/encoder-server.md."""
    with _named_extra():
        from vrag.encoders.load import load_encoder
        from vrag.encoders.wire import TOKEN_VARIABLE
        from vrag.servers.encoder import create_app
        from vrag.servers.limits import Limits

    def made(token: str | None) -> FastAPI:
        name = encoder_name(encoder, encoder_set)
        assert name is not None
        return create_app(load_encoder(name.name, **name.settings), name, Limits(max_queue, max_batch, timeout), token)

    _serve(f"encoder {encoder}", made, host, port, timeout, token_file, TOKEN_VARIABLE)


@contextmanager
def _named_extra() -> Generator[None]:
    """What is missing is named, and how to get it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        raise UsageError(f"the server needs {error.name}: pip install 'vrag[serve]'") from error


def _serve(
    what: str,
    make: Callable[[str | None], FastAPI],
    host: str,
    port: int,
    timeout: float,
    token_file: Path | None,
    variable: str,
) -> None:
    """The app that `make` makes with its token, until someone ends it."""
    from vrag.servers.guard import read_token
    from vrag.servers.run import Server, bind, log_to_stderr

    token = read_token(host, token_file, os.environ.get(variable), variable)
    with bind(host, port) as bound:  # before a model is loaded, which takes its time
        app = make(token)
        server = Server(app, bound, lambda url: print(f"{what} at {url}", file=sys.stderr), timeout)
        log_to_stderr()
        with suppress(KeyboardInterrupt):  # how a server is ended
            server.until_ended()
