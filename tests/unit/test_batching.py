"""What arrives together is answered together, and never more than is admitted."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest

from vrag.errors import InfrastructureError
from vrag.servers.batching import Batcher, QueueFull

LONG = 3600.0  # s: a window that only a full batch ends


class Shouter:
    """Answers in capitals, but not before `go` is set; records its batches."""

    def __init__(self, open: bool = True) -> None:
        self.batches: list[tuple[str, list[str]]] = []
        self.go, self.begun = asyncio.Event(), asyncio.Event()
        if open:
            self.go.set()

    async def __call__(self, key: str, items: Sequence[str]) -> list[str]:
        self.batches.append((key, list(items)))
        self.begun.set()
        await self.go.wait()
        if "bad" in items:
            raise InfrastructureError("one of them is bad")
        return [item.upper() for item in items]


def batcher(run: Any, **more: Any) -> Batcher[str, str, str]:
    return Batcher(run, **{"max_batch": 4, "max_queue": 8, "window": 0.0, "workers": 1, **more})


def done(work: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(work, 10)

    asyncio.run(bounded())


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_what_waits_together_is_answered_in_one_call_and_in_order():
    async def story() -> None:
        run = Shouter()
        async with batcher(run, window=LONG) as queue:
            answers = await asyncio.gather(*(queue.submit("k", [word]) for word in ("a", "b", "c", "d")))
        assert answers == [["A"], ["B"], ["C"], ["D"]]
        assert run.batches == [("k", ["a", "b", "c", "d"])]

    done(story())


def test_the_first_of_a_batch_waits_no_longer_than_the_window():
    async def story() -> None:
        async with batcher(Shouter(), window=0.001) as queue:
            assert await queue.submit("k", ["alone"]) == ["ALONE"]

    done(story())


def test_what_arrives_while_a_batch_runs_is_the_next_batch():
    async def story() -> None:
        run = Shouter(open=False)
        async with batcher(run) as queue:
            first = asyncio.create_task(queue.submit("k", ["a"]))
            await run.begun.wait()
            rest = [asyncio.create_task(queue.submit("k", [word])) for word in ("b", "c", "d")]
            await settle()
            assert queue.waiting == 3
            run.go.set()
            assert await asyncio.gather(first, *rest) == [["A"], ["B"], ["C"], ["D"]]
        assert [items for _, items in run.batches] == [["a"], ["b", "c", "d"]]

    done(story())


def test_a_batch_is_never_larger_than_allowed_and_holds_one_key():
    async def story() -> None:
        run = Shouter()
        async with batcher(run, max_batch=2) as queue:
            some = queue.submit("x", ["a", "b", "c"])
            assert await asyncio.gather(some, queue.submit("y", ["d"])) == [["A", "B", "C"], ["D"]]
        assert run.batches == [("x", ["a", "b"]), ("x", ["c"]), ("y", ["d"])]

    done(story())


def test_a_batch_holds_what_together_costs_no_more_or_one_that_does():
    async def story() -> None:
        run = Shouter()
        async with batcher(run, max_batch=4, cost=len) as queue:
            words = ["aa", "bb", "c", "dddddd", "e"]
            assert await queue.submit("k", words) == [word.upper() for word in words]
        assert [items for _, items in run.batches] == [["aa", "bb"], ["c"], ["dddddd"], ["e"]]

    done(story())


def test_a_batch_is_full_when_it_costs_enough():
    async def story() -> None:
        async with batcher(Shouter(), window=LONG, max_batch=4, cost=len) as queue:
            assert await queue.submit("k", ["aaaa"]) == ["AAAA"]

    done(story())


def test_what_is_too_much_is_refused_at_once_and_admitted_later():
    async def story() -> None:
        run = Shouter(open=False)
        async with batcher(run, max_queue=3) as queue:
            held = asyncio.create_task(queue.submit("k", ["a", "b"]))
            await run.begun.wait()
            with pytest.raises(QueueFull) as refused:
                await queue.submit("k", ["c", "d"])
            assert refused.value.retry_after >= 1
            last = asyncio.create_task(queue.submit("k", ["c"]))
            await settle()
            assert queue.slots.taken == 3
            run.go.set()
            assert [await held, await last] == [["A", "B"], ["C"]]
            assert queue.slots.taken == 0
            assert await queue.submit("k", ["d", "e", "f"]) == ["D", "E", "F"]

    done(story())


def test_who_goes_away_frees_the_places_and_is_not_worked_for():
    async def story() -> None:
        run = Shouter(open=False)
        async with batcher(run, max_queue=2) as queue:
            held = asyncio.create_task(queue.submit("k", ["a"]))
            await run.begun.wait()
            gone = asyncio.create_task(queue.submit("k", ["b"]))
            await settle()
            gone.cancel()
            await settle()
            assert (queue.waiting, queue.slots.taken) == (0, 1)
            stays = asyncio.create_task(queue.submit("k", ["c"]))
            await settle()
            run.go.set()
            assert [await held, await stays] == [["A"], ["C"]]
        assert [items for _, items in run.batches] == [["a"], ["c"]]

    done(story())


def test_a_bad_item_spoils_no_other():
    async def story() -> None:
        run = Shouter()
        async with batcher(run, window=LONG) as queue:
            words = ("a", "bad", "c", "d")
            answers = await asyncio.gather(*(queue.submit("k", [word]) for word in words), return_exceptions=True)
            assert answers[0] == ["A"] and answers[2:] == [["C"], ["D"]]
            assert isinstance(answers[1], InfrastructureError)
            assert len(run.batches) == 5  # together, and then each alone
            assert (queue.waiting, queue.slots.taken) == (0, 0)

    done(story())


def test_a_bug_in_the_work_fails_its_requests_and_not_the_queue():
    async def story() -> None:
        answers = iter([[], ["A"]])  # the first is of the wrong length

        async def run(key: str, items: Sequence[str]) -> list[str]:
            return next(answers)

        async with batcher(run) as queue:
            with pytest.raises(ValueError, match="shorter"):
                await queue.submit("k", ["a"])
            assert await queue.submit("k", ["a"]) == ["A"]

    done(story())


def test_several_batches_run_side_by_side():
    async def story() -> None:
        run = Shouter(open=False)
        async with batcher(run, workers=2, max_batch=1) as queue:
            both = asyncio.gather(queue.submit("k", ["a"]), queue.submit("k", ["b"]), queue.submit("k", ["c"]))
            await settle()
            assert [items for _, items in run.batches] == [["a"], ["b"]]
            run.go.set()
            assert await both == [["A"], ["B"], ["C"]]

    done(story())


def test_a_lane_that_hangs_holds_up_no_other():
    async def story() -> None:
        hung, free = Shouter(open=False), Shouter()

        async def run(key: str, items: Sequence[str]) -> list[str]:
            return await (hung if key.startswith("slow") else free)(key, items)

        def lane(key: str) -> str:
            return key.split()[0]

        async with batcher(run, workers=2, max_batch=1, lane=lane) as queue:
            held = asyncio.gather(*(queue.submit("slow", ["a"]) for _ in range(2)), queue.submit("slow too", ["b"]))
            await settle()
            assert len(hung.batches) == 2 and queue.waiting == 1, "keys of one lane wait for each other"
            assert await queue.submit("quick", ["c"]) == ["C"]
            assert queue.slots.taken == 3
            hung.go.set()
            assert await held == [["A"], ["A"], ["B"]]

    done(story())
