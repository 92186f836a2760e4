"""Spread something that is to happen to many over a time, so that they do not come back as one.

Whoever is closed at the same moment reconnects at the same moment. So the order is a dice's, and so is the
moment of each batch within its share of the time. Batches, and not one moment for each, because a batch costs
one timer; at ten a second no batch is more than a fiftieth of what is spread over five seconds.

A handful is no herd: it is not spread, and an operator with a few clients does not wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from random import Random
from typing import TypeVar

T = TypeVar("T")

BATCH_SECONDS = 0.1
"""There is about one batch in this time."""

HANDFUL = 5
"""A batch has at least so many, as long as there are so many."""


def spread(things: Sequence[T], seconds: float, dice: Random) -> list[tuple[float, list[T]]]:
    """Return batches of all things, each with its moment, in seconds from now, in order.

    The first batch is due at once and the last before seconds have passed; with 0 seconds everything is one.

    Args:
        things: what to spread; not changed.
        seconds: the time to spread it over.
        dice: decides who is in which batch, and when in its share of the time a batch is due.
    """
    if not things:
        return []
    shuffled = dice.sample(things, len(things))
    batches = max(1, min(ceil(seconds / BATCH_SECONDS), len(things) // HANDFUL))
    share = seconds / batches
    bounds = [len(things) * number // batches for number in range(batches + 1)]
    return [
        (share * (number + dice.random()) if number else 0.0, shuffled[bounds[number] : bounds[number + 1]])
        for number in range(batches)
    ]
