"""Take every batch of messages from the broker to the hub, and time it.

A batch is what one read from Redis brought. All that happens to it before and beside its delivery happens here, once
per batch and never per message.

1. Clients come first: a batch is delivered before anything else looks at it.
2. A function that is not there costs a comparison with None.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from mux.hub.hub import Hub
from mux.metrics.histogram import Histogram
from mux.wire.resp import Push


class BatchIntake:
    """The way of batches into one process.

    Args:
        hub: delivers them.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.batch_sizes = Histogram(buckets=16)
        """Messages per batch: up to 2**14 = 16,384, and more."""
        self.fan_out_times = Histogram(buckets=24)
        """Microseconds per batch: up to 2**22, which is 4.2 s, and more."""
        self.after_batch: Callable[[list[Push]], None] | None = None
        """Is called with every batch that has been delivered; None when nobody wants to count messages."""

    def take(self, messages: list[Push]) -> None:
        """Have the hub deliver a batch, and time it.

        Raises:
            BrokerGarbled: see Router.dispatch().
        """
        began = perf_counter()
        self._hub.dispatch(messages)
        if self.after_batch is not None:
            self.after_batch(messages)
        self.fan_out_times.observe(int((perf_counter() - began) * 1e6))
        self.batch_sizes.observe(len(messages))
