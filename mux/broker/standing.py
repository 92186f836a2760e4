"""Keep what a server says of itself in INFO: its identity, its age, and how far it is in its history.

It is asked when a connection begins and every second after that, by a user who may ask. So when a connection is lost
and the next one leads to another server, the two can be compared: a replica that was promoted remembers at which
offset it parted from its master, and the master's own offsets, each with a moment, tell when that was.
"""

from __future__ import annotations

from collections import deque

from mux.broker.gap import Moment
from mux.broker.loss import Loss
from mux.broker.proof import read_field
from mux.wire.resp import Reply

OFFSETS = 512
"""Most offsets of a server that are kept, each with its moment. When there are more, every second one is dropped."""

ROUNDING_SECONDS = 2.0
"""Seconds by which a server may have run longer than it says, which is in whole seconds of a clock seldom read."""


class Record:
    """The answers of one server to INFO, while one connection to it lived.

    Attributes:
        is_cluster: True when the server is a node of a cluster.
        run_id: drawn by the server when it started; empty if it does not tell this user.
        started_at: the server started at this moment or later.
        replication_id: names the history it writes or follows.
        former_id: names the history it followed before it was promoted.
        parted_at: the first offset of its own, which is not in the former history.
        buffer_kills: how many clients it had closed over their output buffers when it was last asked; None below
            Redis 7.2, which does not say.
    """

    __slots__ = (
        "_offsets",
        "buffer_kills",
        "former_id",
        "is_cluster",
        "parted_at",
        "replication_id",
        "run_id",
        "started_at",
    )

    def __init__(self, info: Reply, now: Moment) -> None:
        ago = int(read_field(info, b"uptime_in_seconds", rb"\d+") or 0) + ROUNDING_SECONDS
        self.is_cluster = bool(read_field(info, b"cluster_enabled", rb"1"))
        self.run_id = read_field(info, b"run_id", rb"\w+")
        self.started_at = Moment(now.wall - ago, now.monotonic - ago)
        self.replication_id = read_field(info, b"master_replid", rb"\w+")
        self.former_id = read_field(info, b"master_replid2", rb"\w+")
        self.parted_at = int(read_field(info, b"second_repl_offset", rb"-?\d+") or -1)
        self.buffer_kills: int | None = None
        self._offsets: deque[tuple[Moment, int]] = deque()
        self.told_kills(info)

    def told_offset(self, asked_at: Moment, info: Reply) -> None:
        """Take an answer to INFO for how far the server is in its history; at asked_at it was not yet further."""
        if offset := read_field(info, b"master_repl_offset", rb"\d+"):
            if len(self._offsets) >= OFFSETS:
                self._offsets = deque(list(self._offsets)[::2])
            self._offsets.append((asked_at, int(offset)))

    def told_kills(self, info: Reply) -> None:
        """Take an answer to INFO for how many clients the server has closed over their output buffers."""
        if kills := read_field(info, b"client_output_buffer_limit_disconnections", rb"\d+"):
            self.buffer_kills = int(kills)

    def last_before(self, offset: int) -> Moment | None:
        """Return the last moment at which the server had not reached an offset; None if none is known."""
        return next((moment for moment, reached in reversed(self._offsets) if reached < offset), None)


def good_before(good: Moment, began: Moment, before: Record, now: Record) -> Moment:
    """Return up to which moment everything has come, when the next connection may lead to another server.

    What was published there while we listened to the old server has not come, and the old one could not know.

    Args:
        good: up to when everything that the old server had has come.
        began: when the connection to it was made.
        before: what the old server said of itself.
        now: what the new one says.
    """
    if not before.run_id or not now.run_id or before.run_id == now.run_id:
        return good
    if before.replication_id and now.former_id == before.replication_id:
        # The last of the history that both have was written after the moment, and got to the new one before it parted.
        parted = before.last_before(now.parted_at - 1) or began
    else:
        # Nothing can have been published there before it was started.
        parted = began if now.started_at.is_before(began) else now.started_at
    return parted if parted.is_before(good) else good


def blame_buffer(loss: Loss, before: Record, now: Record) -> Loss:
    """Name the output buffer as the cause, if Redis has closed somebody for it when it closed us.

    Redis closes a subscriber without a word, and counts how many it has closed. The count says nothing of us when it
    moved before our last question, when another server counts, or when it was we who closed.

    Args:
        loss: what is known of it.
        before: what the server of the lost connection had said of itself.
        now: what the server of the next one says.
    """
    kills, later = before.buffer_kills, now.buffer_kills
    is_same = before.run_id != "" and before.run_id == now.run_id
    if not is_same or loss.cause not in ("closed", "error") or kills is None or later is None or later <= kills:
        return loss
    return Loss("output_buffer", "Redis closed it over its output buffer limit for pubsub")
