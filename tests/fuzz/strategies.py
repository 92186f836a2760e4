"""What nobody should send: bytes that begin well and go wrong, and bytes that never were anything."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import strategies as st

from mux.wire.deflate import END, deflated

OPCODES = (0x0, 0x1, 0x2, 0x8, 0x9, 0xA)


def frame(first: int, payload: bytes, mask: bytes = b"\x00" * 4) -> bytes:
    """Return a client's frame whose first byte and mask may be anything (RFC 6455, section 5.2)."""
    size = len(payload)
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    if size < 126:
        return bytes((first, 0x80 | size)) + mask + masked
    return bytes((first, 0xFE)) + size.to_bytes(2) + mask + masked


payloads = st.binary(max_size=200) | st.text(max_size=60).map(str.encode)
good_frames = st.builds(
    frame,
    st.sampled_from([0x80 | opcode for opcode in OPCODES] + [0x00, 0x01, 0x02]),
    payloads,
    st.binary(min_size=4, max_size=4),
)
compressed_frames = st.builds(
    lambda first, payload, mask: frame(first, deflated(payload).removesuffix(END), mask),
    st.sampled_from([0xC1, 0xC2, 0x41, 0x42]),
    payloads | st.integers(0, 9000).map(bytes),
    st.binary(min_size=4, max_size=4),
)
any_frames = st.builds(frame, st.integers(0, 255), payloads, st.binary(min_size=4, max_size=4))

headers_only = st.builds(
    lambda first, size: bytes((first, 0xFF)) + size.to_bytes(8) + b"\x00" * 4,
    st.integers(0, 255),
    st.integers(0, 2**64 - 1),
)
"""Frames that announce up to 2**64 - 1 bytes, which never come."""


@st.composite
def mutated(draw: st.DrawFn, streams: st.SearchStrategy[bytes]) -> bytes:
    """Draw a stream and change, cut out, double or put in some bytes."""
    stream = bytearray(draw(streams))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(stream)))
        match draw(st.sampled_from(("change", "cut", "double", "insert"))):
            case "change" if at < len(stream):
                stream[at] ^= draw(st.integers(1, 255))
            case "cut":
                del stream[at : at + draw(st.integers(1, 20))]
            case "double":
                stream[at:at] = stream[at : at + draw(st.integers(1, 20))]
            case _:
                stream[at:at] = draw(st.binary(max_size=8))
    return bytes(stream)


client_streams = mutated(
    st.lists(good_frames | compressed_frames | any_frames | headers_only, max_size=8).map(b"".join)
) | st.binary(max_size=400)


@st.composite
def sliced(draw: st.DrawFn, streams: st.SearchStrategy[bytes]) -> list[bytes]:
    """Draw a stream in any slices, without an empty one."""
    stream = draw(streams)
    places = sorted({0, len(stream), *draw(st.lists(st.integers(0, len(stream)), max_size=12))})
    return [stream[start:end] for start, end in pairwise(places)]


def bulk(data: bytes) -> bytes:
    """Return a bulk string of RESP."""
    return b"$%d\r\n%b\r\n" % (len(data), data)


scalars = st.one_of(
    st.binary(max_size=40).map(bulk),
    st.integers(-(2**63), 2**63 - 1).map(lambda n: b":%d\r\n" % n),
    st.sampled_from(
        [b"+OK\r\n", b"-ERR no\r\n", b"_\r\n", b"#t\r\n", b",1.5\r\n", b"(123\r\n", b"$-1\r\n", b"*-1\r\n"]
    ),
)


def _aggregate(inner: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.builds(
        lambda kind, items, lie: (
            kind + b"%d\r\n" % max(0, len(items) // (2 if kind == b"%" else 1) + lie) + b"".join(items)
        ),
        st.sampled_from([b"*", b">", b"%", b"~"]),
        st.lists(inner, max_size=4),
        st.sampled_from([0, 0, 0, 0, 1, -1, 10**6]),
    )


replies = st.recursive(scalars, _aggregate, max_leaves=12)
redis_streams = mutated(st.lists(replies, max_size=6).map(b"".join)) | st.binary(max_size=200)
