"""A position in the common order of messages, as clients see it: `<epoch>-<number>`.

The epoch says when the numbering began. Within it a number counts all messages of all channels, so the numbers of one
channel grow and have holes. To a client it is a text that it gives back.

Pure: values in, values out.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Protocol

MAX_NUMBER = 2**53 - 1
"""The greatest number of a message: JSON's numbers are exact up to it in every language (RFC 8259, section 6)."""

NOWHERE = "-"
"""Stands for the position of a message that has none, so that a client does not come back with that of an earlier one:
another process might have a place in the order, and give it the message again."""

_POSITION = re.compile(r"([0-9A-Za-z]{1,64})-(0|[1-9][0-9]{0,15})", re.ASCII)


class Numbering(Protocol):
    """Turns the number of a message in this process into its position."""

    epoch: str
    """The epoch; empty while messages have no positions."""
    base: int
    """The number that is added to the number of a message in this process."""


class Position(NamedTuple):
    """The place of a message among all."""

    epoch: str
    number: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.number}"


def parse_position(text: str) -> Position | None:
    """Return the position that a text says; None when it is none."""
    found = _POSITION.fullmatch(text)
    if found is None or int(found[2]) > MAX_NUMBER:
        return None
    return Position(found[1], int(found[2]))
