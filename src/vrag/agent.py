"""A policy over a corpus, for Python: `Agent(corpus).ask(question)`, with the page and the box of the answer.

`vrag ask` is this in a terminal, and `vrag.app.evaluation` asks it many questions. Everything is opened once and
serves any number of questions.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from vrag.blocking import run_blocking
from vrag.corpus.store import Corpus
from vrag.environment import DocumentEnvironment, EnvironmentConfig
from vrag.episode import Episode
from vrag.errors import InfrastructureError, UsageError
from vrag.evidence import evidence_pictures, save_pictures
from vrag.locate import Located, locate, says_none
from vrag.policies.served import ServedSettings
from vrag.policies.speaker import Speaker, speaker
from vrag.protocols import PageStore, Retriever
from vrag.retriever import open_retriever
from vrag.rollout import Limits, OnTurn, rollout
from vrag.types import Evidence, Hit, Sampling, Task, Turn
from vrag.views import ViewRenderer

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Reply:
    """An answer and how it came about. `found` is where it stands; None if it stands nowhere: no page was shown,
    or there is no answer, or it says that there is none.
    """

    episode: Episode
    found: Located | None
    store: PageStore

    @property
    def text(self) -> str | None:
        """None where the episode ended without an answer: `episode.stop` says why."""
        return self.episode.answer

    @property
    def answered(self) -> bool:
        """Whether there is an answer, and not one that says that there is none."""
        return self.text is not None and not says_none(self.text)

    @property
    def turns(self) -> list[Turn]:
        """Its steps: thought, action, and what the policy was shown."""
        return self.episode.turns

    @property
    def evidence(self) -> Evidence | None:
        """Document, page and box, in fractions of the page."""
        return self.found.evidence if self.found else None

    def page_image(self) -> Image | None:
        """The page at the size at which it is stored, with the box drawn on it, RGB."""
        return self._pictures().get("page")

    def crop_image(self) -> Image | None:
        """What the box holds, cut from the stored page; None where the answer came from the whole page."""
        return self._pictures().get("crop")

    def save(self, folder: str | Path) -> dict[str, Path]:
        """Write page.png and crop.png, as far as there are such, in place of those of an earlier question; raises as
        `vrag.evidence.save_pictures`.
        """
        return save_pictures(self._pictures(), Path(folder))

    def _pictures(self) -> dict[str, Image]:
        return evidence_pictures(self.found, self.store) if self.found else {}


class Agent:
    """Searches one corpus and answers from it. The corpus stays the caller's to close."""

    def __init__(
        self, corpus: Corpus, policy: str | ServedSettings | Speaker = "extractive", retriever: Retriever | None = None
    ) -> None:
        """`policy`: "extractive" (no model), "tiny", "tiny-sft", a checkpoint's folder or name, one of your own as
        "module:attribute", a model behind a URL (`ServedSettings(url=…, model=…)`), or a `Speaker` around one's own.
        `retriever`: by default that of `open_retriever(corpus)`. Raises what loading them raises, and `UsageError` for
        the name of a corpus.
        """
        if isinstance(cast(object, corpus), (str, Path)):
            raise UsageError(f"an agent needs a corpus that is open: Agent(Corpus.open({str(corpus)!r}))")
        self.corpus = corpus
        self.speaker = policy if isinstance(policy, Speaker) else _speaker(policy, corpus)
        self.environment: EnvironmentConfig = self.speaker.config
        self.retriever = retriever or open_retriever(corpus)
        self._renderer = ViewRenderer(corpus)

    def within(self, environment: EnvironmentConfig) -> Agent:
        """The same policy in another environment, such as one of `vrag.evaluation.baselines.baseline_environment`."""
        other = copy.copy(self)
        other.environment = environment
        return other

    def make_environment(self) -> DocumentEnvironment:
        """For one episode; all share the pages that were rendered."""
        actions = self.speaker.actions
        return DocumentEnvironment(self.corpus, self.retriever, self.environment, self._renderer, actions)

    def search(self, query: str, k: int = 10) -> list[Hit]:
        """The `k` best pages, best first. Raises `InfrastructureError` when the search can't answer."""
        return run_blocking(self.retriever.search(query, k))

    def ask(self, question: str, *, on_turn: OnTurn | None = None) -> Reply:
        """Answer greedily; `on_turn` gets each step as it happens. Raises `InfrastructureError` where a model server or
        the corpus failed, and `UsageError` for an empty question.
        """
        if not question.strip():
            raise UsageError("the question is empty")
        task = Task(id="ask", question=question, source="ask")
        greedy = Sampling(temperature=0.0)
        policy, codec = self.speaker.policy, self.speaker.codec
        episode = run_blocking(rollout(self.make_environment(), policy, codec, task, Limits(), greedy, on_turn=on_turn))
        if episode.error is not None:
            raise InfrastructureError(episode.error)
        return Reply(episode, locate(episode.turns, episode.answer, self.corpus), self.corpus)


def _speaker(policy: str | ServedSettings, corpus: Corpus) -> Speaker:
    if isinstance(policy, ServedSettings):
        return speaker(policy.model, corpus, policy)
    if "://" in policy:
        raise UsageError(f"how is the model at {policy} called? Give ServedSettings(url=…, model=…) as the policy")
    return speaker(policy, corpus)
