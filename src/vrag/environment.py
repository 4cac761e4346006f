"""One episode's world: retrieves pages, shows and crops them, and says what is wrong with an action.

Knows no tokens and no engine (`vrag.rollout` does). The paper's rollout (algorithm 1) with what it leaves
open decided: every outcome is an observation or a typed stop, so an episode always ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field, model_validator

from vrag.actions import ACTIONS, custom, defuse, parse
from vrag.errors import CorpusError, DocumentError, UsageError
from vrag.fusion import within
from vrag.geometry import ViewSpec, crop_view, extent, page_view
from vrag.prompts import (
    ALL_SEEN,
    INVERTED,
    NO_IMAGE,
    NO_PAGE,
    NOTHING_FOUND,
    PROMPTS,
    invalid_action,
    outside,
    page_text,
)
from vrag.protocols import PageStore, Retriever
from vrag.scene import OwnAction, Refused, Scene, broken, by_name, stored
from vrag.types import (
    Action,
    Answer,
    Box,
    Crop,
    Custom,
    Frozen,
    Hit,
    ImagePart,
    Message,
    Observation,
    Search,
    Step,
    StopReason,
    Task,
    Turn,
    View,
)
from vrag.views import ViewRenderer

ActionName = Literal["search", "bbox", "answer"]
CropsOf = Literal["image", "page"]  # what a box is written over: the last image, or the last page
_FIRST = {"search": ACTIONS["search"]}  # what the environment itself may do before the policy speaks


class EnvironmentConfig(Frozen):
    """What an episode may do and see. The defaults are the paper's training setting.

    `max_turns` generations get an observation. With `final_turn` (the reference code trains so) one more
    generation follows, of which only an answer counts; without it the last of the `max_turns` must be the
    answer. `max_invalid` invalid actions in a row are each corrected; one more ends the episode.
    `max_pixels` bounds the pixels of all views of an episode together. `crop_padding` is in pixels of the
    view that is cropped.

    A search asks for `top_k` pages and shows the best `pages` that weren't seen, as images, or as at most `max_text`
    characters of the text of each. With `first_search` the environment searches for the question before the policy
    speaks; that turn counts for no limit of turns.

    A box is written over the last image (`crops_of` "image", the paper's), so that crops nest; or always over the page
    that was shown last ("page"), so that one that missed can be drawn again.

    With `scope` "document" a search is among the pages of the task's own document alone, as questions about one long
    document are asked.
    """

    view: ViewSpec = ViewSpec()
    top_k: int = Field(default=10, ge=1)
    prompt: str = "vrag-v1"
    actions: tuple[ActionName, ...] = ("search", "bbox", "answer")
    max_turns: int = Field(default=4, ge=1)
    final_turn: bool = True
    max_invalid: int = Field(default=2, ge=0)
    max_pixels: int | None = Field(default=None, ge=1)
    crop_padding: float = Field(default=0, ge=0)
    crops_of: CropsOf = "image"
    pages: int = Field(default=1, ge=1)
    show: Literal["image", "text"] = "image"
    max_text: int = Field(default=4000, ge=1)
    first_search: bool = False
    scope: Literal["corpus", "document"] = "corpus"

    @model_validator(mode="after")
    def _prompt_fits_actions(self) -> EnvironmentConfig:
        if self.prompt not in PROMPTS:
            raise ValueError(f"no prompt {self.prompt!r}; there are {', '.join(PROMPTS)}")
        if "answer" not in self.actions:
            raise ValueError("actions must hold 'answer': nothing else finishes an episode")
        if extra := PROMPTS[self.prompt].actions - set(self.actions):
            raise ValueError(f"prompt {self.prompt!r} teaches {sorted(extra)}, which actions doesn't allow")
        return self

    @model_validator(mode="after")
    def _shows_what_it_can(self) -> EnvironmentConfig:
        if self.pages > self.top_k:
            raise ValueError(f"a search of top_k {self.top_k} can't show pages {self.pages}: raise top_k")
        if self.show == "text" and "bbox" in self.actions:
            raise ValueError("actions can't hold 'bbox' where show is 'text': there is no image to crop")
        return self


class DocumentEnvironment:
    """The `Environment` over a corpus. One instance per episode; `reset` starts it.

    A crop acts on the last image shown, page or crop (nested crops), or on the last page, as `config.crops_of` says.
    `renderer` is shared between the environments of one run to spare rendering what siblings have seen. Errors of the
    retriever propagate as `InfrastructureError`; a page that the store can't give becomes one.

    `actions` are of one's own, beside those of `config`. Raises `UsageError` for a name that can't be a tag, or twice.
    """

    def __init__(
        self,
        store: PageStore,
        retriever: Retriever,
        config: EnvironmentConfig | None = None,
        renderer: ViewRenderer | None = None,
        actions: Sequence[OwnAction] = (),
    ) -> None:
        self.config = config or EnvironmentConfig()
        self._store = store
        self._retriever = retriever
        self._renderer = renderer or ViewRenderer(store, capacity=4)
        self._own = by_name(actions)
        self._actions = {name: ACTIONS[name] for name in self.config.actions} | {n: custom(n) for n in self._own}
        self._search_in = retriever
        self._start()

    def _start(self) -> None:
        self._seen: set[str] = set()
        self._view: View | None = None  # of the last image
        self._cropped: View | None = None  # what a crop acts on
        self._generations = 0
        self._invalid = 0
        self._pixels = 0
        self._opening = self.config.first_search

    def reset(self, task: Task) -> list[Message]:
        """Forget everything and pose `task`: one user message, as the paper's checkpoint was trained on, and the
        search for the question itself with `first_search`. Raises `UsageError` for a task without a document, or a
        retriever that can't, where `scope` is "document".
        """
        self._start()
        self._task, self._search_in = task, self._scoped(task)
        about = [action.about for action in self._own.values()]
        prompt = Message("user", [PROMPTS[self.config.prompt].text(task.question, about)])
        if not self.config.first_search:
            return [prompt]
        return [prompt, Message("assistant", [f"<search>{defuse(task.question)}</search>"])]

    def _scoped(self, task: Task) -> Retriever:
        if self.config.scope == "corpus":
            return self._retriever
        return within(self._retriever, own_document(task))

    async def step(self, text: str) -> Step:
        """Carry out one generation. Never raises for anything that `text` says."""
        opening, self._opening = self._opening, False
        self._generations += not opening
        parsed = parse(text, _FIRST if opening else self._actions)
        turn = Turn(text=text, thought=parsed.thought)
        try:
            if parsed.action is None:
                raise Refused(parsed.error)
            turn = turn.model_copy(update={"action": parsed.action})
            if isinstance(parsed.action, Answer):
                return Step(turn, [], StopReason.ANSWER)
            if self._is_last():
                return Step(turn, [], StopReason.TURNS)
            observation = await self._observe(parsed.action)
        except Refused as reason:
            return self._correct(turn.model_copy(update={"action": None, "error": str(reason)}))
        self._invalid = 0
        return self._show(turn, observation)

    def _is_last(self) -> bool:
        return self._generations >= self.config.max_turns + self.config.final_turn

    async def _observe(self, action: Action) -> Observation:
        match action:
            case Search():
                return await self._search(action.query)
            case Crop():
                return self._crop(action.box)
            case Custom():
                scene = Scene(self._task, self._store, self._search_in, self._view, self.config.view)
                return await self._own[action.name].observe(action.content, scene)
            case Answer():
                raise AssertionError("an answer has no observation")

    async def _search(self, query: str) -> Observation:
        hits = await self._search_in.search(query, self.config.top_k)
        unseen = list({hit.page_id: hit for hit in hits if hit.page_id not in self._seen}.values())
        if not unseen:
            nothing = NOTHING_FOUND if "search" in self._actions else NO_PAGE
            return Observation(kind="message", text=ALL_SEEN if hits else nothing, hits=hits)
        return self._found(unseen[: self.config.pages], hits)

    def _found(self, best: list[Hit], hits: list[Hit]) -> Observation:
        pages = [stored(self._store, hit.page_id) for hit in best]
        if self.config.show == "text":
            text = "\n\n".join(page_text(page, self.config.max_text, self._own) for page in pages)
            return Observation(kind="page", text=text, read=best, hits=hits)
        *before, last = [page_view(page, self.config.view) for page in pages]
        return Observation(kind="page", view=last, before=before, hits=hits)

    def _image(self, view: View) -> ImagePart:
        try:
            return ImagePart(self._renderer.image(view), view)
        except (CorpusError, DocumentError) as error:
            raise broken(view.page_id, error) from error

    def _crop(self, box: Box) -> Observation:
        if self._cropped is None:
            raise Refused(NO_IMAGE)
        if not (box.x2 > box.x1 and box.y2 > box.y1):
            raise Refused(INVERTED)
        width, height = extent(self._cropped, self.config.view.frame)
        if box.x1 < 0 or box.y1 < 0 or box.x1 >= width or box.y1 >= height:
            raise Refused(outside(box, width, height))
        page = stored(self._store, self._cropped.page_id)
        view = crop_view(page, self._cropped, box, self.config.view, self.config.crop_padding)
        return Observation(kind="crop", view=view)

    def _show(self, turn: Turn, observation: Observation) -> Step:
        """The reply to a valid action, within the pixel budget."""
        self._seen.update(hit.page_id for hit in observation.read)
        views = observation.views
        if not views:
            return self._reply(turn, observation, observation.text)
        pixels = self._pixels + sum(view.width * view.height for view in views)
        if self.config.max_pixels is not None and pixels > self.config.max_pixels:
            unseen = Observation(kind="message", hits=observation.hits)
            return Step(turn.model_copy(update={"observation": unseen}), [], StopReason.PIXELS)
        self._pixels, self._view = pixels, views[-1]
        if croppable(observation, self.config.crops_of):
            self._cropped = views[-1]
        self._seen.update(view.page_id for view in views)
        said = [observation.text] if observation.text else []
        return self._reply(turn, observation, *said, *map(self._image, views))

    def _correct(self, turn: Turn) -> Step:
        """The reply to an invalid action."""
        self._invalid += 1
        if self._invalid > self.config.max_invalid:
            return Step(turn, [], StopReason.INVALID)
        if self._is_last():
            return Step(turn, [], StopReason.TURNS)
        text = invalid_action(turn.error or "", self._actions.values())
        return self._reply(turn, Observation(kind="message", text=text), text)

    def _reply(self, turn: Turn, observation: Observation, *parts: str | ImagePart) -> Step:
        return Step(turn.model_copy(update={"observation": observation}), [Message("user", list(parts))])


def croppable(seen: Observation, of: CropsOf) -> bool:
    """Whether the image of `seen` becomes the one that boxes are written over."""
    return of == "image" or seen.kind == "page"


def own_document(task: Task) -> str:
    """Raises `UsageError` for a task that has none."""
    if task.document is None:
        raise UsageError(f"task {task.id} names no document to search alone: search the whole corpus, or give it one")
    return task.document
