"""Named places at which a crash test may kill the process, so that the kill falls where it is meant to.

`VRAG_KILL_AT=name` kills at the first pass of that point, `name:3` at the third. Without the variable a point
costs one dictionary look-up. Points are named `part.what-just-happened`.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

_passes: Counter[str] = Counter()


def killpoint(name: str) -> None:
    """Die by SIGKILL here if the environment says so."""
    target = os.environ.get("VRAG_KILL_AT")
    if not target:
        return
    wanted, _, count = target.partition(":")
    if wanted != name:
        return
    _passes[name] += 1
    if _passes[name] >= int(count or 1):
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
