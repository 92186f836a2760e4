"""A slot holds nothing, one thing, or a set of things; things are never sets themselves.

Most channels have one subscriber and most subscribers have one channel. A set of one is 216 bytes and a reference 8,
so the thing itself is stored until there is a second one.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeAlias, TypeVar

T = TypeVar("T")

Slot: TypeAlias = T | set[T] | None


def added(slot: Slot[T], thing: T) -> Slot[T]:
    """Return the slot with thing in it; a set is changed in place."""
    if slot is None:
        return thing
    if isinstance(slot, set):
        slot.add(thing)
        return slot
    return slot if slot == thing else {slot, thing}


def removed(slot: Slot[T], thing: T) -> Slot[T]:
    """Return the slot without thing, whether or not it was there; a set is changed in place."""
    if isinstance(slot, set):
        slot.discard(thing)
        return slot.pop() if len(slot) == 1 else slot
    return None if slot == thing else slot


def members(slot: Slot[T]) -> Collection[T]:
    """Return what the slot holds; not a copy."""
    if slot is None:
        return ()
    return slot if isinstance(slot, set) else (slot,)
