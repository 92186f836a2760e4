"""Whether a cluster's node hears the others.

A node that is cut off from the cluster's bus answers everything, and gives our own messages back to us; only what is
published on the other nodes does not come. They ping it about once a second, over the very links on which they send
publications, and it counts these pings. So a moment is proven by a ping that was counted after it.

Pure: no I/O, no clock.
"""

from __future__ import annotations

import re

from mux.broker.gap import Moment
from mux.wire.resp import Reply


class Bus:
    """What one node has said of its bus."""

    __slots__ = ("_asked_at", "_pings", "_was_alone", "good_at", "silent")

    def __init__(self) -> None:
        self.good_at: Moment | None = None
        """Everything that other nodes had sent before this moment has come to the node; None if nothing proves it."""
        self.silent = 0
        """How many answers in a row have told of no ping."""
        self._pings = 0
        self._asked_at: Moment | None = None
        self._was_alone = True

    def told(self, asked_at: Moment, info: Reply) -> None:
        """Take an answer to CLUSTER INFO."""
        if not isinstance(info, bytes):
            return  # the user may not ask, so nothing is proven
        self._was_alone = self._was_alone and _number(info, b"cluster_known_nodes") <= 1
        pings = _number(info, b"cluster_stats_messages_ping_received")
        if self._was_alone:
            self.good_at = asked_at
        elif self._asked_at is not None and pings != self._pings:
            self.good_at = self._asked_at
            self.silent = 0
        elif self._asked_at is not None:
            self.silent += 1
        self._pings, self._asked_at = pings, asked_at


def _number(info: bytes, name: bytes) -> int:
    found = re.search(rb"^%b:(\d+)\r?$" % name, info, re.MULTILINE)
    return int(found[1]) if found else 0
