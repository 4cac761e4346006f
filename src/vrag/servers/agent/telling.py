"""What happened in an episode → events."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from vrag.episode import Episode
from vrag.errors import CorpusError
from vrag.locate import Located, locate, says_none
from vrag.protocols import PageStore
from vrag.servers.agent import events
from vrag.servers.agent.events import Event
from vrag.servers.agent.places import EvidencePlace, hit_place, image_path, place
from vrag.types import Answer, Crop, Custom, Observation, Search, Turn, View


@dataclass(frozen=True)
class Teller:
    """Of episodes over the corpus that the server calls `corpus`."""

    corpus: str
    store: PageStore

    def turn(self, step: int, turn: Turn) -> list[Event]:
        """All but the answer, whose evidence is found at the end. Raises as the store does."""
        told: list[Event] = [events.Thought(step=step, text=turn.thought)] if turn.thought else []
        match turn.action:
            case Search():
                told.append(events.Query(step=step, query=turn.action.query))
            case Crop():
                told.append(events.BoxDrawn(step=step, written=turn.action.box))
            case Custom():
                told.append(events.Acted(step=step, name=turn.action.name, content=turn.action.content))
            case Answer():
                return told
            case None:
                return [*told, events.InvalidAction(step=step, reason=turn.error or "", text=turn.text)]
        return [*told, *self._seen(step, turn.observation)] if turn.observation else told

    def end(self, episode: Episode) -> list[Event]:
        """The answer, if there is one, and what it cost."""
        told: list[Event] = []
        if episode.answer is not None:
            told.append(self.answer(episode.turns, episode.answer))
        return [*told, _spent(episode)]

    def answer(self, turns: Sequence[Turn], text: str) -> Event:
        """With where it stands, where the corpus still has the page."""
        evidence = None
        with suppress(CorpusError):
            found = locate(turns, text, self.store)
            evidence = self._evidence(found) if found else None
        return events.Answered(text=text, evidence=evidence, found=not says_none(text))

    def _seen(self, step: int, seen: Observation) -> list[Event]:
        if seen.kind == "crop" and seen.view is not None:
            return [self._crop(step, seen.view)]
        told: list[Event] = []
        if seen.hits:
            told.append(events.FoundPages(step=step, hits=[hit_place(self.corpus, hit) for hit in seen.hits]))
        scores = {hit.page_id: hit.score for hit in seen.hits}
        for shown in seen.views or seen.read:
            page = place(self.corpus, shown.page_id, shown.ref)
            form = "image" if isinstance(shown, View) else "text"
            told.append(events.PageShown(step=step, page=page, score=scores.get(shown.page_id), shown=form))
        if seen.kind == "message" and seen.text:
            told.append(events.Told(step=step, text=seen.text))
        return told

    def _crop(self, step: int, view: View) -> Event:
        page = self.store.page(view.page_id)
        box = view.region.scaled(1 / page.width, 1 / page.height)
        return events.CropShown(
            step=step,
            page=place(self.corpus, view.page_id, view.ref),
            box=box,
            pixels=view.region,
            crop=image_path(self.corpus, view.page_id, box),
        )

    def _evidence(self, found: Located) -> EvidencePlace:
        page, box = found.page, found.evidence.box
        return EvidencePlace(
            **place(self.corpus, page.id, found.evidence.ref).model_dump(),
            box=box,
            pixels=found.region,
            width=page.width,
            height=page.height,
            crop=image_path(self.corpus, page.id, box),
        )


def _spent(episode: Episode) -> events.Spent:
    if episode.usage is not None:
        return events.Spent(**episode.usage.model_dump())
    if episode.tokens is None:
        return events.Spent()
    sampled = sum(episode.tokens.loss_mask)
    return events.Spent(prompt_tokens=len(episode.tokens.ids) - sampled, completion_tokens=sampled)
