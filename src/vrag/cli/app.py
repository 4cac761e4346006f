"""`vrag app`: the agent server, with a page in the browser in front of it."""

from __future__ import annotations

import os
import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlencode

import typer

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
    Host,
    Ocr,
    OcrOption,
    Policies,
    Port,
    Readers,
    ReadOnly,
    named_extra,
    serve_app,
)
from vrag.corpus.paths import corpus_folder
from vrag.errors import UsageError
from vrag.kernels import KernelChoice

if TYPE_CHECKING:
    from fastapi import FastAPI

NEW = "documents"  # the corpus of paths that come without a name


def app(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Files and folders to index: PDFs, images, office documents.")
    ] = None,
    corpus: Corpora = None,
    policy: Policies = None,
    policy_model: PolicyModel = None,
    policy_set: PolicySet = None,
    policy_recipe: PolicyRecipeName = None,
    runs: Annotated[
        Path | None, typer.Option(help="Folder of runs of `vrag eval` and `vrag train` to look at.")
    ] = None,
    open_: Annotated[bool, typer.Option("--open/--no-open", help="Open the browser.")] = True,
    host: Host = "127.0.0.1",
    port: Port = 8080,
    by: By = Way.auto,
    encoder: Encoder = None,
    encoder_set: EncoderSet = None,
    kernel: Kernel = KernelOption.auto,
    device: Device = None,
    workers: Readers = 0,
    ocr: Ocr = OcrOption.auto,
    read_only: ReadOnly = False,
    token_file: Annotated[
        Path | None, typer.Option(help="File with the token that the page asks for; else VRAG_TOKEN, if set.")
    ] = None,
) -> None:
    """Ask your documents in the browser, and watch how the answer is found; see docs/app.md.

    PATHs are indexed while the page is open, into the first --corpus, or into one called "documents".
    """
    with named_extra("serve"):
        import python_multipart  # noqa: F401  # pyright: ignore[reportUnusedImport]

        from vrag.app.web import is_public, web_router
        from vrag.servers.agent.app import create_app
        from vrag.servers.agent.limits import AgentLimits
        from vrag.servers.agent.trajectories import router
    from vrag.cli.agents import agent_service
    from vrag.corpus.options import IngestOptions

    if paths and read_only:
        raise UsageError("--read-only indexes nothing: leave the paths out")
    first = _for_paths(paths, corpus) if paths else None

    def made(token: str | None) -> FastAPI:
        service = agent_service(
            corpus or [],
            named_policies(policy or [EXTRACTIVE], policy_model, policy_set, policy_recipe),
            AgentLimits(),
            IngestOptions(workers=workers, ocr=ocr.value),
            by.value,
            encoder_name(encoder, encoder_set),
            KernelChoice(kernel.value, device),
            read_only=read_only,
            owed={first: [path.absolute() for path in paths]} if paths and first else {},
            runs=runs,
        )
        return create_app(service, token, [web_router(), router], is_public)

    def ready(url: str) -> None:
        if open_ and _has_browser():
            webbrowser.open(f"{url}/#/documents?{urlencode({'corpus': first})}" if first else url)

    serve_app("app", made, host, port, AGENT_GRACE, token_file, "VRAG_TOKEN", ready)


def _for_paths(paths: list[Path], corpora: list[str] | None) -> str:
    """The corpus that they are indexed into, as the server calls it; made when there is none."""
    from vrag.cli.index import open_or_create

    chosen = corpora[0] if corpora else NEW
    for path in paths:
        if not path.expanduser().exists():
            raise UsageError(f"no such file or folder: {path}")
    open_or_create(chosen, paths, None).close()
    return corpus_folder(chosen).resolve().name


def _has_browser() -> bool:
    """Whether one can open beside the terminal, and not inside it."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
