"""Look for answers that take a while, for a bounded share of the time of a process.

Any process may ask, and any program can forge a question. So searches go one after the other; an answer is given to all
that ask the same meanwhile or soon after; and while those before have taken too much, a question has no answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

CACHE_FACTOR = 9
"""An answer is given again for this many times as long as the search took, and it counts against other searches for as
long. So all searches together take a tenth of the time."""

MAX_DEBT_SECONDS = 1.0
"""No search is begun while those before it still count for more than this many seconds (CACHE_FACTOR)."""

T = TypeVar("T")


class Searches(Generic[T]):
    """The searches of one process for one kind of answer; ended by aclose().

    Args:
        most: so many searches at most go on or wait for their turn.
    """

    def __init__(self, *, most: int) -> None:
        self._most = most
        self._under_way: dict[object, asyncio.Task[T]] = {}
        self._turn = asyncio.Lock()
        self._found: dict[object, tuple[float, T]] = {}
        self._indebted_until = 0.0

    async def find(self, key: object, search: Callable[[], Coroutine[Any, Any, tuple[T, float]]]) -> T | None:
        """Return the answer for a key; None when there is no time for another search.

        Args:
            key: is equal for equal questions.
            search: returns the answer, and for how many seconds it has held the event loop, in all slices together.
        """
        now = asyncio.get_running_loop().time()
        known = self._found.get(key)
        if known is not None and now < known[0]:
            return known[1]
        task = self._under_way.get(key)
        if task is None:
            if len(self._under_way) >= self._most or self._indebted_until - now > MAX_DEBT_SECONDS:
                return None
            task = self._under_way[key] = asyncio.create_task(self._search(key, search), name="mux-search")
            task.add_done_callback(lambda _: self._under_way.pop(key))
        return await asyncio.shield(task)

    async def aclose(self) -> None:
        """End the searches."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _search(self, key: object, search: Callable[[], Coroutine[Any, Any, tuple[T, float]]]) -> T:
        async with self._turn:
            found, seconds = await search()
            now = asyncio.get_running_loop().time()
            counts_for = CACHE_FACTOR * seconds
            self._found = {kept: answer for kept, answer in self._found.items() if answer[0] > now}
            self._found[key] = (now + counts_for, found)
            self._indebted_until = max(now, self._indebted_until) + counts_for
            return found
