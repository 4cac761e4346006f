"""`vrag mcp`: search, view, crop and ask as tools of other agents, by stdio or HTTP."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from enum import Enum
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
    Port,
    TokenFile,
    named_extra,
    serve_app,
)
from vrag.kernels import KernelChoice

if TYPE_CHECKING:
    from fastapi import FastAPI

    from vrag.servers.agent.service import AgentService


class Transport(str, Enum):
    stdio = "stdio"
    http = "http"


def mcp(
    transport: Annotated[
        Transport, typer.Option(help="stdio, for a client that starts this command, or http, at /mcp.")
    ] = Transport.stdio,
    corpus: Corpora = None,
    policy: Annotated[str, typer.Option("--policy", "-p", help="Who answers `ask`; as of `vrag ask`.")] = EXTRACTIVE,
    policy_model: PolicyModel = None,
    policy_set: PolicySet = None,
    policy_recipe: PolicyRecipeName = None,
    host: Host = "127.0.0.1",
    port: Port = 8004,
    by: By = Way.auto,
    encoder: Encoder = None,
    encoder_set: EncoderSet = None,
    kernel: Kernel = KernelOption.auto,
    device: Device = None,
    episodes: Episodes = 4,
    max_queue: Annotated[int, typer.Option(min=0, help="Questions that wait; more are refused.")] = 16,
    timeout: EpisodeSeconds = 600.0,
    token_file: TokenFile = None,
) -> None:
    """Give other agents tools to search, view and crop pages, and to ask; see docs/mcp.md."""
    with named_extra("mcp"):
        from vrag.servers.agent.limits import AgentLimits
        from vrag.servers.mcp.server import create_app, serve_stdio
    from vrag.cli.agents import agent_service
    from vrag.corpus.options import IngestOptions

    limits = AgentLimits(episodes=episodes, waiting=max_queue, episode_seconds=timeout)

    def service() -> AgentService:
        policies = named_policies([policy], policy_model, policy_set, policy_recipe)
        name, chosen = encoder_name(encoder, encoder_set), KernelChoice(kernel.value, device)
        return agent_service(corpus or [], policies, limits, IngestOptions(), by.value, name, chosen, read_only=True)

    def made(token: str | None) -> FastAPI:
        return create_app(service(), token)

    if transport is Transport.http:
        serve_app("mcp", made, host, port, AGENT_GRACE, token_file, "VRAG_TOKEN")
    else:
        with suppress(KeyboardInterrupt):
            asyncio.run(serve_stdio(service()))
