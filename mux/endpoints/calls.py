"""Call functions of the app, for which nobody waits: an exception is logged, and a coroutine runs as a task.

Rules:

1. Whatever is wrong with a function, the feed goes on. Its traceback is logged once a minute for each type.
2. What runs as a task is bounded in number, and ends with the app.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import partial
from inspect import isawaitable
from time import monotonic
from typing import TypeVar

from mux.logs.repeats import Repeats

MAX_TASKS = 10_000
"""Most calls of hooks that run as tasks at the same time; one more is not begun, and counts as failed."""

LAST_SECONDS = 1.0
"""Seconds in which tasks may end by themselves when the app ends."""

LOG_SECONDS = 60.0
"""Seconds in which an exception of a hook is logged once for each type."""

logger = logging.getLogger("mux")

T = TypeVar("T")


class TooManyCalls(Exception):
    """Hooks are called more quickly than they end."""


class Calls:
    """The calls of an app's functions.

    Args:
        count: counts a call that has failed.
    """

    def __init__(self, count: Callable[[], None]) -> None:
        self._count = count
        self._tasks: set[asyncio.Future[object]] = set()
        self._repeats = Repeats(most=1, seconds=LOG_SECONDS)

    async def aclose(self) -> None:
        """End what runs as tasks, which have a second to end by themselves."""
        if self._tasks:
            _, left = await asyncio.wait(self._tasks, timeout=LAST_SECONDS)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    def tell(self, name: str, hooks: Iterable[Callable[[T], object]], thing: T) -> None:
        """Call all hooks of a name; what they return runs as a task if it can be awaited."""
        for hook in hooks:
            try:
                result = hook(thing)
                if isawaitable(result):
                    self._begin(name, hook, result)
            except Exception as error:  # noqa: BLE001 - it is logged; whatever is wrong with it, the feed goes on
                self._failed(name, hook, error)

    def _begin(self, name: str, hook: object, call: Awaitable[object]) -> None:
        if len(self._tasks) >= MAX_TASKS:
            if isinstance(call, Coroutine):
                call.close()
            raise TooManyCalls(f"{MAX_TASKS} calls are under way")
        task = asyncio.ensure_future(call)
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, name, hook))

    def _ended(self, name: str, hook: object, task: asyncio.Future[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(name, hook, error)

    def _failed(self, name: str, hook: object, error: BaseException) -> None:
        self._count()
        self.log(name, hook, error)

    def log(self, name: str, hook: object, error: BaseException) -> None:
        """Log what a function has raised, with its traceback, once a minute for each type."""
        now = monotonic()
        for count, text in self._repeats.take(now):
            logger.error("%s, %d times more in a minute", text, count)
        text = f"a callback of {name} failed"
        if self._repeats.admits((name, id(hook), type(error)), f"{text} with {type(error).__name__}", now):
            logger.error("%s", text, exc_info=error)
