"""Bytes in, values out; values in, bytes out.

What does it cost to parse what Redis sends, to make the frames of a batch, to parse what a client sends, and to answer
its opening handshake?

Pure functions, so these are the steadiest numbers here, and the first to tell that a step got slower. They do
not add up to the cost of a delivery: no system call is in them, and no cache is as cold as it is in life
(`python -m bench compare` has that).
"""

from __future__ import annotations

import pytest
from websockets.frames import Frame, Opcode

from bench.conftest import Benchmark, Score
from bench.parts import PREFIX, masked, push
from mux.wire.publication import GUESS
from mux.wire.resp import RespReader
from mux.wire.sse.encoder import Events
from mux.wire.websocket.encoder import encode
from mux.wire.websocket.handshake import Handshake, accept_usual
from mux.wire.websocket.parser import WebSocketParser

HEADERS = (
    ("host", "127.0.0.1"),
    ("upgrade", "websocket"),
    ("connection", "Upgrade"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("sec-websocket-version", "13"),
)
EVENTS = {"line": b"x", "lines": b"x" * 15 + b"\n", "binary": b"\xff"}
"""One line of ASCII, as nearly everything is; lines of 15; what is no text."""

# Alone; as many as one write of Redis holds under load; a burst.
by_batch = pytest.mark.parametrize("messages", [1, 64, 512])
by_size = pytest.mark.parametrize("size", [16, 128, 4096])


@by_size
@by_batch
def test_resp_parse(messages: int, size: int, benchmark: Benchmark, score: Score) -> None:
    """The messages of one read from Redis."""
    case = benchmark.group = f"resp_parse_{messages}msgs_{size}B"
    benchmark(RespReader().feed, push(PREFIX + b"lobby", protocol=3, payload=b"x" * size) * messages)
    score(case, "us/message", per=messages)


@pytest.mark.parametrize("contender", ["websockets", "mux"])
@by_size
@by_batch
def test_encode_batch(contender: str, messages: int, size: int, benchmark: Benchmark, score: Score) -> None:
    """The frames of a batch as one buffer, beside those that `websockets` makes, one by one."""
    case = benchmark.group = f"encode_batch_{messages}msgs_{size}B"
    payload = b"x" * size
    if contender == "mux":
        benchmark(encode, b"", [(payload, GUESS, 1)] * messages)
    else:
        benchmark(lambda: b"".join(Frame(Opcode.TEXT, payload).serialize(mask=False) for _ in range(messages)))
    score(case, "us/message", per=messages, contender=contender)


@pytest.mark.parametrize("kind", EVENTS)
@by_size
@by_batch
def test_encode_events(messages: int, size: int, kind: str, benchmark: Benchmark, score: Score) -> None:
    """The events of a batch as one chunk; beside encode_batch, which makes frames."""
    case = benchmark.group = f"encode_events_{kind}_{messages}msgs_{size}B"
    payload = EVENTS[kind] * (size // len(EVENTS[kind]))
    benchmark(Events().encode, b"", [(payload, GUESS, 1)] * messages)
    score(case, "us/message", per=messages)


@by_size
def test_ws_parse(size: int, benchmark: Benchmark, score: Score) -> None:
    """One message of a client that speaks."""
    case = benchmark.group = f"ws_parse_1msg_{size}B"
    parser = WebSocketParser(max_message_bytes=65536)
    frame = masked(b"x" * size)

    def parse() -> None:
        parser.feed(frame)
        parser.parse()
        parser.messages.clear()

    benchmark(parse)
    score(case, "us/message")


@pytest.mark.parametrize("contender", ["websockets", "mux"])
def test_handshake_answer(contender: str, benchmark: Benchmark, score: Score) -> None:
    """Know the usual headers by sight and make the answer, beside all that `websockets` looks at."""
    case = benchmark.group = "handshake_answer"
    if contender == "mux":
        benchmark(accept_usual, HEADERS)
    else:
        handshake = Handshake()
        benchmark(lambda: handshake.answer("/feed/lobby", HEADERS).serialize())
    score(case, "us/connection", contender=contender)
