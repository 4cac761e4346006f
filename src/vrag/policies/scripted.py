"""A policy that says what it was told to: for tests, also users' own, and for replaying a trajectory."""

from __future__ import annotations

from collections.abc import Sequence

from vrag.errors import UsageError
from vrag.types import Request, Sample


class ScriptedPolicy:
    """Every session gets `texts` in order.

    `requests` records what it was asked. Raises `UsageError` when an episode wants more than the script has.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = list(texts)
        self._spoken: dict[str, int] = {}
        self.requests: list[Request] = []
        self.closed: list[str] = []

    async def generate(self, request: Request) -> Sample:
        turn = self._spoken.get(request.session, 0)
        if turn >= len(self._texts):
            raise UsageError(
                f"session {request.session} asks for turn {turn + 1} of a script of {len(self._texts)}; "
                "add a turn or let the script end in <answer>"
            )
        self._spoken[request.session] = turn + 1
        self.requests.append(request)
        return Sample(text=self._texts[turn], finish="stop")

    def close(self, session: str) -> None:
        self._spoken.pop(session, None)
        self.closed.append(session)
