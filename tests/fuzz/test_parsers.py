"""No bytes make a parser raise what it does not promise, hang, or keep more than it may."""

from __future__ import annotations

import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mux import reasons
from mux.errors import BrokerGarbled, InvalidSetting, MuxError, Refused
from mux.wire.channel import Namespace
from mux.wire.http.origin import OriginPolicy
from mux.wire.resp import Announcement, RespReader, encode_command, escape_name
from mux.wire.websocket.handshake import Handshake
from mux.wire.websocket.parser import WebSocketParser
from tests.fuzz.strategies import client_streams, redis_streams, sliced
from tests.wire.websocket.parsing import receive

LIMIT = 150
MANY = settings(max_examples=100, deadline=None)
Item = tuple[str, str]

header_text = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=30)
handshake_headers: st.SearchStrategy[list[Item]] = st.lists(
    st.tuples(
        st.sampled_from(
            ["Connection", "Upgrade", "Sec-WebSocket-Key", "Sec-WebSocket-Version", "sec-websocket-protocol"]
        )
        | header_text,
        st.sampled_from(["Upgrade", "websocket", "13", "dGhlIHNhbXBsZSBub25jZQ==", "keep-alive, Upgrade", ""])
        | header_text,
    ),
    max_size=8,
)


@MANY
@given(sliced(client_streams), st.booleans())
def test_any_client_bytes_are_messages_or_close_the_connection(pieces: list[bytes], inflates: bool) -> None:
    """Messages are within the limit, text is UTF-8, and after a failure nothing comes."""
    parser = WebSocketParser(max_message_bytes=LIMIT, inflates=inflates)
    ended = False
    for piece in pieces:
        was_open = parser.is_open
        messages = receive(parser, piece)
        _, is_last = parser.outgoing()
        assert was_open or not messages
        for payload, binary in messages:
            assert len(payload) <= LIMIT
            if not binary:
                payload.decode()
        assert not (ended and is_last)
        ended = ended or is_last


@MANY
@given(sliced(client_streams), st.booleans())
def test_client_bytes_mean_the_same_in_any_slices(pieces: list[bytes], inflates: bool) -> None:
    """The network cuts where it likes, whether or not messages may be compressed."""
    whole, cut = (WebSocketParser(max_message_bytes=LIMIT, inflates=inflates) for _ in range(2))
    expected = receive(whole, b"".join(pieces)) if pieces else []
    assert [message for piece in pieces for message in receive(cut, piece)] == expected
    assert cut.is_open == whole.is_open


def test_what_never_becomes_a_message_is_not_kept() -> None:
    """A client that sends fragments, pings and empty frames for ever holds no more than one message's worth."""
    parser = WebSocketParser(max_message_bytes=1024)
    start, ping = b"\x01\x80\0\0\0\0", b"\x89\xfd\0\0\0\0" + b"p" * 125
    receive(parser, start + ping)
    parser.outgoing()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(5000):
            receive(parser, ping)
            parser.outgoing()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 10_000


@MANY
@given(sliced(redis_streams))
def test_any_redis_bytes_parse_or_are_garbled(pieces: list[bytes]) -> None:
    """A message has four parts of bytes, or the stream is garbled; no other error."""
    reader = RespReader()
    with suppress(BrokerGarbled):
        for piece in pieces:
            messages, others = reader.feed(piece)
            assert all(isinstance(push, list) for push in messages)
            assert not any(isinstance(other, Announcement) and other[:1] == [b"pmessage"] for other in others)


@MANY
@given(sliced(redis_streams))
def test_a_message_from_any_redis_bytes_can_be_dispatched(pieces: list[bytes]) -> None:
    """What the reader calls a message has four parts, all bytes, and a channel that is not empty."""
    reader = RespReader()
    with suppress(BrokerGarbled):
        for piece in pieces:
            for push in reader.feed(piece)[0]:
                assert len(push) == 4
                assert all(isinstance(part, bytes) for part in push)


@MANY
@given(st.text(max_size=80), st.text(max_size=40))
def test_any_origin_passes_or_is_refused(origin: str, host: str) -> None:
    """Only a page of this host passes an empty list; no other error."""
    try:
        OriginPolicy().check(origin, host)
    except Refused as error:
        reason = error.reason
    else:
        reason = reasons.ORIGIN
        assert origin.lower().partition("://")[2].split(":")[0] == host.lower().split(":")[0] or "[" in origin
    assert reason is reasons.ORIGIN


@MANY
@given(st.text(max_size=80))
def test_any_allowed_origin_is_taken_or_refused(origin: str) -> None:
    """An operator's mistake is a sentence."""
    with suppress(InvalidSetting):
        OriginPolicy([origin])


@MANY
@given(handshake_headers, st.text(max_size=50))
def test_any_handshake_is_answered(headers: list[Item], path: str) -> None:
    """With 101 or with a refusal that says why; the answer can be sent."""
    answer = Handshake().answer(path, headers)
    assert answer.status_code in (101, 400, 426)
    assert answer.serialize().startswith(b"HTTP/1.1 ")


@MANY
@given(st.text(max_size=80))
def test_any_prefix_is_taken_or_refused(prefix: str) -> None:
    """A pattern of Redis matches what it names and nothing else; what cannot be is refused."""
    with suppress(MuxError):
        assert Namespace(prefix).pattern.endswith(b"*")


@MANY
@given(st.text(max_size=80))
def test_any_name_can_be_told_to_redis(name: str) -> None:
    """CLIENT SETNAME takes what comes out, and a command reads back as its words."""
    escaped = escape_name(name)
    assert all(0x21 <= byte <= 0x7E for byte in escaped)
    assert RespReader().feed(encode_command(b"SETNAME", escaped)) == ([], [[b"SETNAME", escaped]])


@pytest.mark.parametrize("size", [2**31, 2**63 - 1])
def test_a_bulk_string_that_is_announced_is_not_allocated(size: int) -> None:
    """Only what comes takes memory."""
    tracemalloc.start()
    try:
        with suppress(BrokerGarbled):
            RespReader().feed(b"$%d\r\nx" % size)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
