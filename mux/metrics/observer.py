"""Watch one process: time its event loop, and share its numbers with the other processes of the server."""

from __future__ import annotations

import asyncio

from mux.broker.broker import Broker
from mux.hub.hub import Hub
from mux.journal.journal import Journal
from mux.metrics.board import Row
from mux.metrics.catalogue import Snapshot, Sources, take_snapshot
from mux.metrics.histogram import LAG_TICK_SECONDS, Histogram, LoopLag

TICKS_PER_WRITE = 10
"""Ticks between two writes of the numbers, which so are a second old at most for other processes."""


class Observer:
    """The numbers of one process.

    Args:
        hub: the clients of the process.
        row: where the numbers are shared with other processes; None when there are none.
        batch_sizes: messages per batch from Redis.
        fan_out_times: microseconds that the delivery of each batch took.
        journal: what is kept of the messages.
    """

    def __init__(
        self, hub: Hub, row: Row | None, *, batch_sizes: Histogram, fan_out_times: Histogram, journal: Journal
    ) -> None:
        self._hub = hub
        self._row = row
        self._sources: Sources
        self._loop_lag = LoopLag()
        self._batch_sizes = batch_sizes
        self._fan_out_times = fan_out_times
        self._journal = journal
        self._timer: asyncio.TimerHandle | None = None
        self._ticks = 0

    def start(self, broker: Broker) -> None:
        """Watch the event loop from now on."""
        self._sources = Sources(
            hub=self._hub,
            broker=broker,
            loop_lag=self._loop_lag,
            batch_sizes=self._batch_sizes,
            fan_out_times=self._fan_out_times,
            journal=self._journal,
        )
        self._tick()

    @property
    def longest_lag_seconds(self) -> float:
        """The longest lag of the event loop in the last five seconds, in seconds."""
        return self._loop_lag.longest

    def own_snapshot(self) -> Snapshot:
        """Return the numbers of this process as they are now."""
        return take_snapshot(self._sources)

    def snapshot(self) -> Snapshot:
        """Return the numbers of all processes of this server, this one's as they are now."""
        mine = take_snapshot(self._sources)
        if self._row is None:
            return mine
        self._row.write(mine)
        return self._row.total() | {"mux_processes": self._row.states()}

    def close(self) -> None:
        """Stop watching, and share the last numbers."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._share()

    def _share(self) -> None:
        if self._row is not None:
            self._row.write(take_snapshot(self._sources))

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(LAG_TICK_SECONDS, self._tick)
        self._loop_lag.tick(loop.time())
        if self._row is not None:
            self._row.beat()
        if self._ticks % TICKS_PER_WRITE == 0:
            self._share()
        self._ticks += 1
