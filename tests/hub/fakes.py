"""A client without a network: the socket, the endpoint and the backlog that a Subscriber talks to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from mux.hub.subscriber import AnySubscriber, Backlog, Subscriber
from mux.reasons import Reason
from mux.wire.publication import Encoder, Publication


def lines(channel: bytes, publications: Sequence[Publication]) -> bytes:
    """Encode so that a test can read it: a line each, with what is known to be binary in brackets."""
    return b"".join(b"[%b]\n" % payload if binary else b"%b\n" % payload for payload, binary, _ in publications)


class FakeEndpoint:
    """Keeps what it is told."""

    is_named_once = False

    def ping(self, subscriber: Subscriber[Any]) -> bytes:
        return b"ping"

    def __init__(self) -> None:
        self.is_answered = True
        self.inflates = 0
        self.heard: list[bytes] = []
        self.losses = 0
        self.goodbyes: list[Reason] = []

    def inflation(self, data: bytes) -> int:
        return self.inflates

    def received(self, subscriber: Subscriber[None], data: bytes) -> None:
        self.heard.append(data)

    def last_words(self, subscriber: Subscriber[None], reason: Reason) -> bytes:
        return b""

    def lost(self, subscriber: Subscriber[None]) -> None:
        self.losses += 1

    def close(self, subscriber: Subscriber[None], reason: Reason) -> None:
        self.goodbyes.append(reason)


class FakeBacklog:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.reports: list[str] = []

    def blocked(self, subscriber: AnySubscriber) -> None:
        self.reports.append("blocked")

    def unblocked(self, subscriber: AnySubscriber) -> None:
        self.reports.append("unblocked")

    def piled_up(self, subscriber: AnySubscriber, data: bytes) -> None:
        self.reports.append(f"{len(data)} more")


class FakeClient:
    """A client and its socket, which behaves as uvloop's: pause_writing() is called inside write().

    Args:
        backlog: whom its subscriber reports to; by default nobody in particular.
        encode: what its subscriber reads.
    """

    def __init__(self, backlog: Backlog | None = None, *, encode: Encoder = lines) -> None:
        self.endpoint = FakeEndpoint()
        self.subscriber: AnySubscriber = Subscriber(
            self, endpoint=self.endpoint, encode=encode, backlog=FakeBacklog() if backlog is None else backlog
        )
        self.written: list[bytes] = []
        self.pending = 0
        self.takes_nothing = False
        """True when nobody reads at the other end: what is written stays here."""
        self.is_broken = False
        """True when the handle is closed, and a write raises."""
        self.ends_one_side = False
        """True where the other end may still send when this one has ended."""
        self.is_reading_paused = False
        self.aborts = 0
        self.on_write: Callable[[], None] = lambda: None

    def write(self, data: bytes) -> None:
        if self.is_broken:
            raise RuntimeError("unable to perform operation; the handler is closed")
        self.on_write()
        self.written.append(data)
        if self.takes_nothing:
            self.pending += len(data)
            if not self.subscriber.is_blocked:
                self.subscriber.pause_writing()

    def take_all(self) -> None:
        """Have the other end read everything."""
        self.takes_nothing = False
        self.pending = 0
        self.subscriber.resume_writing()

    def take(self, count: int) -> None:
        """Have the other end read so many bytes, and leave enough for the client to stay behind."""
        self.pending -= count

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        """A fake is behind when its test says so."""

    def get_write_buffer_size(self) -> int:
        return self.pending

    def is_closing(self) -> bool:
        return self.aborts > 0

    def is_reading(self) -> bool:
        return not self.is_reading_paused

    def pause_reading(self) -> None:
        self.is_reading_paused = True

    def resume_reading(self) -> None:
        self.is_reading_paused = False

    def abort(self) -> None:
        self.aborts += 1

    def close(self) -> None:
        self.aborts += 1

    def can_write_eof(self) -> bool:
        return self.ends_one_side

    def write_eof(self) -> None:
        if self.is_broken:
            raise OSError("Transport endpoint is not connected")
        self.written.append(b"EOF")


def late_after(times: int) -> Callable[[], bool]:
    """Return a function that says that it is late when it is called for the so many-th time, and from then on."""
    calls = count(1)
    return lambda: next(calls) >= times
