"""Several processes that serve, and one that sees to it that they do.

Sanic's own manager does not replace a worker that was killed, and stopped while it starts it waits half
a minute and then kills its whole process group, the shell it was started from included. What is needed
is small: start, watch, start again, pass a signal on.

Each worker is in a process group of its own, so that Ctrl-C in a terminal reaches the supervisor alone
and a worker gets one signal, not two. A worker whose supervisor is gone stops by itself.

Rules:

1. Nothing that becomes of one worker is felt by another: not that it dies again and again, nor that it cannot be
   started because the system has no process, memory or descriptor left.
2. A stop is bounded. Whatever a worker does, or does not because it is stopped itself, it is gone in time.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from time import monotonic
from typing import Protocol

from mux.metrics.seat import CHECK_SECONDS, Seat, State
from mux.serve.signals import MEANINGLESS, STOPS, Signals

logger = logging.getLogger("mux.serve.supervisor")


class Notices(Protocol):
    """Where workers and supervisor tell each other how they are, by the number of the worker."""

    def beats(self, number: int) -> int:
        """Return a count that changes as long as the worker's event loop turns."""

    def show(self, number: int, state: State) -> None:
        """Tell all processes how a worker is."""

    def bury(self, number: int) -> None:
        """Take down what a worker that has ended said of itself."""


class Supervisor:
    """Runs one function in so many processes until it is told to stop.

    Args:
        count: how many.
        target: the function; importable, and so must be its arguments.
        arguments: what it gets, and after them its number, from 0; one that takes the place of another has its
            number.
        notices: shared with the workers.
        stall_seconds: a worker without a beat for this long is killed and replaced; 0 is never.
        stop_seconds: a worker that has not ended this long after a stop is killed.
    """

    def __init__(
        self,
        count: int,
        target: Callable[..., None],
        arguments: tuple[object, ...],
        *,
        notices: Notices,
        stall_seconds: float,
        stop_seconds: float,
    ) -> None:
        # Spawned, not forked: a worker has nothing of the supervisor's but what it is given.
        self._context = get_context("spawn")
        self._target = target
        self._arguments = arguments
        self._notices = notices
        self._seats = [Seat(stall_seconds) for _ in range(count)]
        self._workers: dict[int, SpawnProcess] = {}
        self._stop_seconds = stop_seconds
        self._is_stopping = False
        self._stopping_for = 0.0
        self._looked = monotonic()

    def run(self, signals: Signals) -> None:
        """Return when every worker has ended after a signal; a second signal kills them."""
        signals.on_stop(self._stop, self._kill_all)
        try:
            while self._workers or not self._is_stopping:
                self._start_due()
                self._wait()
                self._look()
        finally:
            self._kill_all()

    def _start_due(self) -> None:
        for number, seat in enumerate(self._seats):
            if seat.state == "waiting" and seat.due <= monotonic() and not self._is_stopping:
                self._start(number, seat)

    def _start(self, number: int, seat: Seat) -> None:
        worker = self._context.Process(target=self._target, args=(*self._arguments, number))
        # What a terminal sends is for us; the worker takes it again once it is in its own process group.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {*STOPS, *MEANINGLESS} - {signal.SIGTERM})
        try:
            worker.start()
        except (OSError, MemoryError) as error:
            reason = (getattr(error, "strerror", None) or "no memory is left").lower()
            logger.error("a worker cannot be started: %s; trying again in %.1f s", reason, seat.ended(monotonic()))
            return
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        self._workers[number] = worker
        seat.started(monotonic(), self._notices.beats(number))
        self._notices.show(number, seat.state)
        if self._is_stopping:  # by a signal that came while it was started
            worker.terminate()

    def _wait(self) -> None:
        """Wait for a worker to end or to be due."""
        now = monotonic()
        due = min((seat.due for seat in self._seats if seat.state == "waiting"), default=now + CHECK_SECONDS)
        timeout = 0.0 if due <= now else min(due - now, CHECK_SECONDS)
        if self._is_stopping:
            timeout = max(0.05, min(CHECK_SECONDS, self._stop_seconds - self._stopping_for))
        numbers = {worker.sentinel: number for number, worker in self._workers.items()}
        for sentinel in wait(list(numbers), timeout):
            assert isinstance(sentinel, int), "a sentinel is a descriptor"
            self._bury(numbers[sentinel])

    def _bury(self, number: int) -> None:
        worker, seat, now = self._workers.pop(number), self._seats[number], monotonic()
        worker.join()
        lived, pause = seat.lived(now), seat.ended(now)
        self._notices.bury(number)
        self._notices.show(number, seat.state)
        if not self._is_stopping:
            logger.error(
                "worker %s ended with status %s after %.1f s; another starts in %.1f s",
                worker.pid,
                worker.exitcode,
                lived,
                pause,
            )
        worker.close()

    def _look(self) -> None:
        """See which workers stand still, and kill those that have for too long."""
        now = monotonic()
        elapsed, self._looked = min(now - self._looked, CHECK_SECONDS), now
        if self._is_stopping:
            self._end_stop(elapsed)
            return
        for number, worker in self._workers.items():
            seat = self._seats[number]
            is_too_long = seat.check(self._notices.beats(number), elapsed)
            self._notices.show(number, seat.state)
            if is_too_long:
                logger.error("worker %s has stood still for %.0f s, and is killed", worker.pid, seat.silence)
                worker.kill()

    def _end_stop(self, elapsed: float) -> None:
        """Kill the workers that do not stop in time, and those that stood still when they were told to and still do."""
        self._stopping_for += elapsed
        for number, worker in self._workers.items():
            seat = self._seats[number]
            if seat.state == "stalled":
                seat.check(self._notices.beats(number), elapsed)
            is_hopeless = seat.state == "stalled" and self._stopping_for > CHECK_SECONDS
            if is_hopeless or self._stopping_for > self._stop_seconds:
                logger.error("worker %s did not stop in time, and is killed", worker.pid)
                worker.kill()

    def _stop(self) -> None:
        self._is_stopping = True
        for worker in list(self._workers.values()):
            worker.terminate()

    def _kill_all(self) -> None:
        for worker in list(self._workers.values()):
            worker.kill()
