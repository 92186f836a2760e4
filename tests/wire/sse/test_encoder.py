from base64 import b64decode, b64encode
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux.wire.publication import BINARY, GUESS, JOINED, LEFT, Kind, Publication, is_text
from mux.wire.sse.coding import chunk, codings
from mux.wire.sse.encoder import GROWTH, Events, come_back, comment
from tests.support.event_streams import Event, parse, unchunked

CHANNEL = b"feed:lobby"

EVENTS = Events()
encode, encode_plain = EVENTS.encode, EVENTS.encode_plain
CHUNKED, PLAIN = codings(EVENTS)["1.1", ""], codings(EVENTS)["1.0", ""]

payloads = (
    st.binary(max_size=200)
    | st.text(max_size=100).map(str.encode)
    | st.text(st.sampled_from(" \r\n:adtevnrx\ufeff\x00\x85\u2028"), max_size=30).map(str.encode)
)
kinds = st.sampled_from([GUESS, BINARY, JOINED, LEFT])
batches = st.lists(st.tuples(payloads, kinds, st.integers(0)), max_size=10)


def expected(publication: Publication) -> Event:
    """Return what a client gets of a publication."""
    payload, kind, _ = publication
    if kind == BINARY or not is_text(payload):
        return Event("binary", b64encode(payload).decode())
    name = {JOINED: "joined", LEFT: "left"}.get(kind, "message")
    return Event(name, payload.decode().replace("\r\n", "\n").replace("\r", "\n"))


@pytest.mark.parametrize(
    ("payload", "events"),
    [
        pytest.param(b"hello", b"data: hello\n\n", id="one line"),
        pytest.param(b"", b"data: \n\n", id="nothing"),
        pytest.param(b" hello", b"data:  hello\n\n", id="leading space"),
        pytest.param(b"a\nb", b"data: a\ndata: b\n\n", id="LF"),
        pytest.param(b"a\rb", b"data: a\ndata: b\n\n", id="CR"),
        pytest.param(b"a\r\nb", b"data: a\ndata: b\n\n", id="CRLF"),
        pytest.param(b"a\n\rb", b"data: a\ndata: \ndata: b\n\n", id="LFCR"),
        pytest.param(b"a\n", b"data: a\ndata: \n\n", id="LF at the end"),
        pytest.param(b"\n a", b"data: \ndata:  a\n\n", id="space after LF"),
        pytest.param(b"data: x\n\nevent: y", b"data: data: x\ndata: \ndata: event: y\n\n", id="looks like fields"),
        pytest.param("ü\x85\u2028ü".encode(), "data: ü\x85\u2028ü\n\n".encode(), id="no line ends of this standard"),
        pytest.param(b"a\x00b", b"data: a\x00b\n\n", id="NUL"),
        pytest.param(b"\xff", b"data: /w==\nevent: binary\n\n", id="no UTF-8"),
        pytest.param(b"\xed\xa0\x80", b"data: 7aCA\nevent: binary\n\n", id="surrogate"),
    ],
)
def test_a_payload_is_one_event(payload: bytes, events: bytes) -> None:
    """Lines as the standard knows them; what cannot be text is base64."""
    assert encode_plain(CHANNEL, [(payload, GUESS, 0)]) == events
    assert encode(CHANNEL, [(payload, GUESS, 0)]) == b"%x\r\n%b\r\n" % (len(events), events)


def test_what_is_known_to_be_binary_stays_binary() -> None:
    """Valid UTF-8 or not: a client sent it as binary."""
    assert (
        encode_plain(CHANNEL, [(b"hi", BINARY, 0), (b"", BINARY, 0)])
        == b"data: aGk=\nevent: binary\n\ndata: \nevent: binary\n\n"
    )


def test_the_events_of_a_wildcard_are_named_by_their_channels() -> None:
    """As encodeURIComponent() names them; what is no text is told apart by what no name has."""
    encode = Events(prefix=b"feed:").encode_plain
    batch = [
        (b"1", GUESS, 1, b"feed:orders.7"),
        (b"2\n", GUESS, 2, b"feed:a/b?c=%&!'()*~"),
        (b"3", BINARY, 3, b"feed:a"),
        (b"Client 7 has joined", JOINED, 4, b"feed:a"),
        (b"Client 7 has left", LEFT, 5, b"feed:a"),
        (b"", GUESS, 6, b"feed:missed"),
        (b"\xff", GUESS, 7, b"feed:error"),
    ]
    assert encode(b"feed:*", cast("Any", batch)) == (
        b"data: 1\nevent: orders.7\n\ndata: 2\ndata: \nevent: a%2Fb%3Fc%3D%25%26!'()*~\n\n"
        b"data: Mw==\nevent: a?binary\n\ndata: Client 7 has joined\nevent: a?joined\n\n"
        b"data: Client 7 has left\nevent: a?left\n\ndata: \nevent: %6Dissed\n\n"
        b"data: /w==\nevent: %65rror?binary\n\n"
    )


def test_announcements_have_events_of_their_own() -> None:
    """A page that parses every message as JSON once broke on them; what is no text is binary whatever is said of it."""
    batch = [
        (b"Client 7 has joined", JOINED, 0),
        (b"{}", GUESS, 0),
        (b"Client 7 has left", LEFT, 0),
        (b"\xff", LEFT, 0),
    ]
    assert encode_plain(CHANNEL, batch) == (
        b"data: Client 7 has joined\nevent: joined\n\ndata: {}\n\ndata: Client 7 has left\nevent: left\n\n"
        b"data: /w==\nevent: binary\n\n"
    )


def test_a_batch_is_one_chunk_in_order() -> None:
    """One event a publication, nothing between them, and the size in front is of all."""
    assert encode(CHANNEL, [(b"a", GUESS, 0), (b"b", BINARY, 0), (b"c\nd", GUESS, 0)]) == (
        b"34\r\ndata: a\n\ndata: Yg==\nevent: binary\n\ndata: c\ndata: d\n\n\r\n"
    )


def test_an_empty_batch_is_no_bytes() -> None:
    """An empty chunk would end the body."""
    assert encode(CHANNEL, []) == encode_plain(CHANNEL, []) == b""


def test_a_batch_is_left_as_it_is() -> None:
    """The same list goes to the encoders of other kinds of clients."""
    batch = [(b"a", GUESS, 0), (b"b", GUESS, 0)]
    encode(CHANNEL, batch)
    encode_plain(CHANNEL, batch)
    assert batch == [(b"a", GUESS, 0), (b"b", GUESS, 0)]


def test_what_is_said_of_the_connection_is_no_event() -> None:
    """A comment, and the time to come back; with an empty line, httpx-sse once took them for an empty event."""
    assert comment("still here") == b": still here\n"
    assert come_back(1234) == b"retry: 1234\n"
    parsed = parse(comment("still here") + come_back(1234))
    assert (parsed.events, parsed.retries, parsed.comments) == ([], [1234], ["still here"])


def test_the_head_is_that_of_a_stream() -> None:
    """HTTP/1.1 in chunks, HTTP/1.0 until the connection ends; neither kept nor gathered on the way."""
    common = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache, no-transform\r\n"
        b"X-Accel-Buffering: no\r\nConnection: close\r\n"
    )
    assert CHUNKED.head({}) == common + b"Transfer-Encoding: chunked\r\n\r\n"
    assert PLAIN.head({"Vary": "Origin"}) == common + b"Vary: Origin\r\n\r\n"


def test_a_header_that_came_from_a_request_goes_back_as_it_came() -> None:
    """Sanic reads bytes that are not UTF-8 as surrogates; once the answer to such an Origin was a traceback."""
    assert b"\r\nX: \xff\r\n" in PLAIN.head({"X": b"\xff".decode(errors="surrogateescape")})


def test_both_codings_end_as_their_version_of_http_has_it() -> None:
    """The last chunk, or nothing but the end of the connection."""
    assert unchunked(CHUNKED.wrap(b"x") + CHUNKED.end) == ([b"x"], True)
    assert PLAIN.wrap(b"x") + PLAIN.end == b"x"
    assert chunk(b"x" * 16) == b"10\r\n" + b"x" * 16 + b"\r\n"


@given(batches)
def test_a_client_reads_what_was_published(batch: list[Publication]) -> None:
    """Payloads, their order and text or binary come through the standard's parser; of line ends, that there was one."""
    # A replaced byte and a character that looks like it are the same to a decoder.
    batch = [publication for publication in batch if "\ufffd".encode() not in publication[0]]
    chunks, is_ended = unchunked(encode(CHANNEL, batch))
    assert not is_ended
    assert len(chunks) == bool(batch)
    assert b"".join(chunks) == encode_plain(CHANNEL, batch)
    events = parse(come_back(1) + encode_plain(CHANNEL, batch)).events
    assert events == list(map(expected, batch))
    for event, (payload, _, _) in zip(events, batch, strict=True):
        if event.name == "binary":
            assert b64decode(event.data) == payload


@given(batches, batches)
def test_batches_do_not_run_into_one_another(one: list[Publication], other: list[Publication]) -> None:
    """Every event is complete when its batch is."""
    assert encode_plain(CHANNEL, one) + encode_plain(CHANNEL, other) == encode_plain(CHANNEL, one + other)


@given(payloads, kinds)
def test_nothing_grows_beyond_what_is_said(payload: bytes, kind: Kind) -> None:
    """A message that may be sent fits into what may wait for a client."""
    assert len(encode(CHANNEL, [(payload, kind, 0)])) <= max(256, GROWTH * len(payload))
    assert len(encode(CHANNEL, [(b"\n" * len(payload), kind, 0)])) <= max(256, GROWTH * len(payload))
