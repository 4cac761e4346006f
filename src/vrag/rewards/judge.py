"""Whether an answer is right, by a model: for answers that rules can't compare.

A judge is the answer term of a rubric: 1 or 0, or why it can't say, in which case the sample is masked and never
counts as wrong. What needs no model is said without one: no answer, an endless one, and one that is exactly right.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from vrag.chat import Chat, ChatSettings, NoReply
from vrag.corpus.paths import home
from vrag.episode import Episode, Judgement
from vrag.errors import DataError, InfrastructureError, UsageError, VragError
from vrag.rewards.answer import LONGEST, rule_reward
from vrag.rewards.judge_cache import VerdictCache
from vrag.rewards.judge_prompt import CORRECTION, VERSION, judge_prompt, read_verdict
from vrag.rewards.rubric import Value
from vrag.runs import content_key
from vrag.types import Frozen, Message, Sampling, Task

if TYPE_CHECKING:
    import httpx

KEY_VARIABLE = "VRAG_JUDGE_KEY"
NO_CACHE = "off"


class JudgeSettings(ChatSettings):
    """The judge of a run. `cache` is a file; by default one for all runs, in vrag's home."""

    key_variable: str = Field(default=KEY_VARIABLE, exclude=True)
    prompt: Literal["judge-v1"] = VERSION
    trust_exact: bool = True  # an answer that is exact by the rules is right without a call
    temperature: float = Field(default=0.0, ge=0)
    max_tokens: int = Field(default=512, ge=1)  # a model that thinks needs more
    cache: str | None = Field(default=None, exclude=True)  # "off": none


class Judged(Frozen):
    """What may have a judge."""

    judge: JudgeSettings | None = None


def opened(settings: JudgeSettings | None) -> AbstractContextManager[Judge | None]:
    """The judge of these settings; None, for rules, without settings."""
    return nullcontext() if settings is None else Judge(settings)


class Judge:
    """A `GroupScore`. Sets `judgement` of each episode. Close it, or use it as a context manager."""

    def __init__(
        self, settings: JudgeSettings, *, key: str | None = None, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        """The arguments are those of `vrag.chat.Chat`; raises `UsageError` as that does."""
        self.settings = settings
        self._chat = Chat(settings, what="judge", key=key, transport=transport)
        self._sampling = Sampling(temperature=settings.temperature, max_tokens=settings.max_tokens)
        self._cache = None
        if settings.cache != NO_CACHE:
            self._cache = VerdictCache(Path(settings.cache).expanduser() if settings.cache else home() / "judge.sqlite")

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._cache is not None:
            self._cache.close()

    async def __call__(self, group: Sequence[Episode]) -> list[Value]:
        """1, 0, or why it can't say, for the answer of each episode; the same answer is asked about once."""
        cases = {self._key(episode): episode for episode in reversed(group)}  # the first of equals is asked about
        first = dict(zip(cases, await asyncio.gather(*map(self._judged, cases.values())), strict=True))
        values: list[Value] = []
        for episode in group:
            judgement, why = first[self._key(episode)]
            same = episode is cases[self._key(episode)] or judgement.by == "rules"
            episode.judgement = judgement if same else Judgement(right=judgement.right, by="cache")
            values.append(why if judgement.right is None else float(judgement.right))
        return values

    async def check(self) -> None:
        """Ask about two plain answers. Raises `UsageError` when the model tells them wrongly, and `InfrastructureError`
        when the server doesn't answer: before hours of work are spent on samples without a reward.
        """
        task = Task(id="check", question="How many days are in a week?", answers=["7"])
        for answer, right in (("seven days", True), ("12", False)):
            judgement, why = await self._asked(task, answer)
            if why is not None:
                raise why
            if judgement.right is not right:
                raise UsageError(
                    f"{self._chat}: says {judgement.right} of the answer {answer!r}, reference '7', to "
                    f"{task.question!r}: choose a model that can judge"
                )

    def _key(self, episode: Episode) -> str:
        task, answer = episode.task, (episode.answer or "").strip()
        return content_key(task.question, task.answers, answer, self.settings.prompt, self.settings.model)

    async def _judged(self, episode: Episode) -> tuple[Judgement, VragError | None]:
        task, answer = episode.task, (episode.answer or "").strip()
        if not any(reference.strip() for reference in task.answers):
            return Judgement(right=None, by="rules"), DataError(f"task {task.id}: has no reference answer to judge by")
        if not answer or len(answer) > LONGEST:
            return Judgement(right=False, by="rules"), None
        if self.settings.trust_exact and rule_reward(answer, task.answers).correct:
            return Judgement(right=True, by="rules"), None
        key = self._key(episode)
        known = self._cache.get(key) if self._cache is not None else None
        if known is not None:
            return Judgement(right=known, by="cache"), None
        judgement, why = await self._asked(task, answer)
        if self._cache is not None and judgement.right is not None:
            self._cache.keep(key, judgement.right, self.settings.model)
        return judgement, why

    async def _asked(self, task: Task, answer: str) -> tuple[Judgement, InfrastructureError | None]:
        prompt = Message("user", [judge_prompt(task.question, task.answers, answer)])
        why = None
        try:
            reply = await self._chat.ask([prompt], self._sampling, _objection)
            right, usage = read_verdict(reply.text), reply.usage
        except NoReply as failure:
            right, usage, why = None, failure.usage, failure
        judgement = Judgement(
            right=right,
            by="model",
            calls=usage.calls,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
        )
        return judgement, why


def _objection(text: str) -> str | None:
    return CORRECTION if read_verdict(text) is None else None
