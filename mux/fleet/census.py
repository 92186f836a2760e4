"""The other processes that this one knows of.

Every process says so when it has connected to Redis, and every ten seconds. Whoever hears a newcomer says so
again soon, so that the newcomer knows all; "soon" is a draw from a time that grows with the fleet, and one beat
answers any number of newcomers, so that a fleet that comes back as one costs each process one message.

A process that leaves says goodbye and is forgotten. One that is killed is known for a minute, and missing in all
that is asked meanwhile.

Pure: the time is given, in seconds on any clock that does not go back.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from random import Random

from mux.fleet.messages import Process

BEAT_SECONDS = 10.0
"""A process says at least this often that it is there."""

FORGET_SECONDS = 60.0
"""A process that says nothing for longer is forgotten."""

MAX_PROCESSES = 1024
"""How many others are known at most. One more takes the place of the one that was silent for longest: whoever beats
keeps its place, however many are forged."""

SECONDS_PER_PROCESS = 0.002
LONGEST_REPLY_SECONDS = 2.0
"""A newcomer hears of a process within SECONDS_PER_PROCESS for each process that is known, and within
LONGEST_REPLY_SECONDS."""

REST_SECONDS = 0.25
"""Least time from one beat to the next, however many newcomers there are, or are forged."""


@dataclass(slots=True)
class Member:
    """Another process."""

    process: Process
    heard: float
    """When it was last heard of."""


class Census:
    """The other processes that one process knows of.

    Args:
        myself: the one that knows them.
        dice: decides when a newcomer is told.
    """

    def __init__(self, myself: Process, dice: Random) -> None:
        self._myself = myself
        self._dice = dice
        self._members: dict[str, Member] = {}
        self._hears_since = 0.0
        self._beaten = float("-inf")
        self._due = 0.0

    def __len__(self) -> int:
        """How many others there are."""
        return len(self._members)

    @property
    def members(self) -> Collection[Member]:
        """The others; not a copy."""
        return self._members.values()

    def connected(self, now: float) -> None:
        """Take notice that this process hears again; others that seemed silent may only have been unheard."""
        self._hears_since = now
        self._due = now

    def heard_again(self, id_: str, now: float) -> None:
        """Take notice that a process is there, if it is known."""
        known = self._members.pop(id_, None)
        if known is not None:
            known.heard = now
            self._members[id_] = known  # last now: they are in the order in which they were heard

    def heard(self, process: Process, now: float) -> None:
        """Take notice of another."""
        self.heard_again(process.id, now)
        if process.id not in self._members and process.id != self._myself.id:
            if len(self._members) >= MAX_PROCESSES:
                del self._members[next(iter(self._members))]
            self._members[process.id] = Member(process, now)

    def welcome(self, process: Process, now: float) -> None:
        """Take notice of a newcomer, who is to hear of us."""
        self.heard(process, now)
        if process.id != self._myself.id:
            soon = min(LONGEST_REPLY_SECONDS, SECONDS_PER_PROCESS * (len(self._members) + 1))
            if self._due > now + soon:
                self._due = max(now + self._dice.uniform(0, soon), self._beaten + REST_SECONDS)

    def left(self, id_: str) -> None:
        """Forget a process that said goodbye; if that was forged, its next beat makes it known again."""
        self._members.pop(id_, None)

    @property
    def due(self) -> float:
        """When the next beat is to be sent."""
        return self._due

    def beaten(self, now: float) -> None:
        """Take notice that a beat was sent."""
        # Spread, for processes that started together would otherwise beat together for ever.
        self._beaten = now
        self._due = now + BEAT_SECONDS * self._dice.uniform(0.8, 1.0)

    def forget(self, now: float) -> None:
        """Forget the processes that have been silent for too long while this one could hear."""
        for member in list(self._members.values()):
            if now - max(member.heard, self._hears_since) > FORGET_SECONDS:
                del self._members[member.process.id]
