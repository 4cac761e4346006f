"""`python -m vrag.servers.health PORT`: is the server on this machine's PORT well? For health checks of containers.

Asks /health with the token of VRAG_TOKEN, as the servers want it. Exit code 0 when it answers 200; else 1, with the
reason on stderr. Imports nothing but the standard library: it runs every few seconds.
"""

from __future__ import annotations

import os
import sys
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

SECONDS = 5.0


def trouble(port: int, token: str | None, seconds: float = SECONDS) -> str | None:
    """Why the server on `port` can't be asked, or None. Never names the token."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    here = build_opener(ProxyHandler({}))  # no proxy stands between a machine and itself
    try:
        with here.open(Request(f"http://127.0.0.1:{port}/health", headers=headers), timeout=seconds):
            return None
    except HTTPError as error:
        hint = ": is VRAG_TOKEN the server's?" if error.code == 401 else ""
        return f"it answers {error.code}{hint}"
    except (OSError, HTTPException) as error:
        return f"no answer: {error}"


def main(args: list[str]) -> int:
    if len(args) != 1 or not args[0].isdigit():
        print("usage: python -m vrag.servers.health PORT", file=sys.stderr)
        return 2
    found = trouble(int(args[0]), os.environ.get("VRAG_TOKEN"))
    if found is not None:
        print(f"port {args[0]}: {found}", file=sys.stderr)
    return int(found is not None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
