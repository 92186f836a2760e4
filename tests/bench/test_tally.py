"""Counting, message by message."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.loadgen.dialect import PLAIN, SOCKET_IO, parse_target
from bench.loadgen.frames import Frames
from bench.loadgen.stamp import STAMP_BYTES, message, read, read_many
from bench.loadgen.tally import Tally
from tests.bench.lying_server import frame


@given(st.lists(st.integers(0, 30), max_size=60))
def test_any_sequence_is_counted_as_a_set_would(came: list[int]) -> None:
    """Whatever comes in whatever order, each message is delivered once, lost, or a duplicate."""
    tally = Tally(1)
    for sequence in came:
        tally.one(0, sequence)
    distinct = set(came)
    assert tally.delivered == len(distinct)
    assert tally.lost([31]) == 31 - len(distinct)
    assert tally.duplicated == sum(Counter(came).values()) - len(distinct)
    first = list(dict.fromkeys(came))
    assert tally.reordered == sum(1 for at, one in enumerate(first) if any(one < other for other in first[:at]))


@pytest.mark.parametrize("dialect", [PLAIN, SOCKET_IO], ids=["plain", "socket.io"])
@given(order=st.permutations(range(12)), cuts=st.sets(st.integers(1, 900)))
def test_segments_do_not_matter(dialect: object, order: list[int], cuts: set[int]) -> None:
    """However the stream is cut, the same is counted: one at a time, many at once, frames in pieces."""
    assert dialect in (PLAIN, SOCKET_IO)
    kind = SOCKET_IO if dialect is SOCKET_IO else PLAIN
    stream = b"".join(frame(kind.before + message(3, one, 0, 64) + kind.after) for one in order)
    whole, pieces = Frames(kind, 64, [3]), Frames(kind, 64, [3])
    for one in order:
        whole.tally.one(0, one)
    edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    for start, end in pairwise(edges):
        pieces.take(0, stream[start:end])
    for name in ("delivered", "duplicated", "reordered"):
        assert getattr(pieces.tally, name) == getattr(whole.tally, name)
    assert int(pieces.latencies.counts().sum()) == 12


def test_stamps_are_read_as_written() -> None:
    """One by one and many at a time."""
    stamps = [message(channel, 7 * channel, 1_700_000_000_000 + channel, STAMP_BYTES) for channel in range(5)]
    assert [read(stamp) for stamp in stamps] == [(c, 7 * c, 1_700_000_000_000 + c) for c in range(5)]
    channels, sequences, due = read_many(b"".join(stamps))
    assert channels.tolist() == [0, 1, 2, 3, 4]
    assert sequences.tolist() == [0, 7, 14, 21, 28]
    assert due.tolist() == [1_700_000_000_000 + c for c in range(5)]


def test_pings_are_answered() -> None:
    """A ping gets a masked pong with its payload, a Socket.IO heartbeat its own answer."""
    assert Frames(PLAIN, 64, [0]).take(0, b"\x89\x02hi") == b"\x8a\x82\x00\x00\x00\x00hi"
    assert Frames(SOCKET_IO, 64, [0]).take(0, b"\x81\x012") == b"\x81\x81\x00\x00\x00\x003"


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("ws://127.0.0.1:8000", "/feed/{channel}"),
        ("ws://127.0.0.1:8000/feed", "/feed/{channel}"),
        ("ws://127.0.0.1:8000/a/{channel}/b", "/a/{channel}/b"),
        ("ws://127.0.0.1:8000/ws?room={channel}", "/ws?room={channel}"),
    ],
)
def test_channel_goes_where_the_url_says(url: str, path: str) -> None:
    """Without a place for it, the channel is the end of the path."""
    assert parse_target(url).path == path


def test_tls_is_refused() -> None:
    """What TLS costs would be all that is seen."""
    with pytest.raises(ValueError, match="no ws:// URL"):
        parse_target("wss://127.0.0.1")
