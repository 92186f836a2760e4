"""What was sent, what was received, when messages may have been missed; and whether that adds up.

The promise is at most once, in order per channel, with loss detection. The checker takes a ledger and
finds what breaks it:

    foreign     received and never sent
    duplicate   received twice by one subscriber
    reordered   received by a session after a later message of the same publisher
    disorder    two sessions of one channel saw two orders (any cycle among all of them)
    missing     accepted and not received, although the subscriber was there and no gap was reported
    misrouted   received by a session on a channel it is not on

When a message was in flight is not known to the moment: somewhere from sent_at to settled_at, which is
the answer to its publisher or, for one without an answer, the first receipt of it or of a later message
of the same publisher. An uncertain message that anybody received was published, so it is owed to everybody.
Missing is forgiven only when that time and a reported gap have a moment in common.

Pure: no I/O, no clock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from math import inf
from typing import NamedTuple


class Message(NamedTuple):
    """What one message is known by: the sequence numbers of a publisher grow."""

    channel: str
    publisher: str
    sequence: int


class Receipt(NamedTuple):
    """A message came, at a time in seconds of Unix time."""

    message: Message
    at: float


@dataclass(slots=True)
class Sent:
    """One message that was sent.

    Attributes:
        sent_at: seconds of Unix time, before the first byte left.
        settled_at: when its publisher was told that Redis has it; None when it is never told.
        certain: False when its publisher knows that it may be lost, as after a 503 or a close with 1013.
    """

    message: Message
    sent_at: float
    settled_at: float | None = None
    certain: bool = True


@dataclass(slots=True)
class Session:
    """One connection of one subscriber to one channel.

    Attributes:
        server: whose gaps it is told of.
        joined_at: seconds of Unix time, after the handshake was answered.
        is_whole: True when it ended because the test ended; what a broken one missed after the last
            message it received, its client knows of.
    """

    server: str
    channel: str
    subscriber: str
    joined_at: float
    received: list[Receipt] = field(default_factory=list)
    is_whole: bool = False


class Gap(NamedTuple):
    """A time, in seconds of Unix time, in which a server says it may have missed messages."""

    server: str
    since: float
    until: float


@dataclass(slots=True)
class Ledger:
    """All there is to know about one run."""

    sent: list[Sent] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)


class Problem(NamedTuple):
    """A broken promise: one of the kinds above, and what happened."""

    kind: str
    text: str


@dataclass(slots=True)
class Verdict:
    """What the checker found: the problems, and how much there was to be wrong."""

    problems: list[Problem] = field(default_factory=list)
    sent: int = 0
    uncertain: int = 0
    received: int = 0
    forgiven: int = 0
    """Messages missing inside a reported gap, counted once for each session."""


def check(ledger: Ledger) -> Verdict:
    """Return everything in a ledger that breaks the promise."""
    verdict = Verdict(
        sent=len(ledger.sent),
        uncertain=sum(not sent.certain for sent in ledger.sent),
        received=sum(len(session.received) for session in ledger.sessions),
    )
    verdict.problems += _impossible(ledger)
    verdict.problems += _reordered(ledger)
    verdict.problems += _disorder(ledger)
    _missing(ledger, verdict)
    return verdict


def _impossible(ledger: Ledger) -> Iterator[Problem]:
    known = {sent.message for sent in ledger.sent}
    seen: dict[str, set[Message]] = defaultdict(set)
    for session in ledger.sessions:
        for message, _ in session.received:
            if message not in known:
                yield Problem("foreign", f"{session.subscriber} received {message}, which nobody sent")
            elif message.channel != session.channel:
                yield Problem("misrouted", f"{session.subscriber} received {message} on {session.channel}")
            elif message in seen[session.subscriber]:
                yield Problem("duplicate", f"{session.subscriber} received {message} twice")
            seen[session.subscriber].add(message)


def _reordered(ledger: Ledger) -> Iterator[Problem]:
    # Who goes on without an answer, on another connection or at another process, has given the order away.
    certain = {sent.message for sent in ledger.sent if sent.certain}
    for session in ledger.sessions:
        last: dict[str, int] = {}
        for message, _ in session.received:
            before = last.get(message.publisher, -1)
            if message.sequence < before and message in certain:
                yield Problem("reordered", f"{session.subscriber} received {message} after number {before}")
            last[message.publisher] = max(before, message.sequence)


def _disorder(ledger: Ledger) -> Iterator[Problem]:
    """Find a cycle among what came right after what: then there is no one order that all of them saw."""
    orders: dict[str, TopologicalSorter[Message]] = defaultdict(TopologicalSorter)
    for session in ledger.sessions:
        for (first, _), (second, _) in pairwise(session.received):
            if first != second:
                orders[session.channel].add(second, first)
    for channel, order in orders.items():
        try:
            order.prepare()
        except CycleError as error:
            yield Problem("disorder", f"{channel} has no one order: {error.args[1][:4]}")


def _missing(ledger: Ledger, verdict: Verdict) -> None:
    settled = _settled(ledger)
    seen = {receipt.message for session in ledger.sessions for receipt in session.received}
    gaps: dict[str, list[Gap]] = defaultdict(list)
    for gap in ledger.gaps:
        gaps[gap.server].append(gap)
    for session in ledger.sessions:
        received = {receipt.message for receipt in session.received}
        sent_at = [sent.sent_at for sent in ledger.sent if sent.message in received]
        # What Redis had before something that came later was sent, comes before it.
        horizon = inf if session.is_whole else max(sent_at, default=-inf)
        for sent in ledger.sent:
            until = settled[sent.message]
            if (
                not (sent.certain or sent.message in seen)
                or sent.message in received
                or sent.message.channel != session.channel
                or sent.sent_at < session.joined_at
                or until > horizon
            ):
                continue
            if any(gap.since <= until and sent.sent_at <= gap.until for gap in gaps[session.server]):
                verdict.forgiven += 1
            else:
                text = f"{session.subscriber} on {session.server} missed {sent.message}"
                verdict.problems.append(
                    Problem("missing", f"{text}, sent from {sent.sent_at:.3f} to {until:.3f}, outside of every gap")
                )


def _settled(ledger: Ledger) -> dict[Message, float]:
    """Return for each message a time by which Redis had it, in seconds of Unix time."""
    first: dict[Message, float] = {}
    for session in ledger.sessions:
        for message, at in session.received:
            first[message] = min(at, first.get(message, inf))
    settled: dict[Message, float] = {}
    later: dict[tuple[str, str], float] = {}
    for sent in sorted(ledger.sent, key=lambda sent: -sent.message.sequence):
        message = sent.message
        key = (message.channel, message.publisher)
        by = min(first.get(message, inf), inf if sent.settled_at is None else sent.settled_at)
        settled[message] = later[key] = min(by, later.get(key, inf))
    return settled
