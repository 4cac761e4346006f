"""Rendered views, shared between episodes: the samples of one group retrieve the same pages."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import TYPE_CHECKING, Generic, TypeVar

from vrag.geometry import render
from vrag.protocols import PageStore
from vrag.types import View

if TYPE_CHECKING:
    from PIL.Image import Image


K = TypeVar("K", bound=Hashable)
_Key = tuple[str, tuple[float, float, float, float], int, int]  # page, region, width, height


class ViewRenderer:
    """Views of a store's pages as images; the last `capacity` are kept (about 1.2 MB each at the paper's
    budget), and the last `pages` page images that they were cut from (about 10 MB each).

    Callers share the images and must not draw on them. Safe to use from several threads.
    """

    def __init__(self, store: PageStore, capacity: int = 64, pages: int = 4) -> None:
        self._store = store
        self._views: _Recent[_Key] = _Recent(capacity)
        self._pages: _Recent[str] = _Recent(pages)

    def image(self, view: View) -> Image:
        """RGB, `view.width` x `view.height`. Raises what the store and `vrag.geometry.render` raise."""
        key = (view.page_id, view.region.as_tuple(), view.width, view.height)
        return self._views.get(key, lambda: render(self.page(view.page_id), view))

    def page(self, page_id: str) -> Image:
        """The whole page at the size at which it is stored. Raises what the store raises."""
        return self._pages.get(page_id, lambda: self._store.image(page_id))


class _Recent(Generic[K]):
    """The images of the last `capacity` keys; two threads that miss at once both make theirs."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._images: OrderedDict[K, Image] = OrderedDict()
        self._lock = Lock()

    def get(self, key: K, make: Callable[[], Image]) -> Image:
        with self._lock:
            if (image := self._images.get(key)) is not None:
                self._images.move_to_end(key)
                return image
        image = make()
        with self._lock:
            self._images[key] = image
            while len(self._images) > self._capacity:
                self._images.popitem(last=False)
        return image
