"""A Ray to work on: one that runs, or one that is started here and ends with the run."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from vrag.errors import InfrastructureError, UsageError
from vrag.types import Frozen

LOCAL = "local"
_LEAST_STORE = 80 << 20  # bytes; Ray takes no fewer


class RaySettings(Frozen):
    """Settings of a run on Ray. `encoders`: most at once; 0: one for each GPU that they get, or one where there is no
    GPU. `encoder_gpus`: of one encoder, also a part of one; None: one where there are any. `object_store`: bytes of
    shared memory of a Ray that is started here.
    """

    encoders: int = Field(default=0, ge=0)
    encoder_gpus: float | None = Field(default=None, ge=0)
    encoder_cpus: int = Field(default=1, ge=1)  # without a GPU
    object_store: int = Field(default=256 << 20, ge=_LEAST_STORE)


@dataclass(frozen=True)
class Session:
    """What the machines of a Ray have: all together, and the largest. `workers`: most CPUs to read with; 0: all."""

    settings: RaySettings
    cpus: int
    node_cpus: int
    gpus: float
    node_gpus: float
    workers: int = 0

    @property
    def readers(self) -> int:
        return min(self.workers, self.cpus) if self.workers else self.cpus

    def encoder(self) -> tuple[int, float, float]:
        """How many encoders at most, and CPUs and GPUs of each. Raises `UsageError` when no machine has so many."""
        wanted = self.settings.encoder_gpus
        gpus = min(1.0, self.node_gpus) if wanted is None else wanted
        cpus = 0 if gpus else self.settings.encoder_cpus
        if gpus > self.node_gpus or cpus > self.node_cpus:
            raise UsageError(
                f"an encoder wants {gpus:g} GPUs and {cpus} CPUs of one machine, and the largest of this Ray has"
                f" {self.node_gpus:g} and {self.node_cpus}: set encoder_gpus and encoder_cpus, or add machines first"
            )
        fit = int(self.gpus / gpus) if gpus else self.cpus // cpus
        return max(1, min(fit, self.settings.encoders or (fit if gpus else 1))), cpus, gpus


def require() -> None:
    """Raises `UsageError` when the extra isn't installed."""
    try:
        import ray.data  # noqa: F401  # pyright: ignore[reportUnusedImport, reportMissingImports]
    except ImportError as error:
        raise UsageError(f"indexing over many machines needs Ray: pip install 'vrag[ray]' ({error})") from error


@contextmanager
def session(address: str, settings: RaySettings, workers: int = 0, cores: int = 1) -> Generator[Session]:
    """The Ray at `address`: HOST:PORT, "auto" for the one that this machine belongs to, or "local" for one of `cores`
    that is started here. A Ray that this process has joined before is used as it is, and stays.

    Raises `UsageError` when the extra isn't installed, `InfrastructureError` when the Ray doesn't answer.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what goes wrong comes as an exception
    require()
    import ray  # pyright: ignore[reportMissingImports]

    joined = ray.is_initialized()
    if not joined:
        _join(address, settings, cores)
    try:
        with _quiet():
            yield _session(settings, workers)
    finally:
        if not joined:
            ray.shutdown()


def _join(address: str, settings: RaySettings, cores: int) -> None:
    import ray  # pyright: ignore[reportMissingImports]

    own: dict[str, Any] = {}
    if address == LOCAL:
        own = {"num_cpus": cores, "include_dashboard": False, "object_store_memory": settings.object_store}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise InfrastructureError(
            f"no Ray at {address!r} ({error}): start one with `ray start --head`, or use {LOCAL!r}"
        ) from error


def _session(settings: RaySettings, workers: int) -> Session:
    import ray  # pyright: ignore[reportMissingImports]

    nodes: list[dict[str, float]] = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cpus, gpus = ([node.get(kind, 0.0) for node in nodes] for kind in ("CPU", "GPU"))
    if not any(cpus):
        raise UsageError("no machine of this Ray has a CPU to work with: add one that has")
    return Session(settings, int(sum(cpus)), int(max(cpus)), sum(gpus), max(gpus), workers)


@contextmanager
def _quiet() -> Generator[None]:
    """Progress is ours to show."""
    from ray.data import DataContext  # pyright: ignore[reportMissingImports]

    context, log = DataContext.get_current(), logging.getLogger("ray.data")
    before = context.enable_progress_bars, context.print_on_execution_start, log.level
    context.enable_progress_bars, context.print_on_execution_start = False, False
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        context.enable_progress_bars, context.print_on_execution_start = before[:2]
        log.setLevel(before[2])
