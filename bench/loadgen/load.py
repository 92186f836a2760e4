"""What one run of load is to do."""

from __future__ import annotations

from dataclasses import dataclass

from bench.loadgen.dialect import PLAIN, Dialect, Target
from bench.loadgen.publisher import Door

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
    door: Door | None = None
    """Where messages are published; None lets the first client of each channel publish on its own connection."""
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
        return self.door is None and not self.limit
