"""Bodies in chunks: what is put together, what is refused, and what a turn of the loop may cost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux.errors import Refused
from mux.wire.http.chunked import CHUNKS_PER_TURN, MAX_SIZE_LINE_BYTES, MAX_TRAILER_BYTES, ChunkedReader

MOST = 10_000


def read(*pieces: bytes) -> tuple[bytes, bytes] | int | None:
    """Return the body and what is left, the status that refuses it, or None when it goes on."""
    reader, buffer = ChunkedReader(MOST), bytearray()
    for piece in pieces:
        buffer += piece
        try:
            reader.read(buffer)
            while reader.has_more:
                reader.read(buffer)
        except Refused as error:
            return error.reason.status
    return (bytes(reader.body), bytes(buffer)) if reader.is_complete else None


@given(
    st.lists(st.binary(min_size=1, max_size=50), max_size=5),
    st.sampled_from([b"", b";a", b' ; a="b c"']),
    st.sampled_from([b"", b"A: b\r\n", b"A:\r\nB: c\r\n"]),
    st.binary(max_size=10),
    st.lists(st.integers(0, 300)),
)
def test_chunks_are_put_together(
    chunks: list[bytes], extension: bytes, trailers: bytes, rest: bytes, cuts: list[int]
) -> None:
    """Whatever is between them is dropped, what follows is left, and slices make no difference."""
    coded = b"".join(b"%X%b\r\n%b\r\n" % (len(chunk), extension, chunk) for chunk in chunks)
    data = coded + b"0" + extension + b"\r\n" + trailers + b"\r\n"
    ends = sorted({min(cut, len(data)) for cut in cuts} | {len(data)})
    pieces = [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    assert read(*pieces[:-1], pieces[-1] + rest) == (b"".join(chunks), rest)
    assert read(data[:-1]) is None


@pytest.mark.parametrize(
    ("status", "data"),
    [
        (400, b"x\r\n"),
        (400, b"\r\n"),
        (400, b" 1\r\n"),
        (400, b"-1\r\n"),
        (400, b"0x1\r\n"),
        (400, b"1_0\r\n"),
        (400, b"123456789\r\n"),
        (400, b"1\nx\r\n"),
        (400, b"1;\x00\r\n"),
        (400, b"1\r\nxy\r\n"),
        (400, b"1\r\nx\n0\r\n\r\n"),
        (400, b"1;" + b"a" * MAX_SIZE_LINE_BYTES),
        (400, b"0\r\nno field\r\n\r\n"),
        (400, b"0\r\nA : b\r\n\r\n"),
        (400, b"0\r\n folded\r\n\r\n"),
        (413, b"2711\r\n"),
        (413, b"2710\r\n" + b"x" * MOST + b"\r\n1\r\n"),
        (431, b"0\r\nA: " + b"b" * MAX_TRAILER_BYTES),
        (431, b"0\r\n" + b"A: b\r\n" * 2000),
    ],
)
def test_what_is_no_chunk_is_refused(status: int, data: bytes) -> None:
    """Whole or byte by byte, and whatever follows."""
    assert read(data + b"0\r\n\r\n") == read(*(data[at : at + 1] for at in range(len(data)))) == status


def test_a_turn_reads_so_many_chunks() -> None:
    """A body of tiny chunks is read in several turns, so that others have theirs."""
    reader, buffer = ChunkedReader(MOST), bytearray(b"1\r\nx\r\n" * MOST + b"0\r\n\r\n")
    turns = 1
    reader.read(buffer)
    while reader.has_more:
        reader.read(buffer)
        turns += 1
    assert reader.is_complete
    assert len(reader.body) == MOST
    assert turns > MOST // CHUNKS_PER_TURN
