"""One run of load: its processes, and what they report.

    this process ──► crowds, each with its share of the clients
                 └─► publisher (unless the clients publish themselves)

Every process is fresh, so that neither its garbage nor its heap is of another run. They share nothing but
the clock: the start is a moment in the future that all are told.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Self

import numpy as np

from bench.loadgen.course import Course, Moment
from bench.loadgen.dialect import PLAIN, Dialect, Target
from bench.loadgen.latencies import Counts, quantile
from bench.loadgen.publisher import Door, Published
from bench.loadgen.schedule import Schedule
from bench.loadgen.stamp import now_us
from bench.loadgen.worker import CrowdReport, Live, crowd_worker, publisher_worker

AHEAD_US = 100_000
"""How far in the future the start is: time for all processes to prepare."""

AHEAD_MANY_US = 300_000
"""The same for thousands of clients."""

_MANY = 1000

SPAWN = multiprocessing.get_context("forkserver")
"""Every process is forked from one that has imported the generator and done nothing else."""

SPAWN.set_forkserver_preload(["bench.loadgen.worker", "bench.loadgen.churn"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What to do."""

    target: Target
    clients: int
    channels: int = 1
    messages: int = 0
    rate: float = 0.0
    message_bytes: int = 128
    door: Door | None = None
    """Where to publish; None lets the first client of each channel publish on its own connection."""
    limit: bool = False
    """Put the limit in the place of a server: it listens on the target's port and publishes by itself."""
    dialect: Dialect = PLAIN
    processes: int = 1
    at_once: int = 256
    connect_patience: float = 120.0
    patience: float = 10.0
    """Seconds without a delivery after which what is missing is given up as lost."""
    longest: float = 120.0
    """Seconds after the end of the schedule when it is given up in any case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What came of the messages."""

    expected: int
    delivered: int
    lost: int
    duplicated: int
    reordered: int
    other: int
    closed: int
    seconds: float
    """From the start of the schedule to the last delivery."""
    published: Published
    counts: Counts = field(repr=False)
    moments: list[Moment] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """What came of connecting."""

    clients: int
    seconds: float
    per_second: float
    wait_p99_seconds: float
    refused: int
    reason: str


class Generator:
    """The processes of one run. Use it as a context: connect(), and then publish(), once."""

    def __init__(self, load: Load) -> None:
        if load.door is None and not load.limit and load.processes != 1:
            raise ValueError("clients that publish themselves are kept in one process")
        self._load = load
        self._processes: list[BaseProcess] = []
        self._crowds: list[Connection[Any, Any]] = []
        publishes = load.limit or (load.door is not None and load.messages)
        self._publisher = self._start(publisher_worker, load) if publishes else None
        for share in range(load.processes):
            clients = range(share, load.clients, load.processes)
            self._crowds.append(self._start(crowd_worker, load, [index % load.channels for index in clients]))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join()

    def connect(self, live: Callable[[int], None] = lambda joined: None) -> Joined:
        """Open every client; live is told how many have joined."""
        if self._publisher is not None:
            _received(self._publisher)
        for crowd in self._crowds:
            crowd.send("connect")
        began = time.monotonic()
        reports = self._collect(lambda lives: live(sum(one.delivered for one in lives)), self._load.connect_patience)
        seconds = time.monotonic() - began
        waits = np.concatenate([report.waits for report in reports])
        return Joined(
            clients=len(waits),
            seconds=seconds,
            per_second=len(waits) / seconds,
            wait_p99_seconds=float(np.percentile(waits, 99)) if len(waits) else 0.0,
            refused=sum(report.refused for report in reports),
            reason=next((report.reason for report in reports if report.reason), ""),
        )

    def publish(
        self,
        live: Callable[[int, int, int], None] = lambda delivered, missing, p99_us: None,
        *,
        stop: Callable[[], bool] = lambda: False,
    ) -> Delivery:
        """Run the schedule, to its end or until stop() is true: then what was published by then is all there is.

        live is told deliveries, messages passed over and the p99 in microseconds, so far.
        """
        load = self._load
        schedule = Schedule(channels=load.channels, messages=load.messages, rate=load.rate)
        schedule = replace(schedule, start_us=now_us() + (AHEAD_US if load.clients < _MANY else AHEAD_MANY_US))
        for connection in [*self._crowds, *([self._publisher] if self._publisher else [])]:
            connection.send(schedule)

        course = Course(schedule.start_us)

        def tell(lives: list[Live]) -> None:
            counts: Counts = np.sum([one.counts for one in lives], axis=0)
            delivered = sum(one.delivered for one in lives)
            course.take(now_us(), delivered, counts)
            live(delivered, sum(one.missing for one in lives), quantile(counts, 99))

        published: Published | None = None

        def shorten() -> bool:
            nonlocal published
            if not stop():
                return False
            if self._publisher is not None:
                self._publisher.send("stop")
                published = _received(self._publisher)
            for crowd in self._crowds:
                crowd.send(published.messages if published else None)
            return True

        reports = self._collect(tell, schedule.seconds + load.longest + 30, shorten)
        if self._publisher is None:
            sent = max(report.sent for report in reports)
            published = Published(sent, schedule.seconds, max(report.late_us for report in reports))
        elif published is None:
            published = _received(self._publisher)
        schedule = replace(schedule, messages=published.messages)
        return Delivery(
            expected=sum(schedule.published(index % load.channels) for index in range(load.clients)),
            delivered=sum(report.delivered for report in reports),
            lost=sum(report.lost for report in reports),
            duplicated=sum(report.duplicated for report in reports),
            reordered=sum(report.reordered for report in reports),
            other=sum(report.other for report in reports),
            closed=sum(report.closed for report in reports),
            seconds=max(report.last_us - schedule.start_us for report in reports) / 1e6,
            published=published,
            counts=np.sum([report.counts for report in reports], axis=0),
            moments=course.moments,
        )

    def _start(self, worker: Callable[..., None], *arguments: object) -> Connection[Any, Any]:
        ours, theirs = SPAWN.Pipe()
        process = SPAWN.Process(target=worker, args=(theirs, *arguments), daemon=True)
        process.start()
        theirs.close()
        self._processes.append(process)
        return ours

    def _collect(
        self, live: Callable[[list[Live]], None], patience: float, shorten: Callable[[], bool] = lambda: False
    ) -> list[CrowdReport]:
        deadline = time.monotonic() + patience + 30
        lives: dict[int, Live] = {}
        reports: dict[int, CrowdReport] = {}
        is_short = False
        while len(reports) < len(self._crowds):
            # Every crowd tells how it goes, so this is soon looked at again.
            is_short = is_short or shorten()
            ready = wait(self._crowds, max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError("a process of the load generator says nothing")
            for at, crowd in enumerate(self._crowds):
                if crowd in ready:
                    said = _received(crowd)
                    if isinstance(said, Live):
                        lives[at] = said
                    else:
                        reports[at] = said
            if lives:
                live(list(lives.values()))
        return [reports[at] for at in range(len(self._crowds))]


def _received(connection: Connection[Any, Any]) -> Any:  # what the other process sends is its business
    try:
        said = connection.recv()
    except EOFError:
        raise ChildProcessError("a process of the load generator has ended") from None
    if isinstance(said, Exception):
        raise said
    return said
