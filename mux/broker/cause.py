"""What a connection was lost for, where only the next one can tell."""

from __future__ import annotations

from mux.broker.connection import Connection
from mux.broker.loss import Loss


def blame_buffer(loss: Loss, before: Connection | None, now: Connection) -> Loss:
    """Name the output buffer as the cause, if Redis has closed somebody for it since we came.

    Redis closes a subscriber without a word. It counts the times, and counts its connections: a smaller
    number of ours says that it was started anew and counts from 0.
    """
    if before is None or before.buffer_kills is None or now.buffer_kills is None or now.client_id < before.client_id:
        return loss
    if now.buffer_kills > before.buffer_kills:
        return Loss("output_buffer", "Redis closed it over its output buffer limit for pubsub")
    return loss
