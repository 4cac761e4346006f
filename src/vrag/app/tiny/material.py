"""What tower and lessons of vrag-tiny learn from: the pages of many documents, most of which no agent searches.

A page that is seen five times is known by heart, and so is where its values stand; on one that isn't, boxes miss.
Further documents cost seconds, further steps hours. They lie in worlds of their own, for within one all names and codes
differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from PIL.Image import Image

from vrag.app.splits import SplitData, open_split, view_renderer
from vrag.app.tiny.recipe import TinyRecipe
from vrag.codecs.qwen_vl import QwenVLCodec
from vrag.corpus.store import Corpus
from vrag.data.kinds import at_most
from vrag.data.lessons import PageLessons
from vrag.data.patches import PatchReader
from vrag.data.sights import PageSights, labels_of
from vrag.data.synthetic import SyntheticSpec
from vrag.environment import EnvironmentConfig
from vrag.protocols import PageStore
from vrag.types import Page, Task, Word
from vrag.views import ViewRenderer


@dataclass(frozen=True)
class Material:
    """Pages of all worlds, and the tasks about them."""

    recipe: TinyRecipe
    environment: EnvironmentConfig
    pages: list[Page]
    tasks: list[Task]
    store: PageStore
    renderer: ViewRenderer

    def sights(self, codec: QwenVLCodec, layout_pages: int) -> PageSights:
        """To learn to see from: so many pages of each layout, at most."""
        pages, reader = self._varied(layout_pages), self._reader(codec)
        spec, seed = self.environment.view, self.recipe.seed
        return PageSights(self.store, pages, self.tasks, reader, spec, kinds=self._kinds, seed=seed)

    def lessons(self, codec: QwenVLCodec) -> PageLessons:
        """About the same pages."""
        pages, reader = self._varied(self.recipe.layout_pages), self._reader(codec)
        spec, prompt = self.environment.view, self.environment.prompt
        return PageLessons(pages, self.tasks, codec, reader, spec, self.renderer, kinds=self._kinds, prompt=prompt)

    @cached_property
    def labels(self) -> list[str]:
        """The words by which values are sought."""
        return labels_of(self.tasks)

    def _reader(self, codec: QwenVLCodec) -> PatchReader:
        return PatchReader(codec.tokenizer, self.labels, self.environment.view, self.recipe.expert)

    def _varied(self, layout_pages: int) -> list[Page]:
        """The first pages of each layout."""
        return at_most(layout_pages, ((self._kinds.get(page.id, ""), page) for page in self.pages))

    @cached_property
    def _kinds(self) -> dict[str, str]:
        """Layouts by page id, as far as the tasks tell."""
        found = {
            gold.ref: str(name)
            for task in self.tasks
            for gold, name in zip(task.gold, task.meta["layouts"], strict=True)
        }
        return {page.id: found[page.ref] for page in self.pages if page.ref in found}


def gather(recipe: TinyRecipe, train: SplitData, spec: SyntheticSpec, out: Path) -> Material:
    """The pages of `train`, which `spec` made, and of as many further worlds as the recipe wants, made where they are
    missing.
    """
    firsts = [spec.first + number * spec.documents for number in range(1, recipe.worlds)]
    further = [
        open_split(spec.model_copy(update={"first": first}), recipe.dpi, train.environment, out) for first in firsts
    ]
    worlds = [train, *further]
    pages = [page for world in worlds for page in world.corpus.pages()]
    tasks = [task for world in worlds for task in world.tasks]
    if not further:
        return Material(recipe, train.environment, pages, tasks, train.corpus, train.renderer)
    store = Stores([world.corpus for world in worlds])
    return Material(recipe, train.environment, pages, tasks, store, view_renderer(store))


class Stores:
    """The `PageStore` of several corpora: ids are content, so a page is the same wherever it lies."""

    def __init__(self, corpora: Sequence[Corpus]) -> None:
        self._first = corpora[0]
        self._homes = {page: corpus for corpus in corpora for page in corpus.page_ids()}

    def page(self, page_id: str) -> Page:
        return self._home(page_id).page(page_id)

    def image(self, page_id: str) -> Image:
        return self._home(page_id).image(page_id)

    def words(self, page_id: str) -> Sequence[Word]:
        return self._home(page_id).words(page_id)

    def _home(self, page_id: str) -> Corpus:
        return self._homes.get(page_id, self._first)  # which says that it has no such page
