"""Dispatch.

What does the router spend on a message: nobody listens, one listens, many listen?

Clients here take every write at once and for nothing, so this is the router alone, without the system calls
that dominate it in life (test_socket_fanout.py has these).
"""

from __future__ import annotations

import pytest

from bench.messages import PATTERN, PAYLOAD, PREFIX
from bench.null_client import new_hub, null_client
from bench.scores import Benchmark, Score
from mux.hub.hub import Hub
from mux.wire import sse_encoder, ws_encoder
from mux.wire.publication import Encoder
from mux.wire.resp import Push

CHANNEL = PREFIX + b"lobby"
BATCHES = (1, 64, 512)


def batch(channel: bytes, messages: int) -> list[Push]:
    """Return what the reader gives to the router."""
    return [[b"pmessage", PATTERN, channel, PAYLOAD] for _ in range(messages)]


AUDIENCES: dict[str, tuple[Encoder, ...]] = {
    "ws": (ws_encoder.encode,),
    "sse": (sse_encoder.encode,),
    "mixed": (ws_encoder.encode, sse_encoder.encode),
}
"""Who listens; of the mixed ones each is of another kind than the one before, as far as a set has an order."""


def audience(subscribers: int, kind: str = "ws") -> Hub:
    """Return a hub with so many subscribers on the channel."""
    hub = new_hub()
    encoders = AUDIENCES[kind]
    for number in range(subscribers):
        hub.router.join(null_client(hub, encoders[number % len(encoders)]), CHANNEL)
    return hub


@pytest.mark.parametrize("messages", BATCHES)
def test_dispatch_miss(messages: int, benchmark: Benchmark, score: Score) -> None:
    """A batch nobody listens to."""
    case = benchmark.group = f"dispatch_miss_{messages}msgs"
    benchmark(audience(1).dispatch, batch(PREFIX + b"unheard", messages))
    score(case, "us/message", per=messages, contender="mux")


@pytest.mark.parametrize("messages", BATCHES)
def test_dispatch_hit_1sub(messages: int, benchmark: Benchmark, score: Score) -> None:
    """A batch on one channel with one subscriber."""
    case = benchmark.group = f"dispatch_hit_1sub_{messages}msgs"
    benchmark(audience(1).dispatch, batch(CHANNEL, messages))
    score(case, "us/message", per=messages, contender="mux")


@pytest.mark.parametrize("channels", BATCHES)
def test_dispatch_hit_many_channels(channels: int, benchmark: Benchmark, score: Score) -> None:
    """A batch in which every message is on a channel of its own, with one subscriber."""
    case = benchmark.group = f"dispatch_hit_{channels}ch_1sub"
    hub = new_hub()
    names = [PREFIX + b"room/%d" % number for number in range(channels)]
    for name in names:
        hub.router.join(null_client(hub), name)
    benchmark(hub.dispatch, [message for name in names for message in batch(name, 1)])
    score(case, "us/message", per=channels, contender="mux")


@pytest.mark.parametrize("messages", [1, 64])
@pytest.mark.parametrize("subscribers", [10, 100, 1000])
def test_dispatch_hit_many(subscribers: int, messages: int, smoke: bool, benchmark: Benchmark, score: Score) -> None:
    """A batch on one channel with many subscribers: one write for each."""
    subscribers = min(subscribers, (10 if smoke else 1000))
    case = benchmark.group = f"dispatch_hit_{subscribers}subs_{messages}msgs"
    benchmark(audience(subscribers).dispatch, batch(CHANNEL, messages))
    score(case, "us/write", per=subscribers, contender="mux")


@pytest.mark.parametrize("messages", [1, 64])
@pytest.mark.parametrize("kind", ["sse", "mixed"])
def test_dispatch_hit_other_kinds(kind: str, messages: int, smoke: bool, benchmark: Benchmark, score: Score) -> None:
    """A batch on one channel with a thousand event streams, or with them and WebSockets half and half."""
    subscribers = 10 if smoke else 1000
    case = benchmark.group = f"dispatch_hit_{subscribers}{kind}_{messages}msgs"
    benchmark(audience(subscribers, kind).dispatch, batch(CHANNEL, messages))
    score(case, "us/write", per=subscribers, contender="mux")
