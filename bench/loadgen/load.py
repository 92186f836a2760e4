"""The task of one run of load, and the time at which each message is due: an open loop.

Message k is due k/rate seconds after the start, whatever became of those before it, and carries that moment. A server
that stalls for a second is charged for all that was due in that second, not for the one message that happened to be
under way (no coordinated omission). So is a generator that falls behind: its lateness counts as latency, and is
reported by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.loadgen.dialect import PLAIN, Dialect, Inlet, Target

NOWHERE = Target("127.0.0.1", 0, "/feed/{channel}")
"""Stands for the target of a load that has no server yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Clients, and messages for them."""

    target: Target = NOWHERE
    clients: int
    channels: int = 1
    messages: int = 0
    rate: float = 0.0
    """Messages a second, all channels together; at 0 all are due at once."""
    message_bytes: int = 128
    inlet: Inlet | None = None
    """The place where messages are published; None lets the first client of each channel publish on its connection."""
    limit: bool = False
    """Put the limit in the place of a server: it listens on the target's port and sends by itself."""
    dialect: Dialect = PLAIN
    at_once: int = 256
    """Most handshakes under way at a time."""
    connect_patience: float = 120.0
    """Seconds until clients that have not joined count as refused."""
    patience: float = 10.0
    """Seconds without a delivery after which missing messages count as lost."""
    longest: float = 120.0
    """Seconds after the end of the schedule after which missing messages count as lost in any case."""

    @property
    def clients_publish(self) -> bool:
        """True when messages come from the clients themselves."""
        return self.inlet is None and not self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Messages to channels 0, 1, 2, … in turn."""

    channels: int
    messages: int
    """All of them together."""
    rate: float
    """Messages a second, all channels together; 0 is as fast as it goes."""
    start_us: int = 0

    @property
    def seconds(self) -> float:
        """The duration of the schedule in seconds, if everything is on time."""
        return self.messages / self.rate if self.rate else 0.0

    def due_us(self, k: int) -> int:
        """Return when message k is due."""
        return self.start_us + (int(k * 1e6 / self.rate) if self.rate else 0)

    def due_by(self, now_us: int) -> int:
        """Return how many messages are due by now."""
        if now_us < self.start_us:
            return 0
        if not self.rate:
            return self.messages
        return min(self.messages, int((now_us - self.start_us) * self.rate / 1e6) + 1)

    def published(self, channel: int) -> int:
        """Return how many messages a channel gets in all."""
        whole, rest = divmod(self.messages, self.channels)
        return whole + (channel < rest)
