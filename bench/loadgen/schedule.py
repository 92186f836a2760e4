"""When each message is due: an open loop.

Message k is due k/rate seconds after the start, whatever became of those before it, and carries that
moment. A server that stalls for a second is charged for all that was due in that second, not for the one
message that happened to be under way (no coordinated omission). So is a generator that falls behind: its
lateness counts as latency, and is reported by itself.

At rate 0 everything is due at the start: a burst.
"""

from __future__ import annotations

from dataclasses import dataclass


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
        """How long it takes, if everything is on time."""
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
