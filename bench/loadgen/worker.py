"""The work of the processes of the load generator.

Each is told over its pipe what to do next and answers when it is done: with a report, or with the exception that
ended it. A crowd is told "connect", "churn", or a schedule; a publisher a schedule. Anything sent while a schedule
runs shortens it: to a publisher nothing more is to be published, to a crowd it is how many messages there will be.
"""

from __future__ import annotations

import gc
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

import numpy as np

from bench.loadgen.crowd import Crowd, descriptors_for
from bench.loadgen.latencies import Counts
from bench.loadgen.limit import Limit
from bench.loadgen.load import Load, Schedule
from bench.loadgen.publisher import Published, publish
from bench.loadgen.stamp import now_us

WAVE = 100
"""Most clients that come together in churn, and go together when the last has joined."""

_TURN_SECONDS = 0.05
_POLL_SECONDS = 0.2
_WAVE_PATIENCE_SECONDS = 30.0
_SENT_AT_ONCE = 256
"""Most messages that clients send in one turn: in a burst a server must be given time to read."""

Pipe: TypeAlias = "Connection[Any, Any]"


@dataclass(slots=True)
class Joined:
    """The outcome of connecting."""

    waits: list[float]
    """Seconds that each client waited."""
    seconds: float
    refused: int
    reason: str


@dataclass(slots=True)
class Delivery:
    """The ledger: the fate of every message of a schedule."""

    expected: int = 0
    delivered: int = 0
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    other: int = 0
    """Messages that are not of this run."""
    closed: int = 0
    """Clients that the server has closed."""
    seconds: float = 0.0
    """From the start of the schedule to the last delivery."""
    published: Published = field(default_factory=Published)
    counts: Counts = field(default_factory=lambda: np.zeros(1, dtype=np.int64), repr=False)


def publisher(pipe: Pipe, load: Load) -> None:
    """Publish schedule after schedule, or be the limit."""
    limit = Limit(load) if load.limit else None
    pipe.send("ready")

    def run(schedule: Schedule) -> Published:
        if limit is not None:
            return limit.run(schedule)
        assert load.inlet is not None, "without a inlet there is no publisher"
        return publish(load.inlet, load.message_bytes, schedule, pipe.poll)

    _serve(pipe, run)


def crowd(pipe: Pipe, load: Load) -> None:
    """Connect, and receive schedule after schedule; or come and go."""
    channels = [index % load.channels for index in range(load.clients)]
    descriptors_for(len(channels))
    clients = Crowd(load, channels)

    def run(order: str | Schedule) -> Joined | Delivery:
        if order == "churn":
            return _churn(load)
        if isinstance(order, Schedule):
            return _receive(pipe, load, clients, channels, order)
        began = time.monotonic()
        clients.connect(load.connect_patience)
        return Joined(clients.waits, time.monotonic() - began, clients.refused, clients.reason)

    _serve(pipe, run)


def _serve(pipe: Pipe, run: Callable[[Any], object]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    gc.disable()  # no cycles are made here, and a pass would be taken for lateness
    while True:
        try:
            order = pipe.recv()
            if not isinstance(order, str | Schedule):
                continue  # it was to shorten a schedule that had just ended
            pipe.send(run(order))
        except EOFError:
            return
        except (OSError, RuntimeError) as error:
            pipe.send(error)


def _churn(load: Load) -> Joined:
    """Let clients come, each to a channel of its own, and go without a closing handshake, wave after wave."""
    result = Joined([], 0.0, 0, "")
    began = time.monotonic()
    while (done := len(result.waits) + result.refused) < load.clients:
        # Channel 0 is left to clients that stay.
        wave = Crowd(load, range(1 + done, 1 + min(done + WAVE, load.clients)))
        wave.connect(_WAVE_PATIENCE_SECONDS)
        wave.close()
        result.waits += wave.waits
        result.refused += wave.refused
        result.reason = result.reason or wave.reason
    result.seconds = time.monotonic() - began
    return result


def _receive(pipe: Pipe, load: Load, clients: Crowd, channels: list[int], schedule: Schedule) -> Delivery:
    frames = clients.frames
    frames.restart()
    tally = frames.tally
    sender = _Sender(clients, schedule) if load.clients_publish else None
    expected, end_us = _aim(schedule, channels)
    seen, last_us, poll_us = -1, 0, 0

    def until() -> float:
        nonlocal seen, last_us, poll_us, schedule, expected, end_us
        now = now_us()
        if now > poll_us:
            poll_us = now + int(_POLL_SECONDS * 1e6)
            if pipe.poll():
                published = pipe.recv()
                schedule = replace(schedule, messages=sender.stop() if sender else published)
                expected, end_us = _aim(schedule, channels)
        wait = sender.send() if sender else _TURN_SECONDS
        if tally.delivered != seen:
            seen, last_us = tally.delivered, now
        is_done = seen >= expected and now >= end_us
        is_silent = now - max(last_us, end_us) > load.patience * 1e6
        return -1.0 if is_done or is_silent or now - end_us > load.longest * 1e6 else wait

    clients.receive(until)
    # A duplicate may follow the last message.
    deadline = time.monotonic() + _TURN_SECONDS
    clients.receive(lambda: deadline - time.monotonic())
    return Delivery(
        expected=expected,
        delivered=tally.delivered,
        lost=tally.lost([schedule.published(channel) for channel in channels]),
        duplicated=tally.duplicated,
        reordered=tally.reordered,
        other=frames.other,
        closed=len(frames.closed),
        seconds=(last_us - schedule.start_us) / 1e6,
        published=Published(sender.sent, sender.late_us) if sender else Published(),
        counts=frames.latencies.counts(),
    )


def _aim(schedule: Schedule, channels: list[int]) -> tuple[int, int]:
    """Return how many deliveries there will be, and when the last is due."""
    return sum(map(schedule.published, channels)), schedule.due_us(max(0, schedule.messages - 1))


class _Sender:
    """Lets the clients publish: the first client of each channel, on the schedule."""

    def __init__(self, crowd: Crowd, schedule: Schedule) -> None:
        self._crowd = crowd
        self._schedule = schedule
        self.sent = 0
        self.late_us = 0

    def send(self) -> float:
        """Send what is due and return how many seconds there are to the next."""
        schedule = self._schedule
        now = now_us()
        due = schedule.due_by(now)
        if due > self.sent and schedule.rate:
            self.late_us = max(self.late_us, now - schedule.due_us(self.sent))
        until = min(due, self.sent + _SENT_AT_ONCE)
        for k in range(self.sent, until):
            sequence, channel = divmod(k, schedule.channels)
            self._crowd.send(channel, sequence, schedule.due_us(k))
        self.sent = until
        if self.sent == schedule.messages:
            return _TURN_SECONDS
        return min(_TURN_SECONDS, max(0.0, (schedule.due_us(self.sent) - now_us()) / 1e6))

    def stop(self) -> int:
        """Send nothing more; return how many messages there were."""
        self._schedule = replace(self._schedule, messages=self.sent)
        return self.sent
