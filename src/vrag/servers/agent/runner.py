"""Episodes on an event loop of their own thread: a model that computes there holds up no request."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Runner:
    """Runs coroutines of the server's loop on another one. Works between `start` and `stop`."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._work, name="episodes", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """When nothing runs any more."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def _work(self) -> None:
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            self._loop.close()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` returns or raises. When it is cancelled it cancels `work`, and waits until that has ended."""
        here = asyncio.get_running_loop()
        ended: asyncio.Future[T] = here.create_future()
        tasks: list[asyncio.Task[T]] = []

        def begin() -> None:
            task = self._loop.create_task(work)
            task.add_done_callback(lambda done: here.call_soon_threadsafe(_hand_over, done, ended))
            tasks.append(task)

        self._loop.call_soon_threadsafe(begin)
        try:
            return await asyncio.shield(ended)
        except asyncio.CancelledError:
            if not ended.done():
                self._loop.call_soon_threadsafe(lambda: tasks[0].cancel())
                await asyncio.wait({ended})
            raise


def _hand_over(done: asyncio.Task[T], ended: asyncio.Future[T]) -> None:
    if done.cancelled():
        ended.cancel()
    elif (error := done.exception()) is not None:
        ended.set_exception(error)
        ended.exception()  # nobody may be left to ask for it
    else:
        ended.set_result(done.result())
