"""One episode that tells what happens while it does."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from vrag.environment import DocumentEnvironment
from vrag.policies.speaker import Speaker
from vrag.protocols import PageStore, Policy, Retriever
from vrag.rollout import Limits, rollout
from vrag.servers.agent import events
from vrag.servers.agent.events import Event
from vrag.servers.agent.telling import Teller
from vrag.types import Request, Sample, Sampling, StopReason, Task, Turn
from vrag.views import ViewRenderer

FAILED = "a model server or the corpus failed; the server's log says why"
_log = logging.getLogger(__name__)

Tell = Callable[[Event], None]


@dataclass(frozen=True)
class Question:
    """`max_turns` None: as many as the policy's environment allows."""

    text: str
    max_turns: int | None = None
    sampling: Sampling = field(default_factory=lambda: Sampling(temperature=0.0))


async def play(
    id: str, question: Question, speaker: Speaker, store: PageStore, retriever: Retriever, corpus: str, tell: Tell
) -> StopReason:
    """Why it ended; all but that is told. Raises what is no failure of infrastructure."""
    config, teller = speaker.config, Teller(corpus, store)
    if question.max_turns is not None:
        config = config.model_copy(update={"max_turns": question.max_turns})
    heard = _Heard(speaker.policy, tell)

    def on_turn(turn: Turn) -> None:
        for event in teller.turn(heard.step, turn):
            tell(event)

    episode = await rollout(
        DocumentEnvironment(store, retriever, config, ViewRenderer(store, capacity=2, pages=1), speaker.actions),
        heard,
        speaker.codec,
        Task(id=id, question=question.text, source="ask"),
        Limits(),
        question.sampling,
        on_turn=on_turn,
    )
    if episode.error is not None:
        _log.warning("question %s failed: %s", id, episode.error)
        tell(events.Failed(code="infrastructure", message=FAILED))
    for event in teller.end(episode):
        tell(event)
    return episode.stop


class _Heard:
    """A `Policy` of one episode that says when it begins to speak."""

    def __init__(self, policy: Policy, tell: Tell) -> None:
        self._policy, self._tell, self.step = policy, tell, 0

    async def generate(self, request: Request) -> Sample:
        self.step += 1
        self._tell(events.StepStarted(step=self.step))
        return await self._policy.generate(request)

    def close(self, session: str) -> None:
        self._policy.close(session)
