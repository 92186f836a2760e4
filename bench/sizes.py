"""How much work each suite does: in full, or just enough to see that it runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The parameters of a run; the promises are judged only where judged is True."""

    judged: bool
    fanout_clients: int
    burst_messages: int
    burst_rounds: int
    steady_messages: int
    echo_clients: int
    echoes: int
    handshakes: int
    connection_rounds: int
    rounds: int
    channels_per_subscriber: int
    channel_subscribers: int
    large_fanout: int


FULL = Sizes(
    judged=True,
    fanout_clients=1000,
    burst_messages=1000,
    burst_rounds=9,
    steady_messages=25,
    echo_clients=50,
    echoes=2000,
    handshakes=500,
    connection_rounds=8,
    rounds=8,
    channels_per_subscriber=1000,  # as many as a client may have (design.md, section 7)
    channel_subscribers=1000,
    large_fanout=1000,
)
"""About three minutes on two cores; most of it is spent by the baselines."""

SMOKE = Sizes(
    judged=False,
    fanout_clients=5,
    burst_messages=20,
    burst_rounds=1,
    steady_messages=3,
    echo_clients=3,
    echoes=6,
    handshakes=5,
    connection_rounds=2,
    rounds=1,
    channels_per_subscriber=10,
    channel_subscribers=10,
    large_fanout=10,
)
"""Every suite once; its numbers mean nothing."""
