"""What a connection was lost for, where only the next one can tell."""

from __future__ import annotations

from mux.broker.loss import Loss
from mux.broker.standing import Record


def blame_buffer(loss: Loss, before: Record, now: Record) -> Loss:
    """Name the output buffer as the cause, if Redis has closed somebody for it when it closed us.

    Redis closes a subscriber without a word, and counts how many it has closed. The count says nothing of us when it
    moved before our last question, when another server counts, or when it was we who closed.

    Args:
        loss: what is known of it.
        before: what the server of the lost connection had said of itself.
        now: what the server of the next one says.
    """
    if loss.cause not in ("closed", "error") or before.standing is None or now.standing is None:
        return loss
    if before.standing.run_id != now.standing.run_id or before.buffer_kills is None or now.buffer_kills is None:
        return loss
    if now.buffer_kills > before.buffer_kills:
        return Loss("output_buffer", "Redis closed it over its output buffer limit for pubsub")
    return loss
