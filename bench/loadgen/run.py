"""One run of load: its processes, and what they report.

    this process ──► a crowd: all clients
                 └─► a publisher (unless the clients publish themselves)

Every process is fresh, so that neither its garbage nor its heap is of another run. They share nothing but
the clock: the start is a moment in the future that all are told.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any, Self

from bench.loadgen import worker
from bench.loadgen.latencies import at_percentile
from bench.loadgen.load import Load, Schedule
from bench.loadgen.publisher import Published
from bench.loadgen.stamp import now_us
from bench.loadgen.worker import Delivery, Joined, Pipe

AHEAD_US = 20_000
AHEAD_EACH_US = 280
"""A schedule starts so far in the future, and so much more for each client, that all processes can prepare."""

LONGEST_AHEAD_US = 300_000

_POLL_SECONDS = 0.2
_GRACE_SECONDS = 90.0

_FORK = multiprocessing.get_context("forkserver")
_FORK.set_forkserver_preload(["bench.loadgen.worker"])


class Generator:
    """The processes of one run. Use it as a context: connect(), and then publish(), as often as you like."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._processes: list[BaseProcess] = []
        publishes = load.limit or (load.inlet is not None and load.messages)
        self._publisher = self._start(worker.publisher) if publishes else None
        self._crowd = self._start(worker.crowd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join()

    def connect(self) -> Joined:
        """Open every client.

        Raises:
            TimeoutError: the process of the clients says nothing.
        """
        if self._publisher is not None:
            _received(self._publisher)
        return self._join("connect")

    def churn(self) -> Joined:
        """Let every client come and go."""
        return self._join("churn")

    def p99_ms(self) -> float:
        """Run the schedule, which loses nothing, and return the 99th percentile of the latencies in milliseconds."""
        delivery = self.publish()
        assert delivery.lost == 0
        return at_percentile(delivery.counts, 99) / 1e3

    def publish(self, *, stop: Callable[[], bool] = lambda: False) -> Delivery:
        """Run the schedule, to its end or until stop() is true: then what was published by then is all there is.

        Raises:
            TimeoutError: nothing moves.
            ConnectionError: the connection that publishes broke, or publishing was refused.
        """
        load = self._load
        start_us = now_us() + min(LONGEST_AHEAD_US, AHEAD_US + AHEAD_EACH_US * load.clients)
        schedule = Schedule(channels=load.channels, messages=load.messages, rate=load.rate, start_us=start_us)
        self._crowd.send(schedule)
        if self._publisher is not None:
            self._publisher.send(schedule)
        published: Published | None = None
        patience = schedule.seconds + load.longest
        deadline = time.monotonic() + patience
        while not self._crowd.poll(_POLL_SECONDS) and time.monotonic() < deadline:
            if stop():
                if self._publisher is not None:
                    self._publisher.send(None)
                    published = _received(self._publisher)
                self._crowd.send(published.messages if published else None)
                break
        delivery: Delivery = _received(self._crowd, patience)
        if self._publisher is not None:
            delivery.published = published or _received(self._publisher)
        return delivery

    def _join(self, order: str) -> Joined:
        self._crowd.send(order)
        joined: Joined = _received(self._crowd, self._load.connect_patience)
        return joined

    def _start(self, work: Callable[[Pipe, Load], None]) -> Pipe:
        ours, theirs = _FORK.Pipe()
        process = _FORK.Process(target=work, args=(theirs, self._load), daemon=True)
        process.start()
        theirs.close()
        self._processes.append(process)
        return ours


def _received(connection: Pipe, patience: float = 0.0) -> Any:  # what it is depends on the order
    if not connection.poll(patience + _GRACE_SECONDS):
        raise TimeoutError("a process of the load generator says nothing")
    try:
        said = connection.recv()
    except EOFError:
        raise ChildProcessError("a process of the load generator has ended") from None
    if isinstance(said, Exception):
        raise said
    return said
