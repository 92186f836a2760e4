"""Count deliveries: delivered, lost, duplicated, reordered.

Every client listens to one channel, and the messages of a channel are numbered from 0. So two things are kept for a
client: the number it expects next, and the set of numbers that were passed over, empty as long as nothing is wrong:

    the next one      delivered
    a later one       delivered; those between are missing
    a missing one     delivered, but reordered
    any other         a duplicate

A message that is missing at the end, or was published after the last that came, is lost.
"""

from __future__ import annotations

from collections.abc import Sequence


class Tally:
    """The counts of so many clients."""

    def __init__(self, clients: int) -> None:
        self.delivered = 0
        """Deliveries, each message to each client once."""
        self.duplicated = 0
        self.reordered = 0
        """The number of delivered messages that came after a later one."""
        self._next = [0] * clients
        self._missing: dict[int, set[int]] = {}

    def one(self, client: int, sequence: int) -> None:
        """Count one message."""
        expected = self._next[client]
        if sequence == expected:
            self._next[client] = expected + 1
            self.delivered += 1
        else:
            self._odd(client, expected, sequence)

    def consecutive(self, client: int, first: int, count: int) -> bool:
        """Count messages numbered one after the other, if the first is the one expected; tell whether it is."""
        if self._next[client] != first:
            return False
        self._next[client] = first + count
        self.delivered += count
        return True

    @property
    def missing(self) -> int:
        """The number of messages that were passed over so far."""
        return sum(map(len, self._missing.values()))

    def lost(self, published: Sequence[int]) -> int:
        """Return how many deliveries are missing, when so many messages were published to each client's channel."""
        return self.missing + sum(
            max(0, count - expected) for count, expected in zip(published, self._next, strict=True)
        )

    def _odd(self, client: int, expected: int, sequence: int) -> None:
        if sequence > expected:
            self._missing.setdefault(client, set()).update(range(expected, sequence))
            self._next[client] = sequence + 1
            self.delivered += 1
            return
        missing = self._missing.get(client, set())
        if sequence in missing:
            missing.remove(sequence)
            self.delivered += 1
            self.reordered += 1
        else:
            self.duplicated += 1
