"""Whatever is known by sight means the same to the strict reader."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux.doorstep.sight import MAX_BYTES, handshake_at_sight
from mux.errors import Refused
from mux.wire.http.reader import RequestReader
from tests.support.servers import handshake
from tests.wire.http.heads import REFUSED, TAKEN

USUAL = handshake(8000)

ODD = {
    "half of it": USUAL[:-2],
    "all but a byte": USUAL[:-1],
    "another path": USUAL.replace(b"/feed/", b"/food/"),
    "another method": USUAL.replace(b"GET", b"PUT"),
    "another version": USUAL.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "a percent-encoded channel": USUAL.replace(b"lobby", b"lobb%79"),
    "no channel": USUAL.replace(b"lobby", b""),
    "an absolute target": USUAL.replace(b"/feed/", b"http://localhost/feed/"),
    "a fragment": USUAL.replace(b"lobby", b"lobby#a"),
    "no host": USUAL.replace(b"Host", b"Toast"),
    "no upgrade that is listed": USUAL.replace(b"Connection: Upgrade", b"Connection: close"),
    "two upgrades": USUAL.replace(b"websocket", b"websocket, h2c"),
    "a field twice": USUAL[:-2] + b"Host: localhost\r\n\r\n",
    "a length": USUAL[:-2] + b"Content-Length: 0\r\n\r\n",
    "chunks": USUAL[:-2] + b"Transfer-Encoding: chunked\r\n\r\n",
    "a query that asks for the past": USUAL.replace(b"lobby", b"lobby?a=b&since=1"),
    "a query that asks for the newest": USUAL.replace(b"lobby", b"lobby?latest=1"),
    "a query with a token": USUAL.replace(b"lobby", b"lobby?a=b&token=c"),
    "a field that asks for the past": USUAL[:-2] + b"Last-Event-ID: 1\r\n\r\n",
    "an expectation": USUAL[:-2] + b"Expect: 100-continue\r\n\r\n",
    "a blank before the colon": USUAL.replace(b"Host:", b"Host :"),
    "a bare LF": USUAL.replace(b"\r\nUpgrade", b"\nUpgrade"),
    "a folded value": USUAL.replace(b"Host: ", b"Host:\r\n "),
    "a control character": USUAL[:-2] + b"A: \x07\r\n\r\n",
    "a value that is not ASCII": USUAL[:-2] + b"A: \xff\r\n\r\n",
    "more than is looked at": USUAL[:-2] + b"A: " + b"a" * MAX_BYTES + b"\r\n\r\n",
}


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in ODD.items()])
def test_what_is_odd_is_left_to_the_strict_reader(data: bytes) -> None:
    """Whether it is a handshake, and what is wrong with it, is decided there."""
    assert handshake_at_sight(data) is None


def test_a_usual_handshake_is_known_with_what_follows_it() -> None:
    """A client may send its first frames at once."""
    seen = handshake_at_sight(USUAL + b"\x81\x80\0\0\0\0")
    assert seen is not None
    channel, fields, size = seen
    assert (channel, size) == (b"lobby", len(USUAL))
    assert fields["upgrade"] == "websocket"


LINES = [
    line
    for data in [*sum((spellings for _, spellings in REFUSED.values()), ()), *sum(TAKEN.values(), ())]
    for line in data.split(b"\r\n")[1:]
    if len(line) < 100
]
FIELDS = st.lists(
    st.one_of(
        st.sampled_from([*LINES, *USUAL.split(b"\r\n")[1:-2], b"Origin: http://a", b"Cookie: a=b; c", b"X: y "]),
        st.binary(max_size=12),
    ),
    max_size=4,
)


@given(FIELDS, st.integers(0, len(USUAL)), st.binary(max_size=3), st.booleans())
def test_what_is_known_by_sight_is_the_same_to_the_strict_reader(
    more: list[bytes], at: int, noise: bytes, has_noise: bool
) -> None:
    """With any fields added, and any bytes anywhere: nothing passes that is refused there or understood otherwise."""
    data = USUAL[:-2] + b"".join(line + b"\r\n" for line in more) + b"\r\n"
    data = data[:at] + noise + data[at:] if has_noise else data
    seen = handshake_at_sight(data)
    reader = RequestReader()
    reader.buffer += data
    try:
        found = reader.next(lambda head: 0)
    except Refused:
        found = None
    if seen is None:
        return
    assert found is not None
    head, body = found
    channel, fields, size = seen
    assert head.is_websocket or fields["connection"].lower() not in ("upgrade", "keep-alive, upgrade")
    assert head.target.partition("?")[0] == "/feed/" + channel.decode()
    assert list(fields.items()) == head.fields
    assert (head.size, body, data[size:]) == (size, b"", bytes(reader.buffer))
