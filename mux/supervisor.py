"""Several processes that serve, and one that sees to it that they do.

Sanic's own manager does not replace a worker that was killed, and stopped while it starts it waits half
a minute and then kills its whole process group, the shell it was started from included. What is needed
is small: start, watch, start again, pass a signal on.

Each worker is in a process group of its own, so that Ctrl-C in a terminal reaches the supervisor alone
and a worker gets one signal, not two. A worker whose supervisor is gone stops by itself.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from time import monotonic
from types import FrameType

FIRST_PAUSE_SECONDS = 0.1
LAST_PAUSE_SECONDS = 5.0
"""Between them the pause before a worker is started again doubles each time it dies young."""

LONGEST_WAIT_SECONDS = 1.0
"""A signal that comes just before a wait is seen after it."""

YOUNG_SECONDS = 10.0
"""A worker that lived longer was in order; the next one starts after the shortest pause."""

logger = logging.getLogger("mux.supervisor")


class Supervisor:
    """Runs one function in so many processes until SIGTERM or SIGINT.

    Args:
        count: how many.
        target: the function; importable, and so must be its arguments.
        arguments: what it gets, and after them its number, from 0; one that takes the place of another has its
            number.
        on_death: takes the number of one that has ended.
    """

    def __init__(
        self,
        count: int,
        target: Callable[..., None],
        arguments: tuple[object, ...],
        *,
        on_death: Callable[[int], None] = lambda number: None,
    ) -> None:
        # Spawned, not forked: a worker has nothing of the supervisor's but what it is given.
        self._context = get_context("spawn")
        self._target = target
        self._arguments = arguments
        self._on_death = on_death
        self._workers: dict[SpawnProcess, tuple[float, int]] = {}
        self._starts: list[tuple[float, int]] = [(0.0, number) for number in range(count)]
        self._pause = FIRST_PAUSE_SECONDS
        self._is_stopping = False

    def run(self) -> None:
        """Return when every worker has ended after a signal; a second signal kills them."""
        previous = {sig: signal.signal(sig, self._stop) for sig in (signal.SIGTERM, signal.SIGINT)}
        try:
            while self._workers or not self._is_stopping:
                self._start_due()
                self._wait()
        finally:
            for worker in self._workers:
                worker.kill()
            for sig, handler in previous.items():
                signal.signal(sig, handler)

    def _start_due(self) -> None:
        now = monotonic()
        for start in [start for start in self._starts if start[0] <= now and not self._is_stopping]:
            self._starts.remove(start)
            _, number = start
            worker = self._context.Process(target=self._target, args=(*self._arguments, number))
            # Ctrl-C in a terminal is for us; the worker unblocks it once it is in its own process group.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            worker.start()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            self._workers[worker] = now, number
            if self._is_stopping:  # by a signal that came while it was started
                worker.terminate()

    def _wait(self) -> None:
        """Wait for a worker to end or to be due."""
        due = min([when for when, _ in self._starts], default=monotonic() + LONGEST_WAIT_SECONDS)
        timeout = min(max(0.0, due - monotonic()), LONGEST_WAIT_SECONDS)
        ended = wait([worker.sentinel for worker in self._workers], timeout)
        for worker in [worker for worker in self._workers if worker.sentinel in ended]:
            worker.join()
            self._bury(worker)

    def _bury(self, worker: SpawnProcess) -> None:
        started, number = self._workers.pop(worker)
        lived = monotonic() - started
        self._on_death(number)
        if self._is_stopping:
            return
        self._pause = FIRST_PAUSE_SECONDS if lived > YOUNG_SECONDS else min(self._pause * 2, LAST_PAUSE_SECONDS)
        logger.error(
            "worker %s ended with status %s after %.1f s; another starts in %.1f s",
            worker.pid,
            worker.exitcode,
            lived,
            self._pause,
        )
        self._starts.append((monotonic() + self._pause, number))

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        for worker in self._workers:
            if self._is_stopping:
                worker.kill()
            else:
                worker.terminate()
        self._is_stopping = True
