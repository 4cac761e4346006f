"""The machine: cores, memory, GPUs, disk. Asked of the system alone, so that nothing heavy is imported."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

from vrag.corpus.options import IngestOptions
from vrag.corpus.paths import home
from vrag.types import Frozen

_SECONDS = 2.0  # that nvidia-smi may take


class Gpu(Frozen):
    name: str
    memory: int  # bytes
    free: int


class Machine(Frozen):
    """Sizes in bytes; None where the system doesn't say."""

    system: str
    python: str
    cores: int  # that this process may use
    memory: int | None
    memory_free: int | None
    gpus: list[Gpu]
    home: str  # where corpora are kept
    disk_free: int | None  # there


def machine() -> Machine:
    total, free = memory()
    return Machine(
        system=f"{platform.system()} {platform.release()} ({platform.machine()})",
        python=platform.python_version(),
        cores=IngestOptions().processes,
        memory=total,
        memory_free=free,
        gpus=gpus(),
        home=str(home()),
        disk_free=disk_free(home()),
    )


def memory(
    proc: Path = Path("/proc/meminfo"), limit: Path = Path("/sys/fs/cgroup/memory.max")
) -> tuple[int | None, int | None]:
    """(total, free); in a container no more than it may use."""
    try:
        rows = dict(line.split(":", 1) for line in proc.read_text(encoding="ascii").splitlines())
        total, free = (int(rows[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    except (OSError, ValueError, KeyError):
        return _pages_of_memory(), None
    try:
        most = int(limit.read_text(encoding="ascii"))
    except (OSError, ValueError):  # no container, or "max"
        return total, free
    return min(total, most), min(free, most)


def _pages_of_memory() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def gpus() -> list[Gpu]:
    """NVIDIA's, by its own tool; others aren't seen."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    query = [tool, "--query-gpu=name,memory.total,memory.free", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(query, capture_output=True, text=True, timeout=_SECONDS, check=True).stdout
        rows = [line.rsplit(",", 2) for line in said.splitlines() if line.strip()]
        return [Gpu(name=name.strip(), memory=int(total) << 20, free=int(free) << 20) for name, total, free in rows]
    except (OSError, subprocess.SubprocessError, ValueError):
        return []


def disk_free(folder: Path) -> int | None:
    """On the disk where `folder` is, or would be made."""
    place = next((one for one in (folder, *folder.absolute().parents) if one.exists()), None)
    try:
        return shutil.disk_usage(place).free if place else None
    except OSError:
        return None
