"""Compressed messages (RFC 7692), to clients and from them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from mux import reasons
from mux.reasons import Reason
from mux.wire.deflate import AT_ONCE_BYTES, END, deflated
from mux.wire.publication import BINARY, GUESS, Publication
from mux.wire.websocket.encoder import MAX_WINDOW_BITS, MIN_WINDOW_BITS, compressors, encode, text_frame
from mux.wire.websocket.message import Message
from mux.wire.websocket.parser import INFLATED_PER_FRAME, WebSocketParser
from tests.wire.websocket.parsing import frames, receive

LIMIT = 2000
MASK = b"\x00\x00\x00\x00"
COMPRESSORS = compressors(64)
ENCODERS = {bits: one.encoder(encode) for bits, one in COMPRESSORS.items()}
LONG = b'{"price": 12.5, "volume": 1200}' * 10
SMALL = deflated(LONG).removesuffix(END)


def frame(first: int, payload: bytes) -> bytes:
    """Return a frame of a client."""
    size = len(payload)
    return (
        bytes((first, 0x80 | size)) + MASK + payload
        if size < 126
        else (bytes((first, 0xFE)) + size.to_bytes(2) + MASK + payload)
    )


def read(buffer: bytes, window_bits: int = 15) -> list[Message]:
    """Return what `websockets` makes of the frames of the server, where no context is kept."""
    reader = PerMessageDeflate(True, True, window_bits, 15)
    found = []
    for first, payload in frames(buffer):
        one = reader.decode(Frame(Opcode(first & 0xF), payload, True, bool(first & 0x40)))
        found.append((bytes(one.data), one.opcode is Opcode.BINARY))
    return found


def parser() -> WebSocketParser:
    """Return a parser of a client that compression was agreed on with."""
    return WebSocketParser(max_message_bytes=LIMIT, inflates=True)


@given(
    st.lists(st.tuples(st.binary(max_size=300).map(lambda few: few * 2), st.sampled_from([GUESS, BINARY])), max_size=5)
)
def test_clients_read_what_was_published(batch: Sequence[tuple[bytes, int]]) -> None:
    """Text as text and binary as binary, in order, with every window."""
    publications: list[Publication] = [(payload, kind, 1) for payload, kind in batch]
    plain = read(encode(b"feed:a", publications))
    for bits in range(MIN_WINDOW_BITS, MAX_WINDOW_BITS + 1):
        assert read(ENCODERS[bits](b"feed:a", publications), bits) == plain


@pytest.mark.parametrize("payload", [b"a" * 63, zlib.compress(LONG), b""], ids=["small", "random", "empty"])
def test_what_would_not_shrink_is_sent_as_it_is(payload: bytes) -> None:
    """A frame may be compressed or not, and says which."""
    batch = [(payload, GUESS, 1)]
    assert ENCODERS[15](b"feed:a", batch) == encode(b"feed:a", batch)


def test_no_batch_is_compressed_beyond_a_bound() -> None:
    """Compressing holds the loop; the rest of a huge batch goes as it is."""
    half = b"a" * (AT_ONCE_BYTES // 2)
    batch = [(half, GUESS, 1), (half + b"aaa", GUESS, 2), (half, GUESS, 3), (b"a" * 70, GUESS, 4)]
    sent = frames(ENCODERS[15](b"feed:a", batch))
    assert [bool(first & 0x40) for first, _ in sent] == [True, False, True, False]


def test_clients_with_a_window_of_ours_or_more_share_their_bytes() -> None:
    """Browsers offer the largest window and `websockets` 12 bits: one encoder, so that all is compressed once."""
    assert COMPRESSORS[12] is COMPRESSORS[15]
    assert COMPRESSORS[9] is not COMPRESSORS[12]


def test_frames_are_compressed_once_for_clients_that_ask_one_after_the_other() -> None:
    """Clients with encoders of their own are given one object, as the frames they share are one."""
    shared, other = text_frame(LONG), text_frame(LONG[1:])
    compressed = COMPRESSORS[15].compress(shared)
    assert COMPRESSORS[15].compress(shared) is compressed
    assert read(COMPRESSORS[15].compress(other)) == [(LONG[1:], False)]
    assert read(COMPRESSORS[15].compress(shared)) == read(compressed) == [(LONG, False)]
    assert COMPRESSORS[15].compress(b"") == b""


@pytest.mark.parametrize(("first", "binary"), [(0xC1, False), (0xC2, True)])
def test_a_compressed_message_is_inflated(first: int, binary: bool) -> None:
    """Whole, or in fragments of which the first alone is marked, with a ping between them."""
    assert receive(parser(), frame(first, SMALL)) == [(LONG, binary)]
    pieces = [frame(first & ~0x80, SMALL[:3]), frame(0x89, b""), frame(0x00, b""), frame(0x80, SMALL[3:])]
    one = parser()
    assert [message for piece in pieces for message in receive(one, piece)] == [(LONG, binary)]
    assert one.is_at_rest


def test_messages_keep_no_context() -> None:
    """A client may leave out compression for any message, and compressed ones stand alone."""
    stream = frame(0xC1, SMALL) + frame(0x81, b"plain") + frame(0xC1, SMALL) + frame(0xC1, b"\x00") + frame(0xC2, b"")
    expected = [(LONG, False), (b"plain", False), (LONG, False), (b"", False), (b"", True)]
    assert receive(parser(), stream) == expected


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        pytest.param(frame(0xC1, deflated(bytes(LIMIT + 1)).removesuffix(END)), reasons.TOO_LARGE, id="a bomb"),
        pytest.param(
            frame(0x41, deflated(bytes(LIMIT + 1)).removesuffix(END)) + frame(0x80, b""), reasons.TOO_LARGE, id="in two"
        ),
        pytest.param(frame(0xC2, bytes(LIMIT + LIMIT // 8 + 65)), reasons.TOO_LARGE, id="too much that is compressed"),
        pytest.param(frame(0x82, bytes(LIMIT + 1)), reasons.TOO_LARGE, id="too much that is not"),
        pytest.param(frame(0x02, bytes(LIMIT)) + frame(0x80, b"a"), reasons.TOO_LARGE, id="in fragments"),
        pytest.param(frame(0xC1, deflated(b"\xff" * 99).removesuffix(END)), reasons.TEXT, id="no text"),
        pytest.param(frame(0xC1, b"\xff\xff"), reasons.PROTOCOL, id="no DEFLATE"),
        pytest.param(frame(0x41, SMALL[:3]) + frame(0xC0, SMALL[3:]), reasons.PROTOCOL, id="a marked continuation"),
        pytest.param(frame(0xC9, b""), reasons.PROTOCOL, id="a marked ping"),
        pytest.param(frame(0xC8, b""), reasons.PROTOCOL, id="a marked close"),
        pytest.param(frame(0xA1, b""), reasons.PROTOCOL, id="another bit"),
    ],
)
def test_a_mistake_fails_the_connection(stream: bytes, reason: Reason) -> None:
    """By its reason, after the messages before it."""
    one = parser()
    assert receive(one, frame(0x81, b"before") + stream) == [(b"before", False)]
    assert one.failure is reason


def test_a_message_at_the_limit_may_travel_in_more_bytes() -> None:
    """Random bytes grow when they are compressed."""
    random = bytes(number * number * 31 % 251 for number in range(LIMIT))
    compressor = zlib.compressobj(0, wbits=-15)
    large = compressor.compress(random) + compressor.flush(zlib.Z_SYNC_FLUSH).removesuffix(END)
    assert len(large) > LIMIT
    assert receive(parser(), frame(0xC2, large)) == [(random, True)]


def test_nothing_is_compressed_where_that_was_not_agreed_on() -> None:
    """The bit is nobody's then (RFC 6455, section 5.2)."""
    one = WebSocketParser(max_message_bytes=LIMIT)
    assert receive(one, frame(0xC1, SMALL)) == []
    assert one.failure is reasons.PROTOCOL


def test_inflating_counts_as_many_frames() -> None:
    """A few bytes that become many take as long as many frames, and a turn has room for so many."""
    one = parser()
    one.feed(frame(0xC1, deflated(bytes(INFLATED_PER_FRAME)).removesuffix(END)) * 8)
    assert one.parse(5) == 6
    assert len(one.messages) == 3
    assert one.has_more
