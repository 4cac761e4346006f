"""What the verbs that serve an agent make of their options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vrag.corpus.options import IngestOptions
    from vrag.index.vectors import EncoderName
    from vrag.kernels import KernelChoice
    from vrag.policies.speaker import SpeakerOf
    from vrag.retriever import Way
    from vrag.servers.agent.limits import AgentLimits
    from vrag.servers.agent.service import AgentService


def agent_service(
    corpora: list[str],
    policies: dict[str, SpeakerOf],
    limits: AgentLimits,
    options: IngestOptions,
    by: Way,
    encoder: EncoderName | None,
    kernel: KernelChoice,
    *,
    read_only: bool,
    owed: Mapping[str, Sequence[Path]] | None = None,
    runs: Path | None = None,
) -> AgentService:
    """Over the corpora of these names or paths; all of the home where there are none. Raises as `chosen_corpora`.
    `owed` and `runs` as of `AgentService`.
    """
    from vrag.servers.agent.service import AgentService
    from vrag.servers.agent.shelf import Shelf, chosen_corpora
    from vrag.servers.engine import Engine
    from vrag.servers.serial import Encoders

    encoders = Encoders(encoder)
    shelf = Shelf(lambda folder: Engine(folder, by, kernel=kernel, encoders=encoders), chosen_corpora(corpora))
    return AgentService(shelf, policies, limits, options, read_only=read_only, owed=owed, runs=runs)
