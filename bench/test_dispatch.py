"""Dispatch.

What does the router spend on a message: nobody listens, one listens, many listen?

Clients here take every write at once and for nothing, so this is the router alone, without the system calls
that dominate it in life (test_socket_fanout.py has these).
"""

from __future__ import annotations

import pytest

from bench.conftest import Benchmark, Score
from bench.parts import PATTERN, PAYLOAD, PREFIX, new_hub, null_client
from mux.wire.sse.encoder import Events
from mux.wire.websocket import encoder as ws_encoder

EVENTS = Events()


class _Numbering:
    epoch = "019ab3c4d5e6f7a8b"
    base = 10**9


NUMBERED = Events(_Numbering())
"""The events as a server writes them: each has its position."""

ENCODERS = {
    "subs": [ws_encoder.encode],
    "sse": [EVENTS.encode],
    "sse_ids": [NUMBERED.encode],
    "mixed": [ws_encoder.encode, EVENTS.encode],
}
"""The kinds of subscribers; of the mixed ones every other is an event stream."""

KINDS = [
    ("subs", 0),
    ("subs", 1),
    ("subs", 10),
    ("subs", 100),
    ("subs", 1000),
    ("sse", 1000),
    ("sse_ids", 1000),
    ("mixed", 1000),
]


@pytest.mark.parametrize("messages", [1, 64, 512])
@pytest.mark.parametrize(("kind", "subscribers"), KINDS)
def test_dispatch(kind: str, subscribers: int, messages: int, smoke: bool, benchmark: Benchmark, score: Score) -> None:
    """A batch on one channel: a miss, a hit with one subscriber, one write for each of many."""
    subscribers = min(subscribers, 10 if smoke else 1000)
    case = benchmark.group = f"dispatch_1ch_{subscribers}{kind}_{messages}msgs"
    hub = new_hub()
    for number in range(subscribers):
        encode = ENCODERS[kind][number % len(ENCODERS[kind])]
        hub.router.join(null_client(hub, encode), PREFIX + b"lobby")
    benchmark(hub.dispatch, [[b"pmessage", PATTERN, PREFIX + b"lobby", PAYLOAD] for _ in range(messages)])
    is_fanout = subscribers > 1
    score(case, "us/write" if is_fanout else "us/message", per=subscribers if is_fanout else messages)


@pytest.mark.parametrize("channels", [64, 512])
def test_dispatch_many_channels(channels: int, benchmark: Benchmark, score: Score) -> None:
    """A batch in which every message is on a channel of its own, with one subscriber."""
    case = benchmark.group = f"dispatch_{channels}ch_1sub"
    hub = new_hub()
    names = [PREFIX + b"room/%d" % number for number in range(channels)]
    for name in names:
        hub.router.join(null_client(hub), name)
    benchmark(hub.dispatch, [[b"pmessage", PATTERN, name, PAYLOAD] for name in names])
    score(case, "us/message", per=channels)


@pytest.mark.parametrize(("wildcards", "is_heard"), [(0, False), (1, False), (1000, False), (1000, True)])
def test_dispatch_wildcards(wildcards: int, is_heard: bool, smoke: bool, benchmark: Benchmark, score: Score) -> None:
    """A batch over 512 channels with one subscriber each, beside wildcards with three lengths before the star.

    Where they are heard, each message is for one of them.
    """
    wildcards = min(wildcards, 100 if smoke else 1000)
    case = benchmark.group = f"dispatch_512ch_1sub_{wildcards}wildcards{'_heard' if is_heard else ''}"
    hub = new_hub()
    names = [PREFIX + b"room/%03d/%d" % (number, number) for number in range(512)]
    for name in names:
        hub.router.join(null_client(hub), name)
    for number in range(wildcards):
        stem = b"room/%03d/" if is_heard else b"hall/%03d/" + b"." * (number % 3)
        hub.router.join(null_client(hub, EVENTS.encode), PREFIX + stem % number + b"*")
    benchmark(hub.dispatch, [[b"pmessage", PATTERN, name, PAYLOAD] for name in names])
    score(case, "us/message", per=512)
