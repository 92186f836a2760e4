"""Chunks that no process wrote: anybody who may write to Redis can put anything there."""

from __future__ import annotations

import pytest

from mux.recovery import chunks
from mux.recovery.chunks import Chunk, Read, messages_of, segments_of
from mux.wire.resp import encode_push

WHOLE = Chunk(1, True, [Read(encode_push(b"feed:a", b"1"), 1, 5.0)])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"[]\n",
        b"7\n",
        b'"first"\n',
        b'{"first":1,"begins":true,"counts":{},"sizes":[1],"ages":[1]}\nx',
        b'{"first":1,"begins":1,"counts":[],"sizes":[],"ages":[]}\n',
        b'{"first":-1,"begins":true,"counts":[],"sizes":[],"ages":[]}\n',
        b'{"first":1,"begins":true,"counts":[1],"sizes":[2],"ages":[0]}\nx',
        b'{"first":1,"begins":true,"counts":[true],"sizes":[1],"ages":[0]}\nx',
        b'{"first":1,"begins":true,"counts":[1],"sizes":[9007199254740991],"ages":[0]}\nx',
        b'{"first":1,"begins":true,"counts":[1],"sizes":[1],"ages":["0"]}\nx',
        b'{"first":1,"begins":true,"counts":[%b1],"sizes":[%b0],"ages":[%b0]}\n' % ((b"0," * 3000,) * 3),
        b" " * chunks.MAX_HEAD_BYTES + WHOLE.pack(5.0),
        b"\xff" * 1000,
    ],
)
def test_what_is_no_chunk_is_not_believed(data: bytes) -> None:
    """Nor is one that would take long to read."""
    assert Chunk.unpack(data, 1.0) is None


@pytest.mark.parametrize(
    "read",
    [
        Read(b"\xff\xff\r\n", 1, 0.0),
        Read(b"+OK\r\n", 1, 0.0),
        Read(b">1\r\n$8\r\npmessage\r\n", 1, 0.0),
        Read(b">0\r\n", 0, 0.0),
        Read(b">4\r\n$8\r\npmessage\r\n:1\r\n:2\r\n:3\r\n", 1, 0.0),
        Read(b">4\r\n$8\r\npmessage\r\n$0\r\n\r\n$0\r\n\r\n$1\r\nx\r\n", 1, 0.0),
        Read(encode_push(b"feed:a", b"1"), 2, 0.0),
    ],
)
async def test_bytes_that_are_no_messages_are_not_believed(read: Read) -> None:
    """They have the form of a chunk, and would be parsed once more by whoever looks something up."""
    chunks = [WHOLE, Chunk(2, True, [read])]
    assert await messages_of(chunks, 0, 2) is None
    assert await segments_of(chunks, 0, 3) == []


def test_many_small_reads_are_several_chunks() -> None:
    """One of them is what can be taken apart in a turn of the loop."""
    chunk = Chunk(1, True, [Read(encode_push(b"feed:a", b"1"), 1, 5.0)] * chunks.CHUNK_READS)
    packed = chunk.pack(1e9)
    assert len(packed.partition(b"\n")[0]) < chunks.MAX_HEAD_BYTES
    assert Chunk.unpack(packed, 1e9) == chunk
