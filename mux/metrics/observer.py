"""Watch one process: time its fan-out and its event loop, and tell its numbers to whoever asks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter

from mux.broker.broker import Broker
from mux.hub.hub import Hub
from mux.metrics.board import Place
from mux.metrics.catalogue import Snapshot, Sources, take_snapshot
from mux.metrics.histogram import Histogram
from mux.metrics.loop_lag import LAG_TICK_SECONDS, LoopLag
from mux.wire.resp import Push

TICKS_PER_WRITE = 10
"""What other processes know of this one is a second old at most."""


class Observer:
    """The numbers of one process.

    Args:
        hub: whose dispatch() is timed.
        place: where the numbers are shared with other processes; None when there are none.
    """

    def __init__(self, hub: Hub, place: Place | None) -> None:
        self._hub = hub
        self._place = place
        self._sources: Sources
        self._at_batch: Callable[[list[Push]], None] | None = None
        self._loop_lag = LoopLag()
        self._batch_sizes = Histogram(buckets=16)  # up to 2**14 = 16,384 messages, and more
        self._fan_out_times = Histogram(buckets=24)  # microseconds: up to 2**22, which is 4.2 s, and more
        self._timer: asyncio.TimerHandle | None = None
        self._ticks = 0

    def dispatch(self, messages: list[Push]) -> None:
        """Have the hub deliver a batch, and time it."""
        began = perf_counter()
        self._hub.dispatch(messages)
        if self._at_batch is not None:
            self._at_batch(messages)
        self._fan_out_times.observe(int((perf_counter() - began) * 1e6))
        self._batch_sizes.observe(len(messages))

    def start(self, broker: Broker) -> None:
        """Watch the event loop from now on."""
        self._sources = Sources(
            hub=self._hub,
            broker=broker,
            loop_lag=self._loop_lag,
            batch_sizes=self._batch_sizes,
            fan_out_times=self._fan_out_times,
        )
        self._tick()

    def show_batches(self, at_batch: Callable[[list[Push]], None] | None) -> None:
        """Call a function with every batch that has been delivered, from the next one on; None ends that."""
        self._at_batch = at_batch

    @property
    def longest_lag_seconds(self) -> float:
        """How late the event loop was at worst in the last five seconds."""
        return self._loop_lag.longest

    def own_snapshot(self) -> Snapshot:
        """Return the numbers of this process as they are now."""
        return take_snapshot(self._sources)

    def snapshot(self) -> Snapshot:
        """Return the numbers of all processes of this server, this one's as they are now."""
        mine = take_snapshot(self._sources)
        if self._place is None:
            return mine
        self._place.write(mine)
        return self._place.total() | {"mux_processes": self._place.states()}

    def close(self) -> None:
        """Stop watching; what was counted last is told."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._share()

    def _share(self) -> None:
        if self._place is not None:
            self._place.write(take_snapshot(self._sources))

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(LAG_TICK_SECONDS, self._tick)
        self._loop_lag.tick(loop.time())
        if self._place is not None:
            self._place.beat()
        if self._ticks % TICKS_PER_WRITE == 0:
            self._share()
        self._ticks += 1
