"""Pieces that anybody can read without what came before, and messages of strangers that are no bombs."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux import reasons
from mux.errors import MessageTooLarge, Refused
from mux.wire.deflate import AT_ONCE_BYTES, END, compressed_body, deflated, inflated, most_deflated, stored

JSON = b'{"symbol": "ABC", "price": 12.5, "volume": 1200, "side": "buy"}' * 40

FINAL = zlib.compressobj(wbits=-15)
HELLO_AT_LAST = FINAL.compress(b"hello") + FINAL.flush()
"""A message whose last block says so, which RFC 7692, section 7.2.3.4, allows."""

NO_MESSAGES = {
    "no DEFLATE": b"\xff\xff\xff",
    "too far back": b"\x02\x02\x00",
    "another message after the last block": HELLO_AT_LAST + HELLO_AT_LAST,
    "bytes after the last block": HELLO_AT_LAST + b"\x00more",
}


@given(data=st.one_of(st.binary(max_size=9000), st.binary(max_size=9).map(lambda few: few * 1000)))
def test_a_piece_is_read_alone(data: bytes) -> None:
    """With the window that was agreed on, and whatever pieces came before."""
    for bits in (9, 12):
        piece = deflated(data, bits)
        assert piece.endswith(END)
        assert zlib.decompressobj(-bits).decompress(piece) == data
        reader = zlib.decompressobj(-bits)
        assert b"".join(map(reader.decompress, (piece, stored(data), piece))) == data * 3
        assert inflated(piece.removesuffix(END), len(data)) == data
        assert len(piece) - len(END) <= most_deflated(len(data))


def test_a_window_is_kept_to() -> None:
    """A reader with a small window has no more of what came before."""
    far = bytes(range(256)) * 8
    assert zlib.decompressobj(-9).decompress(deflated(far * 2, 9)) == far * 2


@pytest.mark.parametrize("size", [0, 1, 0xFFFF, 0x10000, 200_000])
def test_what_is_stored_is_as_it_was(size: int) -> None:
    """In blocks of 64 KiB at most, five bytes longer each."""
    data = b"x" * size
    blocks = stored(data)
    assert zlib.decompressobj(-15).decompress(blocks) == data
    assert len(blocks) == size + 5 * -(-size // 0xFFFF)


def test_a_message_may_say_that_it_ends() -> None:
    """Its last block may be marked, with a byte after it or without."""
    assert inflated(HELLO_AT_LAST, 5) == inflated(HELLO_AT_LAST + b"\x00", 5) == b"hello"


@pytest.mark.parametrize("data", NO_MESSAGES.values(), ids=NO_MESSAGES)
def test_a_message_that_is_none_is_refused(data: bytes) -> None:
    """The client breaks the protocol; none of its bytes are dropped in silence."""
    with pytest.raises(Refused) as refused:
        inflated(data, 100)
    assert refused.value.reason is reasons.PROTOCOL


@pytest.mark.parametrize("limit", [0, 1, 1023])
def test_a_bomb_is_not_inflated_beyond_the_limit(limit: int) -> None:
    """The limit is that of the message, and not of what came."""
    bomb = deflated(bytes(1024)).removesuffix(END)
    assert inflated(bomb, 1024) == bytes(1024)
    with pytest.raises(MessageTooLarge):
        inflated(bomb, limit)


@pytest.mark.parametrize(("coding", "wbits"), [("gzip", 31), ("deflate", 15)])
def test_a_body_is_whole(coding: str, wbits: int) -> None:
    """Its checksum is there, which a stream has not."""
    reader, data = zlib.decompressobj(wbits), JSON * 200
    assert b"".join(map(reader.decompress, compressed_body(data, coding))) == data
    assert reader.eof


def test_json_becomes_a_fraction() -> None:
    """It is what most feeds send."""
    assert len(deflated(JSON)) * 5 < len(JSON) < AT_ONCE_BYTES
