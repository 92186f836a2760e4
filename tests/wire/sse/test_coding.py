"""Compressed event streams: one body in gzip or deflate, of parts that are the same for every client."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux.wire.deflate import AT_ONCE_BYTES
from mux.wire.publication import GUESS, Publication
from mux.wire.sse.coding import codings
from mux.wire.sse.encoder import Events, come_back
from tests.support.event_streams import unchunked

EVENTS = Events()
FORMS = codings(EVENTS, 64)
WBITS = {"gzip": 31, "deflate": 15}
COMPRESSED = [(version, coding) for version in ("1.1", "1.0") for coding in WBITS]


def body(version: str, sent: bytes) -> bytes:
    """Return a body as it is without the chunks of HTTP/1.1."""
    return b"".join(unchunked(sent)[0]) if version == "1.1" else sent


@pytest.mark.parametrize(("version", "coding"), COMPRESSED)
@given(
    payloads=st.lists(st.one_of(st.binary(max_size=40), st.binary(min_size=1, max_size=3).map(lambda few: few * 99)))
)
def test_any_reader_has_every_part_as_soon_as_it_comes(version: str, coding: str, payloads: list[bytes]) -> None:
    """Whether a batch is compressed or small, and whatever is said of the connection between."""
    form, reader = FORMS[version, coding], zlib.decompressobj(WBITS[coding])
    assert reader.decompress(body(version, form.begin(come_back(1000)))) == come_back(1000)
    for number, payload in enumerate(payloads, 1):
        batch: list[Publication] = [(payload, GUESS, number)]
        assert reader.decompress(body(version, form.encode(b"feed:a", batch))) == EVENTS.encode_plain(b"feed:a", batch)
        assert reader.decompress(body(version, form.wrap(b": still here\n"))) == b": still here\n"


def test_clients_of_a_version_share_their_bytes() -> None:
    """A batch is compressed once for gzip and deflate together."""
    assert FORMS["1.1", "gzip"].encode is FORMS["1.1", "deflate"].encode


@pytest.mark.parametrize(("version", "coding"), COMPRESSED)
def test_the_head_says_which_it_is(version: str, coding: str) -> None:
    """And how it travels, with whatever else is said."""
    head = FORMS[version, coding].head({"Vary": "Origin"})
    assert b"\r\nContent-Encoding: %b\r\n" % coding.encode() in head
    assert (b"Transfer-Encoding: chunked" in head) == (version == "1.1")
    assert FORMS[version, coding].end == FORMS[version, ""].end


def test_nothing_comes_of_nothing() -> None:
    """An empty chunk would end the body."""
    assert FORMS["1.1", "gzip"].encode(b"feed:a", []) == b""


def test_no_batch_is_compressed_beyond_a_bound() -> None:
    """The rest follows as it is."""
    batch: list[Publication] = [(b"a" * AT_ONCE_BYTES, GUESS, 1), (b"b" * 1000, GUESS, 2)]
    sent = FORMS["1.0", "gzip"].encode(b"feed:a", batch)
    assert zlib.decompressobj(-15).decompress(sent) == EVENTS.encode_plain(b"feed:a", batch)
    assert sent.endswith(b"b" * 1000 + b"\n\n")
    assert len(sent) < 5000


def test_streams_are_not_compressed_unless_that_is_wanted() -> None:
    """Then there are no such forms."""
    assert set(codings(EVENTS)) == {("1.1", ""), ("1.0", "")}
