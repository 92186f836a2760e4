"""Grants: the channels that a client may subscribe to and publish to, and until when.

Pure: no I/O, no clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import inf

from mux.grants.patterns import ALL, Patterns


class Action(Enum):
    """The two things that a request may want to do with a channel."""

    SUBSCRIBE = "subscribe"
    PUBLISH = "publish"


def check_subject(subject: str | None) -> None:
    """Let a subject pass that every process can be told of: none has half of a surrogate pair.

    Raises:
        ValueError: it has.
    """
    if subject is not None:
        subject.encode()


@dataclass(frozen=True, slots=True)
class Grants:
    """The rights of one client.

    Args:
        subject: the identity that a token gives; None when there is no token, or it gives none.
        subscribe: the channels that may be subscribed to.
        publish: the channels that may be published to.
        until: Unix time in seconds from which on nothing of this holds; infinite when it holds for ever.
    """

    subject: str | None
    subscribe: Patterns
    publish: Patterns
    until: float = inf

    def allows(self, action: Action, name: str) -> bool:
        """Tell whether this may be done with the channel of a name, or all of a wildcard, percent-decoded."""
        return (self.subscribe if action is Action.SUBSCRIBE else self.publish).match(name)


OPEN = Grants(None, ALL, ALL)
"""The grants of every client on a server without a key: everything is allowed."""
