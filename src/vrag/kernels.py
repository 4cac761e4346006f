"""Which kernel compares vectors: those of the index itself on the CPU, or torch's on a GPU."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from vrag.errors import UsageError

if TYPE_CHECKING:
    from vrag.index.maxsim import Kernel

KernelName = Literal["auto", "numba", "numpy", "torch"]


@dataclass(frozen=True)
class KernelChoice:
    """`auto` is torch where it finds a CUDA GPU, else numba where it is installed, else numpy. Of torch alone: `device`
    (None: the GPU if there is one, else the CPU) and `memory`, the bytes of it that vectors may keep (None: half of
    what is free).
    """

    name: KernelName = "auto"
    device: str | None = None
    memory: int | None = None

    @property
    def is_default(self) -> bool:
        return self == KernelChoice()

    def load(self) -> Kernel:
        """Raises `UsageError` for a library or a device that isn't there, and for settings that the kernel hasn't."""
        if self.name != "torch" and (self.device, self.memory) != (None, None):
            raise UsageError(f"a device is chosen for the torch kernel, not for {self.name!r}")
        if self.name == "torch" or (self.name == "auto" and _has_gpu()):
            return self._torch()
        from vrag.index import maxsim  # numpy, which a search of text needs not

        return maxsim.kernel(self.name)

    def _torch(self) -> Kernel:
        if not find_spec("torch"):
            raise UsageError("torch isn't installed: pip install 'vrag[encoders]', or choose another kernel")
        from vrag.maxsim_torch import TorchMaxSim

        return TorchMaxSim(self.device or ("cuda" if _has_gpu() else "cpu"), self.memory)


def _has_gpu() -> bool:
    if not find_spec("torch"):
        return False
    import torch

    return torch.cuda.is_available()
