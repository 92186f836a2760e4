"""Searches that others ask for: shared, one after the other, and a tenth of the time."""

from __future__ import annotations

import asyncio

import pytest

from mux.fleet import searches as searches_module
from mux.fleet.searches import MAX_DEBT_SECONDS, Searches

MOST = 5


class Search:
    """Counts how often it is begun; it ends when it may."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.begun = 0
        self.seconds = seconds
        self.may_end = asyncio.Event()

    async def __call__(self) -> tuple[int, float]:
        self.begun += 1
        await self.may_end.wait()
        return self.begun, self.seconds


async def test_equal_questions_are_one_search() -> None:
    """Those meanwhile and those soon after, even if the first to ask has gone."""
    searches, search = Searches[int](most=MOST), Search(seconds=0.01)
    first = asyncio.create_task(searches.find("a", search))
    others = [asyncio.create_task(searches.find("a", search)) for _ in range(3)]
    await asyncio.sleep(0)
    first.cancel()
    search.may_end.set()
    assert await asyncio.gather(*others) == [1, 1, 1]
    assert await searches.find("a", search) == 1


async def test_one_goes_on_at_a_time_and_too_many_have_no_answer() -> None:
    """Another question waits until the search before it is over."""
    searches, search = Searches[int](most=MOST), Search()
    asked = [asyncio.create_task(searches.find(number, search)) for number in range(MOST)]
    await asyncio.sleep(0)
    assert await searches.find("one more", search) is None
    await asyncio.sleep(0)
    assert search.begun == 1
    search.may_end.set()
    assert sorted(filter(None, await asyncio.gather(*asked))) == list(range(1, MOST + 1))


async def test_no_search_is_begun_while_those_before_count_for_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until as much time has passed."""
    monkeypatch.setattr(searches_module, "CACHE_FACTOR", 1)
    searches, long = Searches[int](most=MOST), Search(seconds=MAX_DEBT_SECONDS + 60)
    long.may_end.set()
    assert await searches.find("a", long) == 1
    assert await searches.find("b", long) is None
    assert await searches.find("a", long) == 1


async def test_searches_end_with_their_process() -> None:
    """Those that wait, too."""
    searches, search = Searches[int](most=MOST), Search()
    asked = [asyncio.create_task(searches.find(number, search)) for number in range(3)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await searches.aclose()
    for task in asked:
        with pytest.raises(asyncio.CancelledError):
            await task
