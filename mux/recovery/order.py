"""Agree with other processes on one numbering of all messages, without a counter in Redis.

Redis executes one command at a time and appends each message to the output of every subscriber in that order. So all
connections that hold the same pattern on the same server hear one sequence, and a later connection hears a suffix of
it. Each process counts what it hears. What processes must agree on is where they began, and for that some messages of
the sequence are marks: everybody notes the count at which it heard a mark, and a claim says which number a mark has.

    a process connects      ──► mark m                   "what number has this message?"
    another knows           ──► claim (m, epoch, n)      "m was number n"
    everybody who heard m   ──► base = n - count at m    from now on its messages have numbers
    nobody answers          ──► claim (m, new epoch, count at m)

A position is an epoch and a number. An epoch says when its numbering began, and has some random digits.

Rules:

1. The state changes when a message is heard, one's own included, and never when it is sent. So processes that heard
   the same have the same state.
2. Two epochs that meet become one: the older one. Positions of the younger cannot be resumed any more.
3. Every beat is a mark, and claims the number of an earlier mark, with a checksum of what was heard before that mark. A
   process whose own count or checksum says otherwise declares the epoch void, and nobody uses it from then on: somebody
   has missed a message without noticing, or the server does not keep one order. When it happens again the processes
   stop numbering on this connection and say so.
4. Only processes on the same server take part, for each node of a cluster keeps an order of its own.

Pure: no I/O and no clock. Times are seconds on any clock that does not go back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from mux.recovery.checksums import Checksums
from mux.recovery.talk import Claim, Talk

TELL_SECONDS = 0.05
"""Each further process waits so much longer before it makes a claim, and makes none when it hears one meanwhile."""

MAX_TELL_SECONDS = 0.35
"""Most seconds that a process waits before it makes a claim."""

BEGIN_SECONDS = 0.5
"""A new epoch begins when nobody has made a claim for so long."""

ASK_SECONDS = 0.3
"""A process that has lost its epoch asks within so many seconds, and not at all when it hears somebody else ask."""

VOID_SECONDS = 600.0
"""A server that has two epochs declared void within this many seconds is taken not to keep one order."""

MAX_MARKS = 4096
"""Most marks that are remembered: those of a thousand processes for half a minute."""

MAX_VOID = 256
"""Most epochs that are remembered to be void."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A process has got a position: for the first time, after a new connection, or in another epoch."""

    missed: int | None
    """The number of messages missed since the process was placed last; None when nobody can say, and nothing that was
    heard before may be taken to be complete."""


class Order:
    """The agreement, as one process sees it.

    Args:
        dice: for names of marks, and for pauses.
        new_epoch: returns the name of an epoch that begins now; a later one is greater as a string.
        rank: returns which place this process has among all it knows, for the name of a mark; 0 is the first.
        checksums: tell what was heard up to a mark; their numbers are counts here.
    """

    def __init__(
        self, dice: Random, new_epoch: Callable[[], str], rank: Callable[[str], int], checksums: Checksums
    ) -> None:
        self._dice = dice
        self._new_epoch = new_epoch
        self._rank = rank
        self._checksums = checksums
        self.epoch = ""
        """The epoch of the positions; empty while this process has none."""
        self.base = 0
        """The number of a message is its count plus this."""
        self.is_off = False
        """True when numbering has stopped, because this server was seen not to keep one order."""
        self.voids = 0
        """The number of epochs that were declared void while this process used them."""
        self.server = ""
        """The run_id of the Redis server; empty while there is no connection, or it does not say."""
        self._last_server = ""
        self._has_connected = False
        self._marks: dict[str, int] = {}
        self._void_count = 0  # what was heard before is not compared: it is why an epoch is void
        self._void: dict[str, None] = {}
        self._void_at = float("-inf")
        self._before = "", 0  # epoch and base of the connection before
        self._is_proven = True  # whether nothing was missed as far as this process knows
        self._claims: dict[str, tuple[float, Talk]] = {}  # what to say, when, by the mark it is about
        self._asked = ""
        self._begin_at = self._ask_at = float("inf")
        self._is_alone = False

    @property
    def is_placed(self) -> bool:
        """True if this process knows the number of every message that it hears."""
        return bool(self.epoch)

    @property
    def due(self) -> float:
        """The time at which tick() is to be called next."""
        return min([self._begin_at, self._ask_at, *(at for at, _ in self._claims.values())])

    def connected(self, server: str, now: float) -> None:
        """Begin on a new connection, whose messages have counts beyond those of the connection before.

        Args:
            server: its run_id; without one, empty, there are no positions.
            now: the time.
        """
        self.disconnected()
        if server != self._last_server:
            self._before = "", 0
        self.server, is_first = server, not self._has_connected
        self._has_connected = True
        self._is_proven = is_first
        self.is_off = False
        if server:
            self._ask_at = now

    def disconnected(self) -> None:
        """Remember the position, which the next connection has to prove."""
        if self.epoch:
            self._before = self.epoch, self.base
        if self.server:
            self._last_server = self.server
        self.server = self.epoch = self._asked = ""
        self._begin_at = self._ask_at = float("inf")
        self._is_alone = False
        self._marks.clear()
        self._claims.clear()

    @property
    def can_be_proven(self) -> bool:
        """True if this process had a position on this server, so that its missed messages can be counted."""
        return bool(self.server and self._before[0])

    def forget(self) -> None:
        """Give up the position from before this connection: what was missed since is not asked any more."""
        self._before = "", 0

    def alone(self, mark: str, now: float) -> None:
        """Take note that nobody else heard a mark of this process: the reply to its PUBLISH was 1."""
        if mark in self._marks and mark == self._asked:
            self._begin_at = now
        else:
            self._is_alone = True  # the message itself comes after the reply

    def heard(self, talk: Talk, count: int, now: float) -> Placed | None:
        """Take in what a process said, this one included.

        Args:
            talk: what was said.
            count: how many messages this process has heard, this one included.
            now: the time.

        Returns:
            Placed, when this process has got a position.
        """
        if talk.server != self.server or self.is_off:
            return None
        placed = None
        if talk.void:
            self._voided(talk.void, now)
            if not self.is_placed:
                self._void_count = count
        if talk.claim is not None:
            placed = self._claimed(talk.claim, now)
            if placed is not None:
                count += placed.missed or 0
        if talk.mark:
            if len(self._marks) >= MAX_MARKS:
                del self._marks[next(iter(self._marks))]
            self._marks[talk.mark] = count
            if talk.claim is None:
                self._heard_question(talk.mark, now)
        return placed

    def _heard_question(self, mark: str, now: float) -> None:
        if self.is_placed:
            self._tell(mark, now)
        elif not self._asked:
            self._asked = mark
            self._ask_at = float("inf")
            self._begin_at = now if self._is_alone else now + BEGIN_SECONDS + self._dice.uniform(0, BEGIN_SECONDS / 2)

    def _claimed(self, claim: Claim, now: float) -> Placed | None:
        if claim.epoch in self._void:
            self._say(claim.epoch, Talk(self.server, void=claim.epoch), now)
            return None
        count = self._marks.get(claim.mark)
        if count is None:
            return None
        number = self.base + count
        if claim.epoch == self.epoch:
            if claim.number != number or not self._checksums.agree(count, self._void_count, claim.checksum):
                self._say(claim.epoch, Talk(self.server, void=claim.epoch), now)
            else:
                self._claims.pop(claim.mark, None)
            return None
        if self.is_placed and claim.epoch > self.epoch:
            self._tell(claim.mark, now)
            return None
        return self._take(claim, count, now)

    def _take(self, claim: Claim, count: int, now: float) -> Placed | None:
        """Use the epoch of a claim from now on."""
        epoch, base = self._before
        missed = 0 if self._is_proven else None
        if claim.epoch == epoch:
            missed = claim.number - base - count
            if missed < 0:
                self._say(claim.epoch, Talk(self.server, void=claim.epoch), now)
                return None
            # What was missed is counted from now on, and was missed before every mark of this connection.
            self._marks = {mark: heard + missed for mark, heard in self._marks.items()}
            count += missed
        self.epoch, self.base = claim.epoch, claim.number - count
        self._before = "", 0
        self._is_proven = True
        self._asked = ""
        self._begin_at = self._ask_at = float("inf")
        self._claims.clear()
        return Placed(missed)

    def _voided(self, epoch: str, now: float) -> None:
        self._claims.pop(epoch, None)
        if epoch in self._void:
            return
        if len(self._void) >= MAX_VOID:
            del self._void[next(iter(self._void))]
        self._void[epoch] = None
        if self._before[0] == epoch:
            self._before = "", 0
        if self.epoch not in ("", epoch):
            return
        self.voids += self.is_placed
        # One without a place counts it, too: it may be the very one that hears another order, and would go on alone.
        self.epoch = self._asked = ""
        self._is_proven = False
        self._claims.clear()
        self.is_off = now - self._void_at < VOID_SECONDS
        self._void_at = now
        if not self.is_off:
            self._ask_at = now + self._dice.uniform(0, ASK_SECONDS)

    def _tell(self, mark: str, now: float) -> None:
        claim = Claim(mark, self.epoch, self.base + self._marks[mark])
        self._say(mark, Talk(self.server, claim=claim), now)

    def _say(self, about: str, talk: Talk, now: float) -> None:
        """Say something soon, unless somebody else says the same before."""
        if about not in self._claims:
            self._claims[about] = now + min(MAX_TELL_SECONDS, TELL_SECONDS * self._rank(about)), talk

    def tick(self, now: float) -> list[Talk]:
        """Return what is to be said now; to be called when it is due."""
        said = [about for about, (at, _) in self._claims.items() if at <= now]
        talks = [self._claims.pop(about)[1] for about in said]
        if self._ask_at <= now:
            self._ask_at = now + BEGIN_SECONDS * 4  # the question itself may be lost
            talks.append(Talk(self.server, mark=self._new_mark()))
        if self._begin_at <= now:
            self._begin_at = now + BEGIN_SECONDS
            count = self._marks.get(self._asked)
            if count is None:  # it was pushed out by many others
                self._asked = ""
                self._begin_at, self._ask_at = float("inf"), now
            else:
                talks.append(Talk(self.server, claim=Claim(self._asked, self._new_epoch(), count)))
        return talks

    def beat(self) -> Talk | None:
        """Return what is to be said every few seconds; None while this process takes no part."""
        if not self.server or self.is_off:
            return None
        claim = None
        if self.is_placed and self._marks:
            mark, count = next(reversed(self._marks.items()))
            claim = Claim(mark, self.epoch, self.base + count, self._checksums.upto(count, self._void_count))
        return Talk(self.server, mark=self._new_mark(), claim=claim)

    def _new_mark(self) -> str:
        return f"{self._dice.getrandbits(64):016x}"
