"""RFC 6455 as a table: bytes into a real socket, exact bytes or a close code out.

A single client of a channel without announcements hears its own echo: text as text, binary as binary. What
comes back passes the parser, Redis, the router and the encoder.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from tests.support.servers import PATIENCE_SECONDS, RawClient, Serving, raw_client, serving

MASK = b"\x37\xfa\x21\x3d"
"""The mask of RFC 6455's example, section 5.7."""

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
FIN = 0x80


def masked(payload: bytes) -> bytes:
    """Return a payload under MASK (RFC 6455, section 5.3)."""
    key = MASK * (len(payload) // 4 + 1)
    return (int.from_bytes(payload) ^ int.from_bytes(key[: len(payload)])).to_bytes(len(payload))


def size_bytes(size: int, mask_bit: int) -> bytes:
    """Return a length as short as it can be (RFC 6455, section 5.2)."""
    if size < 126:
        return bytes((mask_bit | size,))
    if size < 0x10000:
        return bytes((mask_bit | 126,)) + size.to_bytes(2)
    return bytes((mask_bit | 127,)) + size.to_bytes(8)


def sent(opcode: int, payload: bytes = b"", flags: int = FIN) -> bytes:
    """Return a frame of a client."""
    return bytes((flags | opcode,)) + size_bytes(len(payload), 0x80) + MASK + masked(payload)


def heard(opcode: int, payload: bytes = b"") -> bytes:
    """Return a frame of the server."""
    return bytes((FIN | opcode,)) + size_bytes(len(payload), 0) + payload


def fragments(opcode: int, *parts: bytes) -> bytes:
    """Return a message in fragments."""
    frames = [sent(opcode if not at else CONT, part, 0) for at, part in enumerate(parts[:-1])]
    return b"".join([*frames, sent(CONT, parts[-1])])


def pieces(payload: bytes, size: int) -> Iterator[bytes]:
    """Cut a payload."""
    return (payload[at : at + size] for at in range(0, len(payload), size))


GOODBYE = sent(CLOSE, b"\x03\xe8")
GOODBYE_ECHO = heard(CLOSE, b"\x03\xe8")
UTF8 = "Hello-\u00b5@\u00df\u00f6\u00e4\u00fc\u00e0\u00e1-UTF-8!! \u20ac \U0001d11e".encode()

ECHOED: dict[str, tuple[bytes, bytes]] = {
    **{f"text of {n}": (sent(TEXT, b"*" * n), heard(TEXT, b"*" * n)) for n in (0, 1, 125, 126, 127, 128, 65535, 65536)},
    **{
        f"binary of {n}": (sent(BINARY, b"\xfe" * n), heard(BINARY, b"\xfe" * n))
        for n in (0, 1, 125, 126, 127, 128, 65535, 65536)
    },
    "binary that could be text": (sent(BINARY, b"text"), heard(BINARY, b"text")),
    "text not ASCII": (sent(TEXT, UTF8), heard(TEXT, UTF8)),
    "length in more bytes than it takes": (
        b"\x81\xfe\x00\x02" + MASK + masked(b"hi") + b"\x82\xff\0\0\0\0\0\0\0\x01" + MASK + masked(b"!"),
        heard(TEXT, b"hi") + heard(BINARY, b"!"),
    ),
    "many messages in one segment": (
        b"".join(sent(TEXT, b"%d" % n) for n in range(1000)),
        b"".join(heard(TEXT, b"%d" % n) for n in range(1000)),
    ),
    "text and binary in turn": (
        b"".join(sent(TEXT if n % 2 else BINARY, b"%d" % n) for n in range(100)),
        b"".join(heard(TEXT if n % 2 else BINARY, b"%d" % n) for n in range(100)),
    ),
    "empty ping": (sent(PING), heard(PONG)),
    "ping": (sent(PING, b"Hello, world!"), heard(PONG, b"Hello, world!")),
    "ping with binary": (sent(PING, b"\x00\xff\xfe\xfd"), heard(PONG, b"\x00\xff\xfe\xfd")),
    "longest ping": (sent(PING, b"\xfe" * 125), heard(PONG, b"\xfe" * 125)),
    "pongs nobody asked for, then a ping": (sent(PONG) + sent(PONG, b"unasked") + sent(PING, b"!"), heard(PONG, b"!")),
    "a thousand pings are answered in order": (
        b"".join(sent(PING, b"%d" % n) for n in range(1000)),
        b"".join(heard(PONG, b"%d" % n) for n in range(1000)),
    ),
    "two fragments": (fragments(TEXT, b"frag", b"ment"), heard(TEXT, b"fragment")),
    "binary fragments": (fragments(BINARY, b"\xff", b"", b"\xfe"), heard(BINARY, b"\xff\xfe")),
    "empty fragments": (fragments(TEXT, b"", b"", b""), heard(TEXT)),
    "empty fragments around one that is not": (fragments(TEXT, b"", b"middle", b""), heard(TEXT, b"middle")),
    "ping amid fragments is answered first": (
        sent(TEXT, b"frag", 0) + sent(PING, b"now") + sent(CONT, b"ment"),
        heard(PONG, b"now") + heard(TEXT, b"fragment"),
    ),
    "pings and pongs amid fragments": (
        sent(TEXT, b"a", 0)
        + sent(CONT, b"b", 0)
        + sent(PING, b"1")
        + sent(PONG, b"x")
        + sent(CONT, b"c", 0)
        + sent(PING, b"2")
        + sent(CONT, b"d"),
        heard(PONG, b"1") + heard(PONG, b"2") + heard(TEXT, b"abcd"),
    ),
    "fragments of two messages": (
        fragments(TEXT, b"a", b"b") + fragments(BINARY, b"c", b"d") + sent(TEXT, b"e"),
        heard(TEXT, b"ab") + heard(BINARY, b"cd") + heard(TEXT, b"e"),
    ),
    "every byte a fragment": (fragments(TEXT, *pieces(UTF8, 1)), heard(TEXT, UTF8)),
    "64 KiB in fragments of 64": (
        fragments(BINARY, *pieces(bytes(range(256)) * 256, 64)),
        heard(BINARY, bytes(range(256)) * 256),
    ),
    "64 KiB in fragments of 1300": (fragments(TEXT, *pieces(b"*" * 65536, 1300)), heard(TEXT, b"*" * 65536)),
}

VALID_UTF8 = {
    "kosme": "\u03ba\u1f79\u03c3\u03bc\u03b5".encode(),
    "first of 1": b"\x00",
    "first of 2": b"\xc2\x80",
    "first of 3": b"\xe0\xa0\x80",
    "first of 4": b"\xf0\x90\x80\x80",
    "last of 1": b"\x7f",
    "last of 2": b"\xdf\xbf",
    "last of 3": b"\xef\xbf\xbf",
    "last of all": b"\xf4\x8f\xbf\xbf",
    "before the surrogates": b"\xed\x9f\xbf",
    "after the surrogates": b"\xee\x80\x80",
    "replacement character": b"\xef\xbf\xbd",
    "no characters": b"\xef\xbf\xbe\xef\xb7\x90\xf0\x9f\xbf\xbf\xf4\x8f\xbf\xbe",
    "byte order mark": b"\xef\xbb\xbfx",
}

INVALID_UTF8 = {
    "continuation of nothing": b"\x80",
    "two continuations": b"\xbf\x80",
    "start of 2, nothing": b"\xc3",
    "start of 3, one missing": b"\xe2\x82",
    "start of 4, one missing": b"\xf0\x9d\x84",
    "start of 2, then ASCII": b"\xc3(",
    "start of 3, then ASCII": b"\xe2\x82(",
    "start of 4, then ASCII": b"\xf0\x9d(",
    "starts alone": b"\xc3 \xe2 \xf0 ",
    "start of 5": b"\xf8\x88\x80\x80\x80",
    "start of 6": b"\xfc\x84\x80\x80\x80\x80",
    "FE": b"\xfe",
    "FF": b"\xff",
    "beyond the last": b"\xf4\x90\x80\x80",
    "far beyond the last": b"\xf7\xbf\xbf\xbf",
    "overlong slash in 2": b"\xc0\xaf",
    "overlong slash in 3": b"\xe0\x80\xaf",
    "overlong slash in 4": b"\xf0\x80\x80\xaf",
    "longest overlong of 2": b"\xc1\xbf",
    "longest overlong of 3": b"\xe0\x9f\xbf",
    "longest overlong of 4": b"\xf0\x8f\xbf\xbf",
    "overlong zero": b"\xc0\x80",
    "first surrogate": b"\xed\xa0\x80",
    "last surrogate": b"\xed\xbf\xbf",
    "pair of surrogates": b"\xed\xa0\x80\xed\xb0\x80",
    "kosme and a surrogate": "\u03ba\u1f79\u03c3\u03bc\u03b5".encode() + b"\xed\xa0\x80edited",
}

GOODBYES: dict[str, tuple[bytes, bytes]] = {
    "without a code": (sent(CLOSE), heard(CLOSE)),
    "longest reason": (sent(CLOSE, b"\x03\xe8" + b"*" * 123), heard(CLOSE, b"\x03\xe8" + b"*" * 123)),
    "reason not ASCII": (sent(CLOSE, b"\x03\xe8\xe2\x82\xac"), heard(CLOSE, b"\x03\xe8\xe2\x82\xac")),
    **{
        f"{code}": (sent(CLOSE, code.to_bytes(2)), heard(CLOSE, code.to_bytes(2)))
        for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999)
    },
    "twice": (GOODBYE * 2, GOODBYE_ECHO),
    "then a message": (GOODBYE + sent(TEXT, b"late"), GOODBYE_ECHO),
    "then a ping": (GOODBYE + sent(PING), GOODBYE_ECHO),
    "then garbage": (GOODBYE + b"\xff" * 100, GOODBYE_ECHO),
    "after a ping": (sent(PING, b"!") + GOODBYE, heard(PONG, b"!") + GOODBYE_ECHO),
    "amid fragments": (sent(TEXT, b"frag", 0) + GOODBYE + sent(CONT, b"ment"), GOODBYE_ECHO),
    "amid the fragments of a character": (sent(TEXT, b"\xe2\x82", 0) + GOODBYE, GOODBYE_ECHO),
}

FAILURES: dict[str, tuple[bytes, bytes, int]] = {
    **{
        f"reserved bits {bits:03b} in {name}": (sent(opcode, b"", FIN | bits << 4), b"", 1002)
        for bits in range(1, 8)
        for name, opcode in (("text", TEXT), ("ping", PING), ("close", CLOSE))
    },
    "reserved bit after a ping": (sent(PING, b"1") + sent(TEXT, b"x", FIN | 0x20), heard(PONG, b"1"), 1002),
    "reserved bit amid fragments": (sent(TEXT, b"a", 0) + sent(CONT, b"b", FIN | 0x10), b"", 1002),
    **{f"opcode {code:x}": (sent(code), b"", 1002) for code in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    **{f"opcode {code:x} with payload": (sent(code, b"x"), b"", 1002) for code in (3, 7, 11, 15)},
    "opcode 5 after a ping": (sent(PING, b"1") + sent(5) + sent(PING, b"2"), heard(PONG, b"1"), 1002),
    "text without a mask": (heard(TEXT, b"x"), b"", 1002),
    "ping without a mask": (heard(PING), b"", 1002),
    "ping of 126": (sent(PING, b"\xfe" * 126), b"", 1002),
    "pong of 126": (sent(PONG, b"\xfe" * 126), b"", 1002),
    "close of 126": (sent(CLOSE, b"\x03\xe8" + b"*" * 124), b"", 1002),
    "ping in fragments": (sent(PING, b"a", 0) + sent(CONT, b"b"), b"", 1002),
    "pong in fragments": (sent(PONG, b"a", 0) + sent(CONT, b"b"), b"", 1002),
    "close in fragments": (sent(CLOSE, b"\x03\xe8", 0), b"", 1002),
    "continuation of nothing": (sent(CONT, b"x"), b"", 1002),
    "continuation of nothing, not the last": (sent(CONT, b"x", 0), b"", 1002),
    "text amid text": (sent(TEXT, b"a", 0) + sent(TEXT, b"b"), b"", 1002),
    "binary amid text": (sent(TEXT, b"a", 0) + sent(BINARY, b"b", 0), b"", 1002),
    "close of one byte": (sent(CLOSE, b"\x03"), b"", 1002),
    **{
        f"close with {code}": (sent(CLOSE, code.to_bytes(2)), b"", 1002)
        for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
    },
    "close with a reason that is no UTF-8": (sent(CLOSE, b"\x03\xe8\xed\xa0\x80"), b"", 1007),
    "close with a character cut off": (sent(CLOSE, b"\x03\xe8\xe2\x82"), b"", 1007),
    "a byte too large": (sent(BINARY, b"*" * 65537), b"", 1009),
    "too large in fragments": (fragments(BINARY, b"*" * 65536, b"*"), b"", 1009),
    "2**63 - 1 announced": (b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff" + MASK, b"", 1009),
    "2**64 - 1 announced": (b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff" + MASK, b"", 1009),
    "endless empty fragments": (sent(TEXT, b"", 0) + sent(CONT, b"", 0) * 5000, b"", 1009),
    **{f"UTF-8: {name}": (sent(TEXT, text), b"", 1007) for name, text in INVALID_UTF8.items()},
    **{
        f"UTF-8 in fragments: {name}": (fragments(TEXT, *pieces(text, 1), b""), b"", 1007)
        for name, text in INVALID_UTF8.items()
    },
    "UTF-8, seen before the message is whole": (sent(TEXT, b"ok\xed\xa0\x80", 0), b"", 1007),
    "UTF-8, after text that was in order": (fragments(TEXT, UTF8, b"\xff", UTF8), b"", 1007),
}


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Run on the loop of `mux serve` only; the parser does not know the loop."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="module")
async def feed(redis_url: str) -> AsyncIterator[Serving]:
    """Return one feed for the whole table."""
    async with serving(redis_url=redis_url, prefix="conformance:") as one:
        yield one


async def whole(client: RawClient, stream: bytes) -> None:
    """Send in as few segments as the network makes of it."""
    client.send(stream)


async def in_octets(client: RawClient, stream: bytes) -> None:
    """Send the first 300 bytes one by one."""
    for at in range(min(300, len(stream))):
        client.send(stream[at : at + 1])
        await asyncio.sleep(0)
    client.send(stream[300:])


segmented = pytest.mark.parametrize("send", [whole, in_octets])
Send = Callable[[RawClient, bytes], Awaitable[None]]


@segmented
@pytest.mark.parametrize(("stream", "answer"), ECHOED.values(), ids=ECHOED)
async def test_what_is_in_order_comes_back(feed: Serving, stream: bytes, answer: bytes, send: Send) -> None:
    """Messages as the same kind, whole; pings as pongs, at once; and the connection ends in good order."""
    async with raw_client(feed.port) as client:
        await send(client, stream)
        assert await client.read(len(answer)) == answer
        client.send(GOODBYE)
        assert await client.read_to_end() == GOODBYE_ECHO


@pytest.mark.parametrize("text", VALID_UTF8.values(), ids=VALID_UTF8)
async def test_valid_utf8_comes_back_however_it_is_cut(feed: Serving, text: bytes) -> None:
    """Code points may be split between frames."""
    async with raw_client(feed.port) as client:
        client.send(sent(TEXT, text) + fragments(TEXT, *pieces(text, 1), b""))
        assert await client.read(2 * (2 + len(text))) == heard(TEXT, text) * 2


@segmented
@pytest.mark.parametrize(("stream", "answer"), GOODBYES.values(), ids=GOODBYES)
async def test_a_goodbye_is_answered_by_the_same(feed: Serving, stream: bytes, answer: bytes, send: Send) -> None:
    """Code and reason come back, what followed is ignored, and the server ends the connection."""
    async with raw_client(feed.port) as client:
        await send(client, stream)
        assert await client.read_to_end() == answer


@segmented
@pytest.mark.parametrize(("stream", "answer", "code"), FAILURES.values(), ids=FAILURES)
async def test_a_mistake_ends_the_connection(
    feed: Serving, stream: bytes, answer: bytes, code: int, send: Send
) -> None:
    """What was in order before it is answered, and the close frame says what was wrong."""
    async with raw_client(feed.port) as client:
        await send(client, stream)
        said = await client.read_to_end()
        close = said.removeprefix(answer)
        assert (close[0], len(close), int.from_bytes(close[2:4])) == (FIN | CLOSE, 2 + close[1], code)


@pytest.mark.parametrize(
    ("opcode", "mebibytes", "cut"),
    [(TEXT, 16, 0), (BINARY, 16, 0), (BINARY, 16, 65536), (BINARY, 4, 1024), (TEXT, 1, 64)],
)
async def test_large_messages_come_back_when_the_limit_is_raised(
    redis_url: str, prefix: str, opcode: int, mebibytes: int, cut: int
) -> None:
    """max_message_bytes is all there is to raise: once a message over max_pending_bytes evicted its own reader."""
    payload = b"BAsd7&jh" * (mebibytes * 131072)
    stream = fragments(opcode, *pieces(payload, cut)) if cut else sent(opcode, payload)
    async with (
        serving(redis_url=redis_url, prefix=prefix, max_message_bytes=16 << 20) as feed,
        raw_client(feed.port) as client,
        asyncio.timeout(PATIENCE_SECONDS),
    ):
        client.send(stream)
        assert await client.read(len(payload) + 10) == heard(opcode, payload)
