"""How many bytes wait with each client, and with all of them together.

An amount is what was last looked at, so the sum is a little old: whoever acts on it looks again first. Nothing is
kept of a client with which nothing waits.

Pure: no I/O, no clock, no asyncio.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Pending(Generic[T]):
    """Amounts of bytes by thing, and their sum."""

    __slots__ = ("_amounts", "total")

    def __init__(self) -> None:
        self._amounts: dict[T, int] = {}
        self.total = 0
        """The sum of all amounts, in bytes."""

    def __len__(self) -> int:
        return len(self._amounts)

    def __iter__(self) -> Iterator[T]:
        return iter(self._amounts)

    def __contains__(self, thing: T) -> bool:
        return thing in self._amounts

    def amounts(self) -> dict[T, int]:
        """Return the bytes that wait with each, as last noted; a copy."""
        return self._amounts.copy()

    def amount(self, thing: T) -> int:
        """Return the bytes that wait with thing, as last noted."""
        return self._amounts.get(thing, 0)

    def note(self, thing: T, amount: int) -> int:
        """Set the amount of thing, in bytes, and return what it was before."""
        before = self._amounts.get(thing, 0)
        self._amounts[thing] = amount
        self.total += amount - before
        return before

    def forget(self, thing: T) -> None:
        """Take thing out, whether or not it is in."""
        self.total -= self._amounts.pop(thing, 0)
