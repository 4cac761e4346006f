"""A user's own code by its name, "module:attribute", as the command line and recipes take it."""

from __future__ import annotations

import importlib
import re
from typing import Any

from vrag.errors import UsageError


def is_import_name(text: str) -> bool:
    return re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", text) is not None


def imported(name: str, what: str) -> Any:
    """The attribute of the module; it is the user's code and runs as the user. Raises `UsageError`, beginning with
    `what` it is to be, where there is none.
    """
    module, _, attribute = name.partition(":")
    hint = "write module:attribute of what Python can import (for a file here: PYTHONPATH=.)"
    if not is_import_name(name):
        raise UsageError(f"{what} {name!r}: {hint}")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as failure:
        raise UsageError(f"{what} {name}: {failure}; {hint}") from failure
