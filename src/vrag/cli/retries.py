"""What a person reads while a server is asked again."""

from __future__ import annotations

import logging
import re
import sys

_REPR = re.compile(r"(\w+)\((['\"])(.*)\2\)", re.DOTALL)


class Retries(logging.Handler):
    """Shows the records of stamina, whose message is a name and whose fields hold what happened."""

    def emit(self, record: logging.LogRecord) -> None:
        fields = vars(record)
        error = str(fields.get("stamina.caused_by", record.getMessage()))
        said = _REPR.fullmatch(error)
        what = said[3] or said[1] if said else error  # some errors are but a kind
        print(f"vrag: {what}; again in {fields.get('stamina.wait_for', 0)} s", file=sys.stderr)


def show_retries() -> None:
    """On stderr from now on, once."""
    logger = logging.getLogger("stamina")
    if not any(isinstance(handler, Retries) for handler in logger.handlers):
        logger.addHandler(Retries())
        logger.propagate = False
