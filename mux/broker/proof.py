"""Up to which moment everything that was published has come.

Nothing that Redis says proves that a subscription is there: a connection without one answers every command. What
proves it is a message, and a message has no time on it. So two things together prove a moment:

1. a question asked at that moment was answered, so Redis was past the moment when it answered, and
2. a message came in a later read than the answer, so Redis sent it later: the subscription was there, and what was
   published before the question had come before.

Messages in the same read as the answer prove nothing, for they may stand before it. When nobody publishes, a probe of
our own after the answer is such a message.

In a cluster a node may be cut off from the others. It answers everything then, and gives our own messages back to us;
only what is published on the other nodes does not come. They ping it about once a second, over the very links on which
they send publications, and it counts these pings. So there a moment is proven by a ping that was counted after it.

Pure: no I/O, no clock.
"""

from __future__ import annotations

import re

from mux.broker.gap import Moment
from mux.wire.resp import Reply


class Proof:
    """The last moment that is proven on one connection.

    Args:
        good_at: the first such moment, from before any question; None when none is proven yet.
    """

    __slots__ = ("_asked_at", "_good_at", "_heard")

    def __init__(self, good_at: Moment | None) -> None:
        self._good_at = good_at
        self._asked_at: Moment | None = None
        self._heard = 0

    def answered(self, asked_at: Moment, heard: int) -> None:
        """Take an answer: when it was asked for, and how many messages had come with the read that brought it."""
        self._good_at = self.good_at(heard)
        self._asked_at, self._heard = asked_at, heard

    def good_at(self, heard: int) -> Moment | None:
        """Return the last proven moment, when so many messages have come by now."""
        return self._asked_at if self._asked_at is not None and heard > self._heard else self._good_at


class Bus:
    """The answers of one node of a cluster about its links to the other nodes."""

    __slots__ = ("_asked_at", "_pings", "_was_alone", "good_at", "silent")

    def __init__(self) -> None:
        self.good_at: Moment | None = None
        """Everything that other nodes had sent before this moment has come to the node; None if nothing proves it."""
        self.silent = 0
        """Answers in a row that have told of no ping."""
        self._pings = 0
        self._asked_at: Moment | None = None
        self._was_alone = True

    def told(self, asked_at: Moment, info: Reply) -> None:
        """Take an answer to CLUSTER INFO."""
        if not isinstance(info, bytes):
            return  # the user may not ask, so nothing is proven
        self._was_alone = self._was_alone and int(read_field(info, b"cluster_known_nodes", rb"\d+") or 0) <= 1
        pings = int(read_field(info, b"cluster_stats_messages_ping_received", rb"\d+") or 0)
        if self._was_alone:
            self.good_at = asked_at
        elif self._asked_at is not None and pings != self._pings:
            self.good_at = self._asked_at
            self.silent = 0
        elif self._asked_at is not None:
            self.silent += 1
        self._pings, self._asked_at = pings, asked_at


def read_field(info: Reply, name: bytes, value: bytes) -> str:
    """Return a field of an answer to INFO or CLUSTER INFO that matches a pattern; empty without such a field."""
    found = re.search(rb"^%b:(%b)\r?$" % (name, value), info if isinstance(info, bytes) else b"", re.MULTILINE)
    return found[1].decode() if found else ""
