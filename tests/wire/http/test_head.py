"""The head of a request: what is taken, what is refused, and that slices make no difference."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux.errors import Refused
from mux.wire.http.head import MAX_HEAD_BYTES, MAX_TARGET_BYTES, RequestHead
from mux.wire.http.reader import RequestReader
from tests.wire.http.heads import REFUSED, TAKEN, get, line, post

MOST = 100
"""Largest body in these tests."""


def read(*pieces: bytes) -> tuple[RequestHead, bytes] | int | None:
    """Return the first request in bytes that come in pieces, the status that refuses it, or None when it goes on."""
    reader = RequestReader()
    for piece in pieces:
        reader.buffer += piece
        try:
            found = reader.next(lambda head: MOST if head.method == "POST" else 0)
            while found is None and reader.is_tired:
                found = reader.next(lambda head: MOST)
        except Refused as error:
            return error.reason.status
        if found is not None:
            return found
    return None


def understood(*pieces: bytes) -> RequestHead:
    """Return the head of the first request, which is taken."""
    found = read(*pieces)
    assert isinstance(found, tuple), found
    return found[0]


@pytest.mark.parametrize(
    ("status", "data"),
    [
        pytest.param(status, data, id=f"{kind}: {number}")
        for kind, (status, spellings) in REFUSED.items()
        for number, data in enumerate(spellings)
    ],
)
def test_what_is_no_request_is_refused(status: int, data: bytes) -> None:
    """With the status of RFC 9112, whole or byte by byte."""
    assert read(data) == read(*(data[at : at + 1] for at in range(len(data)))) == status


@pytest.mark.parametrize(
    "data", [pytest.param(data, id=f"{kind}: {n}") for kind, all_ in TAKEN.items() for n, data in enumerate(all_)]
)
def test_spellings_of_one_request_are_one_request(data: bytes) -> None:
    """What is handed on is the same for all: a path, one Host, no blank to spare, no upgrade."""
    head = understood(data)
    fields = [(name, value) for name, value in head.fields if name in ("a", "host")]
    assert (head.method, head.target, head.version) == ("GET", "/a", "1.1")
    assert fields == [("host", "example.com"), ("a", "b")]
    assert head.is_kept
    assert not head.is_websocket
    handed_on = head.canonical(0)
    assert handed_on.startswith(b"GET /a HTTP/1.1\r\nhost: example.com\r\na: b\r\n")
    assert b"upgrade" not in handed_on.lower()
    assert handed_on.endswith(b"connection: keep-alive\r\n\r\n")


def test_limits_are_exact() -> None:
    """8 KiB of target and 32 KiB of head are taken, and one byte more is not."""
    assert len(understood(line(b"GET /" + b"a" * (MAX_TARGET_BYTES - 1) + b" HTTP/1.1")).target) == MAX_TARGET_BYTES
    assert read(line(b"GET /" + b"a" * MAX_TARGET_BYTES + b" HTTP/1.1")) == 414
    room = MAX_HEAD_BYTES - len(get(b"Cookie: "))
    assert understood(get(b"Cookie: " + b"a" * room)).size == MAX_HEAD_BYTES
    assert read(get(b"Cookie: " + b"a" * (room + 1))) == 431


@pytest.mark.parametrize(
    ("version", "connection", "is_kept"),
    [
        ("1.1", "", True),
        ("1.0", "", False),
        ("1.0", "Keep-Alive", True),
        ("1.1", "close", False),
        ("1.1", "x, Close", False),
        ("1.1", "keep-alive, close", False),
        ("1.1", "keep-alive, X-Own", True),
    ],
)
def test_whether_a_connection_is_kept(version: str, connection: str, is_kept: bool) -> None:
    """As RFC 9112, section 9.3, and said once and plainly to Sanic, which compares the whole value."""
    field = f"Connection: {connection}\r\n" if connection else ""
    head = understood(f"GET / HTTP/{version}\r\nHost: h\r\n{field}\r\n".encode())
    assert head.is_kept == is_kept
    assert (b"\r\nconnection: keep-alive\r\n" in head.canonical(0)) == is_kept


def test_a_body_travels_by_its_length() -> None:
    """Whatever it came as: chunks, with extensions and trailers, are put together."""
    chunks = b"2;a=b\r\nhi\r\n3\r\n you\r\n0\r\nTrailer: x\r\n\r\n"
    for data in (
        post(b"Transfer-Encoding: Chunked ", b"Expect: 100-continue") + chunks.replace(b" you", b"you"),
        post(b"Content-Length: 5", b"Upgrade: h2c", b"Connection: Upgrade") + b"hiyou",
    ):
        found = read(data + b"\r\nGET /next HTTP/1.1\r\n")
        assert isinstance(found, tuple)
        head, body = found
        assert body == b"hiyou"
        assert head.canonical(5) == (
            b"POST /a HTTP/1.1\r\nhost: example.com\r\nconnection: keep-alive\r\ncontent-length: 5\r\n\r\n"
        )


def test_bodies_are_read_where_they_are_wanted_and_as_large_as_is_said() -> None:
    """400 for one of a GET, 413 for one that is too large, before a byte of it is there."""
    assert read(get(b"Content-Length: 1")) == 400
    assert read(get(b"Transfer-Encoding: chunked")) == 400
    assert read(post(b"Content-Length: 101")) == 413
    assert read(post(b"Transfer-Encoding: chunked"), b"65\r\n") == 413
    found = read(line(b"PUT /a HTTP/1.1")[:-2] + b"Content-Length: 1000000\r\n\r\n")
    assert isinstance(found, tuple), "it is answered without its body"
    assert not found[0].is_kept


HANDSHAKE = get(b"Connection: Upgrade", b"Upgrade: WebSocket")


def test_a_websocket_is_known() -> None:
    """A GET of HTTP/1.1 with the option that says so, and no body."""
    assert understood(HANDSHAKE).is_websocket
    assert b"upgrade: WebSocket" in understood(HANDSHAKE).canonical(0)
    for other in (
        HANDSHAKE.replace(b"GET", b"POST"),
        HANDSHAKE.replace(b"1.1", b"1.0"),
        HANDSHAKE.replace(b"Connection: Upgrade", b"Connection: close"),
    ):
        assert not understood(other).is_websocket


ALL = [data for _, spellings in REFUSED.values() for data in spellings] + [x for all_ in TAKEN.values() for x in all_]
PARTS = st.sampled_from([*ALL, HANDSHAKE, post(b"Transfer-Encoding: chunked") + b"1\r\nx\r\n0\r\n\r\n", b"\r\n", b"\n"])


@given(st.lists(st.one_of(PARTS, st.binary(max_size=20)), max_size=4).map(b"".join), st.lists(st.integers(0, 400)))
def test_slices_make_no_difference(data: bytes, cuts: list[int]) -> None:
    """Any bytes, in any slices, end in the same request or the same refusal."""
    ends = sorted({min(cut, len(data)) for cut in cuts} | {len(data)})
    pieces = [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    whole, sliced = read(data), read(*pieces)
    if isinstance(whole, tuple):
        assert isinstance(sliced, tuple)
        assert (whole[0].canonical(len(whole[1])), whole[1]) == (sliced[0].canonical(len(sliced[1])), sliced[1])
    else:
        assert whole == sliced
