"""Spread clients over a time, so that they do not come back together.

Clients that are closed at the same moment reconnect at the same moment. So dice decide the order, and the moment of
each batch within its share of the time. Batches cost one timer each, where a moment for each client would cost as many
timers as there are clients; with ten batches a second, none has more than a fiftieth of the clients spread over 5 s.

A few clients do no harm together: they are one batch, and their operator does not wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from random import Random
from typing import TypeVar

T = TypeVar("T")

SECONDS_PER_BATCH = 0.1
"""About one batch is due in this time."""

SMALLEST_BATCH = 5
"""A batch has at least this many things, if there are as many."""


def spread(things: Sequence[T], seconds: float, dice: Random) -> list[tuple[float, list[T]]]:
    """Return batches of all things, each with its moment, in seconds from now, in order.

    The first batch is due at once and the last before seconds have passed; 0 seconds make one batch of all things.

    Args:
        things: what to spread; not changed.
        seconds: the time to spread it over.
        dice: decides which batch a thing is in, and when in its share of the time a batch is due.
    """
    if not things:
        return []
    shuffled = dice.sample(things, len(things))
    batches = max(1, min(ceil(seconds / SECONDS_PER_BATCH), len(things) // SMALLEST_BATCH))
    share = seconds / batches
    bounds = [len(things) * number // batches for number in range(batches + 1)]
    return [
        (share * (number + dice.random()) if number else 0.0, shuffled[bounds[number] : bounds[number + 1]])
        for number in range(batches)
    ]
