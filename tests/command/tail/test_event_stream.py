"""The event stream parser, against the examples of the standard and against itself, cut anywhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux.command.tail.event_stream import Event, EventStream


def parse(*pieces: bytes) -> list[Event]:
    """Return the events of a stream."""
    stream = EventStream()
    return [event for piece in pieces for event in stream.feed(piece)]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", [("message", "YHOO\n+2\n10")]),
        (b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
         [("message", "first event"), ("message", "second event"), ("message", " third event")]),
        (b"data\n\ndata\ndata\n\ndata:", [("message", ""), ("message", "\n")]),
        (b"data:test\n\ndata: test\n\n", [("message", "test"), ("message", "test")]),
        (b"event: add\ndata: 7\n\nevent: none\n\ndata: 8\n\n", [("add", "7"), ("message", "8")]),
        (b"\xef\xbb\xbfdata: a\xef\xbb\xbf\n\n", [("message", "a\ufeff")]),
        (b"data: a\xe2\x80\xa8b\x0bc\x85\n\n", [("message", "a\u2028b\x0bc\ufffd")]),
        (b"retry: 3000\nunknown: x\ndata: a: b\n\n", [("message", "a: b")]),
        (b"data: cut off\n", []),
    ],
    ids=["lines", "comment and ids", "empty data", "one space", "types", "BOM", "no line ends", "fields", "unfinished"],
)  # fmt: skip
def test_events_are_those_of_the_standard(stream: bytes, events: list[tuple[str, str]]) -> None:
    """Its own examples, and its small print."""
    assert [(event.type, event.data) for event in parse(stream)] == events


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_every_line_end_ends_a_line_at_once(end: bytes) -> None:
    """An event is complete with its empty line, and does not wait for the LF that may follow a CR."""
    assert parse(b"data: a" + end + end) == [Event("message", "a")]
    assert parse(b"data: a\r", b"\n\r", b"\ndata: b\r\n", b"\n") == [Event("message", "a"), Event("message", "b")]


@given(st.lists(st.sampled_from([b"data", b":", b" ", b"x", b"\r", b"\n", b"\r\n", b"event", "ü".encode(), b"\xff"])),
       st.data())  # fmt: skip
def test_a_stream_cut_anywhere_is_the_same(parts: list[bytes], data: st.DataObject) -> None:
    """What a network does to the bytes does not change the events."""
    stream = b"".join(parts)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)))))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert parse(*pieces) == parse(stream)


def test_what_is_kept_of_an_unfinished_event_is_known() -> None:
    """So that an event that never ends can be given up."""
    stream = EventStream()
    assert list(stream.feed(b"data: 12345\ndata: 67")) == []
    assert stream.pending_chars == len("12345\n") + len("data: 67")
    assert list(stream.feed(b"89\n\n")) == [Event("message", "12345\n6789")]
    assert stream.pending_chars == 0


def test_empty_lines_of_data_are_kept_and_known() -> None:
    """They were not, and a stream of nothing else filled the memory."""
    stream = EventStream()
    assert list(stream.feed(b"data:\n" * 1000)) == []
    assert stream.pending_chars == 1000


def test_the_last_comment_is_known() -> None:
    """A server that ends a stream says why in one."""
    stream = EventStream()
    assert stream.comment == ""
    assert list(stream.feed(b": still here\n\n: 1001 going away\n\n")) == []
    assert stream.comment == "1001 going away"
