"""`vrag serve …`: what answers over HTTP."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vrag.cli.options import (
    By,
    Device,
    Encoder,
    EncoderSet,
    Kernel,
    KernelOption,
    PolicyModel,
    PolicySet,
    Way,
    encoder_name,
    named_policies,
)
from vrag.corpus.paths import corpus_folder
from vrag.errors import UsageError
from vrag.kernels import KernelChoice

if TYPE_CHECKING:
    from fastapi import FastAPI

serve = typer.Typer(no_args_is_help=True, help="Serve an agent, a corpus or an encoder over HTTP.")
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
}

_GRACE = 5.0  # s that questions under way have when the server is ended


class OcrOption(str, Enum):
    auto = "auto"
    off = "off"


Host = Annotated[str, typer.Option(help="Address to listen on; others than this machine's own need a token.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")]
Timeout = Annotated[float, typer.Option(min=0.1, help="Seconds that a request may take; then 504.")]


@serve.callback()
def _group() -> None:
    """Serve an agent, a corpus or an encoder over HTTP."""


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


@serve.command()
def agent(
    corpus: Annotated[
        list[str] | None,
        typer.Option("--corpus", "-c", help="Name or path of a corpus; repeat for more. None: all that have a name."),
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            "--policy", "-p", help="As of `vrag ask`; repeat for more, the first is the default.  [extractive]"
        ),
    ] = None,
    policy_model: PolicyModel = None,
    policy_set: PolicySet = None,
    host: Host = "127.0.0.1",
    port: Port = 8001,
    by: By = Way.auto,
    encoder: Encoder = None,
    encoder_set: EncoderSet = None,
    kernel: Kernel = KernelOption.auto,
    device: Device = None,
    episodes: Annotated[int, typer.Option(min=1, help="Questions that are answered at once.")] = 4,
    max_queue: Annotated[int, typer.Option(min=0, help="Questions that wait; more are refused with 429.")] = 16,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that a question may take.")] = 600.0,
    max_upload: Annotated[int, typer.Option(min=1, help="MiB of one upload.")] = 512,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read documents; 0: one for each core.")] = 0,
    ocr: Annotated[
        OcrOption, typer.Option(help="Pages without text: auto reads them, if OCR is installed.")
    ] = OcrOption.auto,
    read_only: Annotated[bool, typer.Option("--read-only", help="No uploads, no removal, no new corpora.")] = False,
    token_file: Annotated[
        Path | None, typer.Option(help="File with the token that each request must bear; else VRAG_TOKEN, if set.")
    ] = None,
) -> None:
    """Answer questions from corpora over HTTP, also for OpenAI's clients; see docs/agent-server.md."""
    with _named_extra():
        import python_multipart  # noqa: F401  # pyright: ignore[reportUnusedImport]

        from vrag.servers.agent.app import create_app
        from vrag.servers.agent.limits import AgentLimits
        from vrag.servers.agent.service import AgentService
        from vrag.servers.agent.shelf import Shelf, chosen_corpora
    from vrag.corpus.options import IngestOptions
    from vrag.servers.engine import Engine
    from vrag.servers.serial import Encoders

    chosen_kernel, encoders = KernelChoice(kernel.value, device), Encoders(encoder_name(encoder, encoder_set))
    limits = AgentLimits(episodes=episodes, waiting=max_queue, episode_seconds=timeout, upload_bytes=max_upload << 20)

    def made(token: str | None) -> FastAPI:
        shelf = Shelf(
            lambda folder: Engine(folder, by.value, kernel=chosen_kernel, encoders=encoders),
            chosen_corpora(corpus or []),
        )
        policies = named_policies(policy or ["extractive"], policy_model, policy_set)
        options = IngestOptions(workers=workers, ocr=ocr.value)
        return create_app(AgentService(shelf, policies, limits, options, read_only=read_only), token)

    _serve("agent", made, host, port, _GRACE, token_file, "VRAG_TOKEN")


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
