"""What runs in the processes of the load generator."""

from __future__ import annotations

import gc
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.loadgen.crowd import Crowd
from bench.loadgen.latencies import Counts
from bench.loadgen.limit import Limit
from bench.loadgen.limits import descriptors_for
from bench.loadgen.publisher import Publisher
from bench.loadgen.schedule import Schedule
from bench.loadgen.stamp import now_us

if TYPE_CHECKING:
    from bench.loadgen.run import Load

LIVE_SECONDS = 0.5
"""How often a live line is told."""

_TURN_SECONDS = 0.05


@dataclass(slots=True)
class Live:
    """How it goes so far."""

    delivered: int
    missing: int = 0
    counts: Counts = field(default_factory=lambda: np.zeros(1, dtype=np.int64))


@dataclass(slots=True)
class CrowdReport:
    """What one crowd has to say, of connecting or of a schedule."""

    waits: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    refused: int = 0
    reason: str = ""
    delivered: int = 0
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    other: int = 0
    closed: int = 0
    sent: int = 0
    """Messages its clients published."""
    late_us: int = 0
    last_us: int = 0
    counts: Counts = field(default_factory=lambda: np.zeros(1, dtype=np.int64))


def publisher_worker(pipe: Connection[Any, Any], load: Load) -> None:
    """Publish when told to."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who is interrupted is the one that started this
    gc.disable()  # it makes no cycles, and a pass would be taken for lateness
    limit = Limit(load) if load.limit else None
    pipe.send("ready")
    while True:
        schedule = _next(pipe)
        try:
            if limit is not None:
                pipe.send(limit.run(schedule))
            else:
                assert load.door is not None, "without a door there is no publisher"
                done = Publisher(load.door, load.message_bytes).run(schedule, pipe.poll)
                if pipe.poll():
                    pipe.recv()  # "stop", which may also come when it has just ended
                pipe.send(done)
        except (OSError, RuntimeError) as error:
            pipe.send(error)


def crowd_worker(pipe: Connection[Any, Any], load: Load, channels: list[int]) -> None:
    """Connect, and receive schedule after schedule."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()
    worker = _CrowdWorker(pipe, load, channels)
    while True:
        order = _next(pipe)
        try:
            pipe.send(worker.connect() if order == "connect" else worker.receive(order))
        except (OSError, RuntimeError) as error:
            pipe.send(error)


def _next(pipe: Connection[Any, Any]) -> Any:
    try:
        return pipe.recv()
    except EOFError:
        raise SystemExit from None


class _CrowdWorker:
    def __init__(self, pipe: Connection[Any, Any], load: Load, channels: list[int]) -> None:
        descriptors_for(len(channels))
        self._pipe = pipe
        self._load = load
        self._channels = channels
        self._crowd = self._new_crowd()
        self._live_at = 0.0

    def connect(self) -> CrowdReport:
        load = self._load
        result = self._crowd.connect(
            at_once=load.at_once, patience=load.connect_patience, live=lambda joined: self._tell(lambda: Live(joined))
        )
        return CrowdReport(waits=np.array(result.waits), refused=result.refused, reason=result.reason)

    def receive(self, schedule: Schedule) -> CrowdReport:
        frames = self._crowd.frames
        tally = frames.tally
        expected, end_us = self._aim(schedule)
        clients_publish = self._load.door is None and not self._load.limit
        sender = _Sender(self._crowd, schedule) if clients_publish else None
        seen, last_us = -1, 0

        def until() -> float:
            nonlocal seen, last_us, schedule, expected, end_us
            if self._is_time_to_tell() and self._pipe.poll():
                published = self._pipe.recv()
                schedule = replace(schedule, messages=sender.stop() if sender else published)
                expected, end_us = self._aim(schedule)
            wait = _TURN_SECONDS if sender is None else sender.send()
            now = now_us()
            if tally.delivered != seen:
                seen, last_us = tally.delivered, now
            if seen >= expected and now >= end_us:
                return -1.0
            if now - max(last_us, end_us) > self._load.patience * 1e6:
                return -1.0
            if now - end_us > self._load.longest * 1e6:
                return -1.0
            self._tell(lambda: Live(tally.delivered, tally.missing, frames.latencies.counts()))
            return wait

        self._crowd.receive(until)
        self._drain()
        return CrowdReport(
            delivered=tally.delivered,
            lost=tally.lost([schedule.published(channel) for channel in self._channels]),
            duplicated=tally.duplicated,
            reordered=tally.reordered,
            other=frames.other,
            closed=len(frames.closed),
            sent=sender.sent if sender else 0,
            late_us=sender.late_us if sender else 0,
            last_us=last_us,
            counts=frames.latencies.counts(),
        )

    def _aim(self, schedule: Schedule) -> tuple[int, int]:
        """Return how many deliveries there will be, and when the last is due."""
        return sum(map(schedule.published, self._channels)), schedule.due_us(max(0, schedule.messages - 1))

    def _drain(self) -> None:
        """Look once more: a duplicate may follow the last message."""
        deadline = time.monotonic() + _TURN_SECONDS
        self._crowd.receive(lambda: deadline - time.monotonic())

    def _tell(self, live: Callable[[], Live]) -> None:
        if self._is_time_to_tell():
            self._live_at = time.monotonic()
            self._pipe.send(live())

    def _is_time_to_tell(self) -> bool:
        return time.monotonic() - self._live_at >= LIVE_SECONDS

    def _new_crowd(self) -> Crowd:
        load = self._load
        return Crowd(load.target, load.dialect, self._channels, message_bytes=load.message_bytes)


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
        # In a burst a server must be given time to read.
        until = min(due, self.sent + 256)
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
