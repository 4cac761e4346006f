"""Actions of one's own: what one is, what it may look at, and how it says that it can't be carried out.

    class Again:
        name = "again"
        about = "With <again></again> you see the whole page that was shown last once more."

        async def observe(self, content: str, scene: Scene) -> Observation:
            if scene.view is None:
                raise Refused("there is no page yet; search first")
            return Observation(kind="page", view=scene.whole(scene.view.page_id))

    environment = DocumentEnvironment(store, retriever, actions=[Again()])

A policy has to end its turn at the new tag too: give `stop_tags("again")` of `vrag.actions` to it, or to `GRPO`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from vrag.errors import CorpusError, DocumentError, InfrastructureError, UsageError
from vrag.geometry import ViewSpec, crop_view, page_view
from vrag.imports import imported
from vrag.protocols import PageStore, Retriever
from vrag.types import Box, Observation, Page, Task, View


class Refused(Exception):
    """An action that can't be carried out. The message is for the policy, which is corrected and may go on."""


@dataclass(frozen=True)
class Scene:
    """An episode as an action finds it. `view` is of the image shown last, None before the first; images are shown as
    `spec` says. `retriever` stays in the task's document where the environment's scope says so.
    """

    task: Task
    store: PageStore
    retriever: Retriever
    view: View | None
    spec: ViewSpec

    def whole(self, page_id: str) -> View:
        """The whole page. Raises `InfrastructureError` for one that the store can't give."""
        return page_view(stored(self.store, page_id), self.spec)

    def part(self, page_id: str, box: Box) -> View:
        """What a crop shows of `box`, in raw pixels of the page, by the rule of `crop_view`; raises as `whole`."""
        page = stored(self.store, page_id)
        pixels = self.whole(page_id).model_copy(update={"width": page.width, "height": page.height})
        return crop_view(page, pixels, box, self.spec.model_copy(update={"frame": "absolute"}))


class OwnAction(Protocol):
    """The policy writes `<name>content</name>` and is shown what `observe` gives, within the environment's budgets.

    `name` is the tag, in lower-case letters. `about` is a sentence that the prompt adds to its instructions. A view in
    the observation is shown as an image, and becomes the one that a crop acts on; `text` is shown before it. `observe`
    raises `Refused`, and `InfrastructureError` for what isn't the policy's fault.
    """

    name: str
    about: str

    async def observe(self, content: str, scene: Scene) -> Observation: ...


def own_action(name: str) -> OwnAction:
    """The action called "module:attribute", or made by what is called so. Raises `UsageError` for anything else."""
    found = imported(name, "action")
    made = found() if isinstance(found, type) else found
    if missing := [part for part in ("name", "about", "observe") if not hasattr(made, part)]:
        raise UsageError(f"action {name}: has no {' and no '.join(missing)}; see vrag.scene.OwnAction")
    return made


def by_name(actions: Sequence[OwnAction]) -> dict[str, OwnAction]:
    """Raises `UsageError` for two of one name."""
    names = [action.name for action in actions]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"two actions are called {twice[0]!r}; give each a name of its own")
    return dict(zip(names, actions, strict=True))


def stored(store: PageStore, page_id: str) -> Page:
    """Raises `InfrastructureError` for a page that the store can't give."""
    try:
        return store.page(page_id)
    except (CorpusError, DocumentError) as error:
        raise broken(page_id, error) from error


def broken(page_id: str, error: Exception) -> InfrastructureError:
    return InfrastructureError(f"page {page_id} can't be shown: {error}; index its document again")
