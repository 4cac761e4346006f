"""Rendered views, shared between episodes: the samples of one group retrieve the same pages."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING

from vrag.geometry import render
from vrag.protocols import PageStore
from vrag.types import View

if TYPE_CHECKING:
    from PIL.Image import Image


_Key = tuple[str, tuple[float, float, float, float], int, int]  # page, region, width, height


class ViewRenderer:
    """Views of a store's pages as images; the last `capacity` are kept (about 1.2 MB each at the paper's
    budget).

    Callers share the images and must not draw on them. Safe to use from several threads.
    """

    def __init__(self, store: PageStore, capacity: int = 64) -> None:
        self._store = store
        self._capacity = capacity
        self._images: OrderedDict[_Key, Image] = OrderedDict()
        self._lock = Lock()

    def image(self, view: View) -> Image:
        """RGB, `view.width` x `view.height`. Raises what the store and `vrag.geometry.render` raise."""
        key = (view.page_id, view.region.as_tuple(), view.width, view.height)
        with self._lock:
            if (image := self._images.get(key)) is not None:
                self._images.move_to_end(key)
                return image
        image = render(self._store.image(view.page_id), view)
        with self._lock:
            self._images[key] = image
            while len(self._images) > self._capacity:
                self._images.popitem(last=False)
        return image
