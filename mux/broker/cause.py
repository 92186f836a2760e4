"""What a connection was lost for, where only the next one can tell."""

from __future__ import annotations

from mux.broker.connection import Connection
from mux.broker.loss import Loss


def blame_buffer(loss: Loss, before: Connection | None, now: Connection) -> Loss:
    """Name the output buffer as the cause, if Redis has closed somebody for it when it closed us.

    Redis closes a subscriber without a word, and counts how many it has closed. The count says nothing of us when it
    moved before our last question, when another server counts, or when it was we who closed.
    """
    if before is None or loss.cause not in ("closed", "error"):
        return loss
    then, since = before.record, now.record
    if then.standing is None or since.standing is None or then.standing.run_id != since.standing.run_id:
        return loss
    if then.buffer_kills is None or since.buffer_kills is None or since.buffer_kills <= then.buffer_kills:
        return loss
    return Loss("output_buffer", "Redis closed it over its output buffer limit for pubsub")
