from collections.abc import Iterable
from contextlib import suppress
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux.errors import BrokerGarbled, BrokerRefused
from mux.wire.resp import Announcement, Push, Reply, RespReader, encode_command, encode_publish, escape_name

MESSAGE = b">4\r\n$8\r\npmessage\r\n$6\r\nfeed:*\r\n$10\r\nfeed:lobby\r\n$2\r\nhi\r\n"
MARKED = b">4\r\n$8\r\npmessage\r\n$6\r\nfeed:*\r\n$11\r\nfeed:lobby\x00\r\n$2\r\n\xff\n\r\n"
SUBSCRIBED = b">3\r\n$10\r\npsubscribe\r\n$6\r\nfeed:*\r\n:1\r\n"

REPLIES: list[tuple[bytes, object]] = [
    (b"+OK\r\n", b"OK"),
    (b":-7\r\n", -7),
    (b"$5\r\nhe\r\nl\r\n", b"he\r\nl"),
    (b"$0\r\n\r\n", b""),
    (b"$-1\r\n", None),
    (b"*-1\r\n", None),
    (b"_\r\n", None),
    (b"#t\r\n", True),
    (b"#f\r\n", False),
    (b",1.5\r\n", 1.5),
    (b"*0\r\n", []),
    (b"*2\r\n:1\r\n#f\r\n", [1, False]),
    (b"%2\r\n$6\r\nserver\r\n$6\r\nvalkey\r\n$5\r\nproto\r\n:3\r\n", {b"server": b"valkey", b"proto": 3}),
    (b"*4\r\n$8\r\npmessage\r\n+a\r\n+b\r\n+c\r\n", [b"pmessage", b"a", b"b", b"c"]),
]
STREAM = MESSAGE + b"".join(wire for wire, _ in REPLIES) + SUBSCRIBED + b"-ERR no\r\n" + MARKED

FRAGMENTS = (
    b"+a\r\n|-E no\r\n|:1\r\n|:|$1\r\n|$-1\r\n|*0\r\n|*1\r\n|>0\r\n|>1\r\n|%1\r\n|~1\r\n|#t\r\n|_\r\n|\r\n|a".split(
        b"|"
    )
)

item = st.sampled_from([wire for wire, _ in REPLIES] + [SUBSCRIBED, b"-NOPERM no\r\n"]) | st.builds(
    lambda channel, payload: (
        b">4\r\n$8\r\npmessage\r\n$6\r\nfeed:*\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n"
        % (len(channel), channel, len(payload), payload)
    ),
    st.binary(max_size=20),
    st.binary(max_size=200),
)


def parse(pieces: Iterable[bytes]) -> tuple[list[Push], list[Reply]]:
    """Return what one reader makes of all pieces, with errors as their sentence, to compare them."""
    reader = RespReader()
    messages: list[Push] = []
    others: list[Reply] = []
    for piece in pieces:
        more, replies = reader.feed(piece)
        messages += more
        others += [str(reply) if isinstance(reply, BrokerRefused) else reply for reply in replies]
    return messages, others


def cut(stream: bytes, places: Iterable[int]) -> list[bytes]:
    """Return the stream in pieces, cut at places."""
    return [stream[start:end] for start, end in pairwise([0, *sorted(places), len(stream)])]


def test_messages_come_apart_from_replies() -> None:
    """A message is pushed between two replies and disturbs neither."""
    messages, others = RespReader().feed(b"+first\r\n" + MESSAGE + b"+second\r\n" + MARKED)
    assert messages == [
        [b"pmessage", b"feed:*", b"feed:lobby", b"hi"],
        [b"pmessage", b"feed:*", b"feed:lobby\x00", b"\xff\n"],
    ]
    assert others == [b"first", b"second"]


def test_a_push_that_is_no_message_is_an_announcement_among_the_replies() -> None:
    """The answer to PSUBSCRIBE is a push, and its place among the replies is kept."""
    messages, others = RespReader().feed(b"+OK\r\n" + SUBSCRIBED + b":1\r\n")
    assert (messages, others) == ([], [b"OK", [b"psubscribe", b"feed:*", 1], 1])
    assert [type(other) for other in others] == [bytes, Announcement, int]


@pytest.mark.parametrize(("wire", "reply"), REPLIES)
def test_every_kind_of_reply_is_a_reply(wire: bytes, reply: object) -> None:
    """None and False are answers as well, and an array that looks like a message is not a push."""
    messages, others = RespReader().feed(wire)
    assert (messages, others) == ([], [reply])
    assert type(others[0]) is type(reply)


def test_an_error_is_returned_and_not_raised() -> None:
    """Redis said no to one command; the connection goes on."""
    _, others = RespReader().feed(b"-NOPERM this user may not\r\n+OK\r\n")
    refused, ok = others
    assert isinstance(refused, BrokerRefused)
    assert (refused.code, str(refused), ok) == ("NOPERM", "NOPERM this user may not", b"OK")


def test_a_stream_cut_in_two_anywhere_parses_the_same() -> None:
    """Where the network cuts does not matter, at any byte."""
    whole = parse([STREAM])
    for place in range(len(STREAM) + 1):
        assert parse(cut(STREAM, [place])) == whole


def test_a_stream_parses_the_same_a_byte_at_a_time() -> None:
    """Every cut at once is no different."""
    assert parse(cut(STREAM, range(1, len(STREAM)))) == parse([STREAM])


@given(st.lists(item, max_size=12).map(b"".join), st.data())
def test_any_stream_cut_anywhere_parses_the_same(stream: bytes, data: st.DataObject) -> None:
    """Whatever Redis sends, in whatever slices."""
    places = data.draw(st.lists(st.integers(0, len(stream)), max_size=8))
    assert parse(cut(stream, places)) == parse([stream])


@pytest.mark.parametrize(
    "wire", [b"HTTP/1.1 400 Bad Request\r\n", b"\r\n", b":seven\r\n", b"$x\r\n", b"$-2\r\n", b"*-2\r\n", b"#x\r\n"]
)
def test_what_is_not_resp_is_garbled(wire: bytes) -> None:
    """Something else is at the other end."""
    with pytest.raises(BrokerGarbled):
        RespReader().feed(wire)


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(b">0\r\n", id="push of nothing"),
        pytest.param(b"%1\r\n*0\r\n+a\r\n", id="map with an array for a key"),
    ],
)
def test_resp_that_means_nothing_is_garbled(wire: bytes) -> None:
    """What is well-formed but cannot be is garbled too, and no other error."""
    with pytest.raises(BrokerGarbled):
        RespReader().feed(wire)


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=8).map(b"".join) | st.binary(max_size=40))
def test_any_bytes_parse_or_are_garbled(wire: bytes) -> None:
    """No input raises anything but BrokerGarbled."""
    with suppress(BrokerGarbled):
        RespReader().feed(wire)


def test_a_command_is_an_array_of_bulk_strings() -> None:
    """As the protocol asks of a client."""
    assert encode_command(b"HELLO", b"3") == b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n"


def test_publish_is_a_command_of_three_words() -> None:
    """The payload is sent as it is."""
    assert encode_publish(b"feed:lobby", b"h\r\n") == b"*3\r\n$7\r\nPUBLISH\r\n$10\r\nfeed:lobby\r\n$3\r\nh\r\n\r\n"


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_publish_reads_back_as_what_was_published(channel: bytes, payload: bytes) -> None:
    """Any bytes survive, line ends and NUL too."""
    _, others = RespReader().feed(encode_publish(channel, payload))
    assert others == [[b"PUBLISH", channel, payload]]


@pytest.mark.parametrize(
    ("name", "escaped"),
    [("mux-web1-42", b"mux-web1-42"), ("my host", b"my_host"), ("a\nb\x7f", b"a_b_"), ("é", b"__"), ("", b"")],
)
def test_a_client_name_has_only_what_redis_takes(name: str, escaped: bytes) -> None:
    """CLIENT SETNAME refuses spaces, line ends and what is not ASCII."""
    assert escape_name(name) == escaped


def test_an_end_between_two_messages_is_told_from_one_inside() -> None:
    """At every byte; the journal once read the rest of a message as one of its own, and a good connection was dropped.

    hiredis has no data left either when it has parsed all that came of half a message.
    """
    parts = [MESSAGE, *(wire for wire, _ in REPLIES), SUBSCRIBED, b"-ERR no\r\n", MARKED]
    ends = set(accumulate(map(len, parts)))
    for at in range(1, len(STREAM) + 1):
        reader = RespReader()
        reader.feed(STREAM[:at], tells_end=True)
        assert reader.is_whole is (at in ends), STREAM[:at]
    reader = RespReader()
    for at in range(len(STREAM)):
        reader.feed(STREAM[at : at + 1], tells_end=True)
        assert reader.is_whole is (at + 1 in ends)
