"""Know the other processes of the fleet.

Every process sends a beat when it has connected to Redis, and every ten seconds. When a newcomer beats, every other
process beats again soon, so that the newcomer knows them all. The moment is drawn from a time that grows with the
fleet, and one beat answers any number of newcomers: a fleet that comes back as one costs each process one message.

A process that leaves says goodbye and is forgotten. A process that is killed stays known for a minute, and is missing
in every answer meanwhile.

Pure: the time is given, in seconds of any clock that does not go back.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from random import Random

from mux.fleet.messages import Identity

BEAT_SECONDS = 10.0
"""Most seconds between two beats of a process."""

FORGET_SECONDS = 60.0
"""A process that is silent for longer is forgotten."""

MAX_PROCESSES = 1024
"""Most other processes that are known. One more takes the place of the one that is silent for longest, so processes
that beat stay known however many are forged."""

SECONDS_PER_PROCESS = 0.002
"""A newcomer knows the fleet after this time for each of its processes, or after LONGEST_REPLY_SECONDS."""

LONGEST_REPLY_SECONDS = 2.0
"""Most seconds until a beat answers a newcomer."""

REST_SECONDS = 0.25
"""Shortest time between two beats, however many newcomers there are, or are forged."""


@dataclass(slots=True)
class _Member:
    identity: Identity
    last_sign: float
    """The time at which the last message of the process came."""


class Census:
    """The other processes that one process knows.

    Args:
        me: the id of the process that knows them.
        dice: decides when a newcomer is answered.
    """

    def __init__(self, me: str, dice: Random) -> None:
        self._me = me
        self._dice = dice
        self._members: dict[str, _Member] = {}  # ordered by their last sign
        self._connected_at = 0.0
        self._last_beat = float("-inf")
        self.due = 0.0
        """The time at which this process has to beat again."""

    def __len__(self) -> int:
        """Return how many other processes are known."""
        return len(self._members)

    @property
    def ids(self) -> Collection[str]:
        """The ids of the other processes; not a copy."""
        return self._members.keys()

    def silent(self, now: float) -> list[tuple[Identity, float]]:
        """Return the other processes, sorted, each with the seconds since its last sign."""
        members = sorted(self._members.values(), key=lambda member: member.identity)
        return [(member.identity, max(0.0, now - member.last_sign)) for member in members]

    def connected(self, now: float) -> None:
        """Wait a minute again for every process: no message came while this one was not connected."""
        self._connected_at = self.due = now

    def sign(self, id_: str, now: float) -> None:
        """Record a message of a process, if that is known."""
        member = self._members.pop(id_, None)
        if member is not None:
            member.last_sign = now
            self._members[id_] = member

    def beat(self, identity: Identity, now: float, *, is_new: bool) -> None:
        """Record the beat of another process; a new one is answered soon."""
        if identity.id == self._me:
            return
        self.sign(identity.id, now)
        if identity.id not in self._members:
            if len(self._members) >= MAX_PROCESSES:
                del self._members[next(iter(self._members))]
            self._members[identity.id] = _Member(identity, now)
        soon = min(LONGEST_REPLY_SECONDS, SECONDS_PER_PROCESS * (len(self._members) + 1))
        if is_new and self.due > now + soon:
            self.due = max(now + self._dice.uniform(0, soon), self._last_beat + REST_SECONDS)

    def left(self, id_: str) -> None:
        """Forget a process that said goodbye; if that was forged, its next beat makes it known again."""
        self._members.pop(id_, None)

    def beaten(self, now: float) -> None:
        """Record that this process has sent a beat."""
        # Spread, for processes that started together would beat together for ever.
        self._last_beat = now
        self.due = now + BEAT_SECONDS * self._dice.uniform(0.8, 1.0)

    def forget(self, now: float) -> None:
        """Forget the processes that have been silent for too long while this one was connected."""
        for id_, member in list(self._members.items()):
            if now - max(member.last_sign, self._connected_at) > FORGET_SECONDS:
                del self._members[id_]
