"""`vrag serve …`: what answers over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vrag.cli.asked import Asked, asked_name
from vrag.cli.options import (
    By,
    Device,
    Encoder,
    EncoderSet,
    Kernel,
    KernelOption,
    PolicyModel,
    PolicyRecipeName,
    PolicySet,
    Way,
    encoder_name,
    named_policies,
)
from vrag.cli.serving import (
    AGENT_GRACE,
    EXTRACTIVE,
    Corpora,
    Episodes,
    EpisodeSeconds,
    Host,
    Ocr,
    OcrOption,
    Policies,
    Port,
    Readers,
    ReadOnly,
    Timeout,
    TokenFile,
    named_extra,
    serve_app,
)
from vrag.corpus.paths import corpus_folder
from vrag.corpus.store import Corpus
from vrag.kernels import KernelChoice

if TYPE_CHECKING:
    from fastapi import FastAPI

serve = typer.Typer(no_args_is_help=True, help="Serve an agent, a corpus or an encoder over HTTP.")


@serve.callback()
def _group() -> None:
    """Serve an agent, a corpus or an encoder over HTTP."""


@serve.command()
def search(
    corpus: Asked = None,
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
    token_file: TokenFile = None,
) -> None:
    """Search a corpus over HTTP, also with the agents of VRAG-RL; see docs/search-server.md."""
    with named_extra("serve"):
        from vrag.servers.engine import Engine
        from vrag.servers.limits import Limits
        from vrag.servers.search import create_app

    asked = asked_name(corpus)

    def made(token: str | None) -> FastAPI:
        Corpus.open(asked).close()  # one that isn't there is said by its name
        chosen = KernelChoice(kernel.value, device)
        engine = Engine(corpus_folder(asked), by.value, encoder_name(encoder, encoder_set), chosen)
        return create_app(engine, Limits(max_queue, max_batch, timeout), token)

    serve_app(f"search {asked}", made, host, port, timeout, token_file, "VRAG_TOKEN")


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
    with named_extra("serve"):
        from vrag.encoders.load import load_encoder
        from vrag.encoders.wire import TOKEN_VARIABLE
        from vrag.servers.encoder import create_app
        from vrag.servers.limits import Limits

    def made(token: str | None) -> FastAPI:
        name = encoder_name(encoder, encoder_set)
        assert name is not None
        return create_app(load_encoder(name.name, **name.settings), name, Limits(max_queue, max_batch, timeout), token)

    serve_app(f"encoder {encoder}", made, host, port, timeout, token_file, TOKEN_VARIABLE)


@serve.command()
def agent(
    corpus: Corpora = None,
    policy: Policies = None,
    policy_model: PolicyModel = None,
    policy_set: PolicySet = None,
    policy_recipe: PolicyRecipeName = None,
    host: Host = "127.0.0.1",
    port: Port = 8001,
    by: By = Way.auto,
    encoder: Encoder = None,
    encoder_set: EncoderSet = None,
    kernel: Kernel = KernelOption.auto,
    device: Device = None,
    episodes: Episodes = 4,
    max_queue: Annotated[int, typer.Option(min=0, help="Questions that wait; more are refused with 429.")] = 16,
    timeout: EpisodeSeconds = 600.0,
    max_upload: Annotated[int, typer.Option(min=1, help="MiB of one upload.")] = 512,
    workers: Readers = 0,
    ocr: Ocr = OcrOption.auto,
    read_only: ReadOnly = False,
    token_file: TokenFile = None,
) -> None:
    """Answer questions from corpora over HTTP, also for OpenAI's clients; see docs/agent-server.md."""
    with named_extra("serve"):
        import python_multipart  # noqa: F401  # pyright: ignore[reportUnusedImport]

        from vrag.servers.agent.app import create_app
        from vrag.servers.agent.limits import AgentLimits
    from vrag.cli.agents import agent_service
    from vrag.corpus.options import IngestOptions

    limits = AgentLimits(episodes=episodes, waiting=max_queue, episode_seconds=timeout, upload_bytes=max_upload << 20)

    def made(token: str | None) -> FastAPI:
        policies = named_policies(policy or [EXTRACTIVE], policy_model, policy_set, policy_recipe)
        options = IngestOptions(workers=workers, ocr=ocr.value)
        name, chosen = encoder_name(encoder, encoder_set), KernelChoice(kernel.value, device)
        service = agent_service(corpus or [], policies, limits, options, by.value, name, chosen, read_only=read_only)
        return create_app(service, token)

    serve_app("agent", made, host, port, AGENT_GRACE, token_file, "VRAG_TOKEN")
