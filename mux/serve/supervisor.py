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
3. Workers are replaced one after the other. An old one is told to leave when the new one is ready, and the next one's
   turn comes when it has gone. When a new one does not become ready the old ones go on.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from time import monotonic
from typing import Protocol

from mux.metrics.seat import CHECK_SECONDS, Seat, State
from mux.serve.signals import HANDLED, Signals

READY_SECONDS = 30.0
"""A worker that is to replace another has this long to become ready."""

REPLACING_SECONDS = 0.1
"""The supervisor looks this often while a worker is replaced."""

logger = logging.getLogger("mux.serve.supervisor")


class Notices(Protocol):
    """A board on which workers and supervisor tell each other how they are, by the number of the worker."""

    def beats(self, number: int) -> int:
        """Return a count that changes as long as the worker's event loop turns."""

    def is_ready(self, number: int) -> bool:
        """Tell whether the worker has said that clients may be sent to it."""

    def show(self, number: int, state: State) -> None:
        """Tell all processes how a worker is."""

    def bury(self, number: int) -> None:
        """Take down what a worker that has ended said of itself."""


@dataclass(slots=True)
class _Replacement:
    """One worker on its way to replace another.

    old is None when what is replaced is no worker. ends is when the new one must be ready, and then when the old one
    must have gone.
    """

    old: int | None
    new: int
    ends: float
    is_ready: bool = False
    is_late: bool = False


class Supervisor:
    """Runs one function in so many processes until it is told to stop.

    Args:
        count: how many.
        target: the function; importable, and so must be its arguments.
        arguments: what it gets, and after them its number, from 0 to count, and whether it replaces a worker that
            still serves. One that is started because another has died has the number of that one.
        notices: shared with the workers; it has room for one more than there are.
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
        self._stall_seconds = stall_seconds
        self._seats = {number: Seat(stall_seconds) for number in range(count)}
        self._unused = count
        self._notices.show(self._unused, "unused")
        self._to_replace: list[int] = []
        self._replacement: _Replacement | None = None
        self._workers: dict[int, SpawnProcess] = {}
        self._stop_seconds = stop_seconds
        self._is_stopping = False
        self._stopping_for = 0.0
        self._looked = monotonic()

    def run(self, signals: Signals) -> None:
        """Return when every worker has ended after a signal; a second signal kills them."""
        signals.on_stop(self.stop, self._kill_all)
        signals.on_replace(self.replace)
        try:
            while self._workers or not self._is_stopping:
                self._start_due()
                self._wait()
                self._look()
                self._go_on_replacing()
        finally:
            self._kill_all()

    def replace(self) -> None:
        """Replace every worker there is now, one after the other."""
        logger.info("SIGHUP: all workers are replaced, one after the other")
        self._to_replace = list(self._seats)

    def succeed(self) -> bool:
        """Start a worker that replaces this very process, in place of all others; return whether it is ready."""
        self._seats.clear()
        self._begin_replacing(None)
        while self._replacement is not None and not self._is_stopping:
            self._wait()
            self._go_on_replacing()
        return bool(self._workers) and not self._is_stopping

    def stop(self) -> None:
        """Tell every worker to stop; may be repeated."""
        if not self._is_stopping:
            self._is_stopping = True
            for worker in list(self._workers.values()):
                worker.terminate()

    def _start_due(self) -> None:
        for number, seat in self._seats.items():
            if seat.state == "waiting" and seat.due <= monotonic() and not self._is_stopping:
                self._start(number, seat)

    def _start(self, number: int, seat: Seat, *, replaces: bool = False) -> None:
        worker = self._context.Process(target=self._target, args=(*self._arguments, number, replaces))
        # What a terminal sends is for us; the worker takes it again once it is in its own process group.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {*HANDLED} - {signal.SIGTERM})
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
        due = min((seat.due for seat in self._seats.values() if seat.state == "waiting"), default=now + CHECK_SECONDS)
        pause = CHECK_SECONDS if self._replacement is None else REPLACING_SECONDS
        timeout = 0.0 if due <= now else min(due - now, pause)
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
        step = None if self._is_stopping else self._replacement
        if step is not None and number == step.new and not step.is_ready:
            why = f"was not ready after {READY_SECONDS:g} s" if step.is_late else f"ended with status {worker.exitcode}"
            self._keep_old(why)
        elif step is not None and number == step.old and step.is_ready:
            self._replacement = None
            self._free(number)
        elif not self._is_stopping:
            if step is not None and number == step.old:
                del self._seats[number]  # the new one takes its place
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

    def _go_on_replacing(self) -> None:
        """Take the next step in replacing the workers that are to be, if it is time for one."""
        step = self._replacement
        if self._is_stopping:
            return
        if step is None:
            if self._to_replace and (number := self._to_replace.pop(0)) in self._workers:
                self._begin_replacing(number)
        elif not step.is_ready and self._notices.is_ready(step.new):
            self._dismiss(step)
        elif monotonic() > step.ends and not step.is_late:
            step.is_late = True
            late = self._workers[step.new if step.old is None or not step.is_ready else step.old]
            if step.is_ready:
                logger.error("worker %s did not leave in time, and is killed", late.pid)
            late.kill()

    def _begin_replacing(self, old: int | None) -> None:
        seat = self._seats[self._unused] = Seat(self._stall_seconds)
        self._replacement = _Replacement(old, self._unused, monotonic() + READY_SECONDS)
        self._start(self._unused, seat, replaces=True)
        if self._unused not in self._workers:
            self._keep_old("could not be started")

    def _dismiss(self, step: _Replacement) -> None:
        """Tell the old worker to leave, for the new one is ready."""
        step.is_ready, step.ends = True, monotonic() + self._stop_seconds
        worker = None if step.old is None else self._workers.get(step.old)
        if worker is None or worker.pid is None:  # this very process, or one that has died meanwhile
            self._replacement = None
            self._free(step.old or 0)
            return
        logger.info("worker %s is ready, and worker %s leaves", self._workers[step.new].pid, worker.pid)
        os.kill(worker.pid, signal.SIGHUP)

    def _keep_old(self, reason: str) -> None:
        """Give up replacing workers."""
        assert self._replacement is not None, "one was to be replaced"
        step, self._replacement, self._to_replace = self._replacement, None, []
        logger.error("a new worker %s, and replaces none; the old ones go on", reason)
        self._free(step.new)
        if step.old is not None:
            self._seats.setdefault(step.old, Seat(self._stall_seconds))  # it has died meanwhile

    def _free(self, number: int) -> None:
        """Take a number back from a worker that nobody takes the place of."""
        self._seats.pop(number, None)
        self._unused = number
        self._notices.show(number, "unused")

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

    def _kill_all(self) -> None:
        for worker in list(self._workers.values()):
            worker.kill()
