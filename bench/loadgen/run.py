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
from dataclasses import replace
from functools import reduce
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Self

import numpy as np

from bench.loadgen import worker
from bench.loadgen.load import Load
from bench.loadgen.publisher import Published
from bench.loadgen.schedule import Schedule
from bench.loadgen.stamp import now_us
from bench.loadgen.worker import Delivery, Joined, Pipe

AHEAD_US = 20_000
AHEAD_EACH_US = 280
"""A schedule starts so far in the future, and so much more for each client, that all processes can prepare."""

LONGEST_AHEAD_US = 300_000

_LOOK_SECONDS = 0.2

_FORK = multiprocessing.get_context("forkserver")
_FORK.set_forkserver_preload(["bench.loadgen.worker"])


class Generator:
    """The processes of one run. Use it as a context: connect(), and then publish(), as often as you like."""

    def __init__(self, load: Load) -> None:
        if load.clients_publish and load.processes != 1:
            raise ValueError("clients that publish themselves are kept in one process")
        self._load = load
        self._processes: list[BaseProcess] = []
        publishes = load.limit or (load.door is not None and load.messages)
        self._publisher = self._start(worker.publisher, load) if publishes else None
        self._crowds = []
        for share in range(load.processes):
            clients = range(share, load.clients, load.processes)
            self._crowds.append(self._start(worker.crowd, load, [index % load.channels for index in clients]))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join()

    def connect(self) -> Joined:
        """Open every client.

        Raises:
            TimeoutError: a process of the generator says nothing.
        """
        if self._publisher is not None:
            _received(self._publisher)
        return self._join("connect")

    def churn(self) -> Joined:
        """Let every client come and go."""
        return self._join("churn")

    def publish(self, *, stop: Callable[[], bool] = lambda: False) -> Delivery:
        """Run the schedule, to its end or until stop() is true: then what was published by then is all there is.

        Raises:
            TimeoutError: nothing moves.
            ConnectionError: the connection that publishes broke, or publishing was refused.
        """
        load = self._load
        ahead = min(LONGEST_AHEAD_US, AHEAD_US + AHEAD_EACH_US * load.clients)
        start_us = now_us() + ahead
        schedule = Schedule(channels=load.channels, messages=load.messages, rate=load.rate, start_us=start_us)
        for connection in [*self._crowds, *([self._publisher] if self._publisher else [])]:
            connection.send(schedule)
        published: Published | None = None

        def shorten() -> bool:
            nonlocal published
            if not stop():
                return False
            if self._publisher is not None:
                self._publisher.send(None)
                published = _received(self._publisher)
            for crowd in self._crowds:
                crowd.send(published.messages if published else None)
            return True

        reports: list[Delivery] = self._collect(schedule.seconds + load.longest, shorten)
        if self._publisher is None:
            published = reports[0].published
        elif published is None:
            published = _received(self._publisher)
        return replace(reduce(_together, reports), published=published)

    def _join(self, order: str) -> Joined:
        for crowd in self._crowds:
            crowd.send(order)
        reports: list[Joined] = self._collect(self._load.connect_patience)
        return Joined(
            [seconds for report in reports for seconds in report.waits],
            max(report.seconds for report in reports),
            sum(report.refused for report in reports),
            next((report.reason for report in reports if report.reason), ""),
        )

    def _start(self, work: Callable[..., None], *arguments: object) -> Pipe:
        ours, theirs = _FORK.Pipe()
        process = _FORK.Process(target=work, args=(theirs, *arguments), daemon=True)
        process.start()
        theirs.close()
        self._processes.append(process)
        return ours

    def _collect(self, patience: float, shorten: Callable[[], bool] = lambda: False) -> list[Any]:
        deadline = time.monotonic() + patience + 60
        reports: dict[Pipe, Any] = {}
        is_short = False
        while len(reports) < len(self._crowds):
            is_short = is_short or shorten()
            waited_for = [crowd for crowd in self._crowds if crowd not in reports]
            ready = wait(waited_for, _LOOK_SECONDS)
            reports |= {crowd: _received(crowd) for crowd in waited_for if crowd in ready}
            if time.monotonic() > deadline:
                raise TimeoutError("a process of the load generator says nothing")
        return [reports[crowd] for crowd in self._crowds]


def _together(one: Delivery, other: Delivery) -> Delivery:
    return Delivery(
        expected=one.expected + other.expected,
        delivered=one.delivered + other.delivered,
        lost=one.lost + other.lost,
        duplicated=one.duplicated + other.duplicated,
        reordered=one.reordered + other.reordered,
        other=one.other + other.other,
        closed=one.closed + other.closed,
        seconds=max(one.seconds, other.seconds),
        counts=np.add(one.counts, other.counts),
    )


def _received(connection: Any) -> Any:  # it depends on the order what the answer is
    try:
        said = connection.recv()
    except EOFError:
        raise ChildProcessError("a process of the load generator has ended") from None
    if isinstance(said, Exception):
        raise said
    return said
