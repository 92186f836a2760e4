"""The steps of the hot path.

What does each step between Redis' bytes and a socket cost by itself?

These are for watching: when a suite with a server gets slower, one of these says where. Clients here take
every write at once and for nothing, so dispatch is timed without the system calls that dominate it in
life, and no cache is as cold as it is there. A sum of them is not the cost of a delivery; test_fanout.py
has that.
"""

from __future__ import annotations

import pytest
from websockets.frames import Frame, Opcode

from bench.messages import MASKED_FRAME, PATTERN, PAYLOAD, PAYLOAD_BYTES, PREFIX, push
from bench.null_client import new_hub, null_client
from bench.scoreboard import Benchmark, Score
from bench.sizes import Sizes
from mux.hub.hub import Hub
from mux.wire.resp import Push, RespReader
from mux.wire.ws_encoder import encode
from mux.wire.ws_parser import WebSocketParser

CHANNEL = PREFIX + b"lobby"
MESSAGES = 64
"""As many as one write of Redis holds under load: 12 KB."""


def batch(channel: bytes, messages: int) -> list[Push]:
    """Return what the reader gives to the router."""
    return [[b"pmessage", PATTERN, channel, PAYLOAD] for _ in range(messages)]


def audience(subscribers: int) -> Hub:
    """Return a hub with so many subscribers on the channel."""
    hub = new_hub()
    for _ in range(subscribers):
        hub.router.join(null_client(hub), CHANNEL)
    return hub


@pytest.mark.parametrize("messages", [1, MESSAGES])
def test_encode_batch_by_websockets(messages: int, benchmark: Benchmark, score: Score) -> None:
    """The frames as `websockets` makes them, one by one."""
    case = benchmark.group = f"encode_batch_{messages}msgs_{PAYLOAD_BYTES}B"
    benchmark(lambda: b"".join(Frame(Opcode.TEXT, PAYLOAD).serialize(mask=False) for _ in range(messages)))
    score(case, "us/message", per=messages, contender="websockets")


@pytest.mark.parametrize("messages", [1, MESSAGES])
def test_encode_batch(messages: int, benchmark: Benchmark, score: Score) -> None:
    """The frames of a batch as one buffer."""
    case = benchmark.group = f"encode_batch_{messages}msgs_{PAYLOAD_BYTES}B"
    benchmark(encode, [(PAYLOAD, False)] * messages)
    score(case, "us/message", per=messages, contender="mux")


def test_resp_parse(benchmark: Benchmark, score: Score) -> None:
    """The messages of one read from Redis."""
    case = benchmark.group = f"resp_parse_{MESSAGES}msgs_{PAYLOAD_BYTES}B"
    benchmark(RespReader().feed, push(CHANNEL, protocol=3) * MESSAGES)
    score(case, "us/message", per=MESSAGES)


def test_ws_parse(benchmark: Benchmark, score: Score) -> None:
    """One message of a client that speaks."""
    case = benchmark.group = f"ws_parse_1msg_{PAYLOAD_BYTES}B"
    parser = WebSocketParser(max_message_bytes=65536)
    benchmark(parser.receive, MASKED_FRAME)
    score(case, "us/message")


def test_dispatch_hit_1sub(benchmark: Benchmark, score: Score) -> None:
    """One message for one subscriber."""
    case = benchmark.group = "dispatch_hit_1sub"
    benchmark(audience(1).dispatch, batch(CHANNEL, 1))
    score(case, "us/message")


def test_dispatch_hit_many(sizes: Sizes, benchmark: Benchmark, score: Score) -> None:
    """One message for each of many subscribers."""
    case = benchmark.group = f"dispatch_hit_{sizes.large_fanout}subs"
    benchmark(audience(sizes.large_fanout).dispatch, batch(CHANNEL, 1))
    score(case, "us/delivery", per=sizes.large_fanout)


def test_dispatch_miss(benchmark: Benchmark, score: Score) -> None:
    """A batch nobody listens to."""
    case = benchmark.group = f"dispatch_miss_{MESSAGES}msgs"
    benchmark(audience(1).dispatch, batch(PREFIX + b"unheard", MESSAGES))
    score(case, "us/message", per=MESSAGES)
