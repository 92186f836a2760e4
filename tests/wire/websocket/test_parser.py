from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux import reasons
from mux.reasons import Reason
from mux.wire.websocket.message import Message
from mux.wire.websocket.parser import WebSocketParser, lone_text
from tests.wire.websocket.parsing import receive

LIMIT = 200
MASK = b"\x00\x00\x00\x00"
"""A mask that changes nothing, so that payloads can be read here."""

HELLO = b"\x81\x85\x00\x00\x00\x00hello"
CLOSE = b"\x88\x82\x00\x00\x00\x00\x03\xe8"
CLOSE_ECHO = b"\x88\x02\x03\xe8"

Outcome = tuple[list[Message], bytes, bool]


def run(pieces: Iterable[bytes], parser: WebSocketParser | None = None) -> Outcome:
    """Return the messages, what is to be written, and whether this side then ends the connection."""
    parser = parser or WebSocketParser(max_message_bytes=LIMIT)
    messages: list[Message] = []
    written = b""
    ended = False
    for piece in pieces:
        messages += receive(parser, piece)
        data, is_last = parser.outgoing()
        assert not (ended and (data or is_last)), "nothing is written after the end"
        written += data
        ended = ended or is_last
    return messages, written, ended


def byte_by_byte(stream: bytes) -> list[bytes]:
    """Return the stream as the worst network delivers it."""
    return [stream[at : at + 1] for at in range(len(stream))]


def close_code(written: bytes) -> int:
    """Return the code of the close frame that is all there is in written."""
    assert written[0] == 0x88
    assert len(written) == 2 + written[1]
    return int.from_bytes(written[2:4])


VALID: dict[str, tuple[bytes, list[Message], bytes]] = {
    "nothing": (b"", [], b""),
    "text": (HELLO, [(b"hello", False)], b""),
    "masked as in RFC 6455, section 5.7": (
        b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58",
        [(b"Hello", False)],
        b"",
    ),
    "binary": (b"\x82\x82" + MASK + b"\x00\xff", [(b"\x00\xff", True)], b""),
    "empty text": (b"\x81\x80" + MASK, [(b"", False)], b""),
    "empty binary": (b"\x82\x80" + MASK, [(b"", True)], b""),
    "two messages": (HELLO + b"\x82\x81" + MASK + b"b", [(b"hello", False), (b"b", True)], b""),
    "length in 16 bits": (b"\x81\xfe\x00\x7e" + MASK + b"x" * 126, [(b"x" * 126, False)], b""),
    "as long as allowed": (b"\x81\xfe\x00\xc8" + MASK + b"x" * 200, [(b"x" * 200, False)], b""),
    "text not ASCII": (b"\x81\x83" + MASK + b"\xe2\x82\xac", [(b"\xe2\x82\xac", False)], b""),
    "two fragments": (b"\x01\x83" + MASK + b"Hel" + b"\x80\x82" + MASK + b"lo", [(b"Hello", False)], b""),
    "binary fragments": (
        b"\x02\x81" + MASK + b"\xff" + b"\x00\x81" + MASK + b"\xfe" + b"\x80\x81" + MASK + b"\xfd",
        [(b"\xff\xfe\xfd", True)],
        b"",
    ),
    "empty fragments": (b"\x01\x80" + MASK + b"\x00\x80" + MASK + b"\x80\x80" + MASK, [(b"", False)], b""),
    "a character in three fragments": (
        b"\x01\x81" + MASK + b"\xe2" + b"\x00\x81" + MASK + b"\x82" + b"\x80\x81" + MASK + b"\xac",
        [(b"\xe2\x82\xac", False)],
        b"",
    ),
    "fragments as long as allowed": (
        b"\x01\xe4" + MASK + b"a" * 100 + b"\x80\xe4" + MASK + b"b" * 100,
        [(b"a" * 100 + b"b" * 100, False)],
        b"",
    ),
    "64 fragments": (
        b"\x01\x81" + MASK + b"x" + (b"\x00\x81" + MASK + b"x") * 62 + b"\x80\x81" + MASK + b"x",
        [(b"x" * 64, False)],
        b"",
    ),
    "a message after fragments": (
        b"\x01\x81" + MASK + b"a" + b"\x80\x81" + MASK + b"b" + b"\x82\x81" + MASK + b"c",
        [(b"ab", False), (b"c", True)],
        b"",
    ),
    "ping": (b"\x89\x82" + MASK + b"hi", [], b"\x8a\x02hi"),
    "empty ping": (b"\x89\x80" + MASK, [], b"\x8a\x00"),
    "longest ping": (b"\x89\xfd" + MASK + b"p" * 125, [], b"\x8a\x7d" + b"p" * 125),
    "unasked pong": (b"\x8a\x82" + MASK + b"hi", [], b""),
    "ping and pong between fragments": (
        b"\x01\x81" + MASK + b"a" + b"\x89\x81" + MASK + b"1" + b"\x8a\x80" + MASK + b"\x80\x81" + MASK + b"b",
        [(b"ab", False)],
        b"\x8a\x011",
    ),
    "ping when the message is as long as allowed": (
        b"\x02\xfe\x00\xc8" + MASK + b"x" * 200 + b"\x89\x81" + MASK + b"1" + b"\x80\x80" + MASK,
        [(b"x" * 200, True)],
        b"\x8a\x011",
    ),
}

CLOSED: dict[str, tuple[bytes, list[Message], bytes]] = {
    "close": (CLOSE, [], CLOSE_ECHO),
    "close without a code": (b"\x88\x80" + MASK, [], b"\x88\x00"),
    "close with a reason": (b"\x88\x85" + MASK + b"\x0f\xa0bye", [], b"\x88\x05\x0f\xa0bye"),
    "a message before the close": (HELLO + CLOSE, [(b"hello", False)], CLOSE_ECHO),
    "a message after the close": (CLOSE + HELLO, [], CLOSE_ECHO),
    "a ping after the close": (CLOSE + b"\x89\x80" + MASK, [], CLOSE_ECHO),
    "garbage after the close": (CLOSE + b"\xff\xff", [], CLOSE_ECHO),
}

FAILED: dict[str, tuple[bytes, list[Message], int]] = {
    "unmasked": (b"\x81\x05hello", [], 1002),
    "unmasked and empty": (b"\x81\x00", [], 1002),
    "first reserved bit": (b"\xc1\x80" + MASK, [], 1002),
    "reserved bit of a message": (b"\xc1\x81" + MASK + b"x" + HELLO, [], 1002),
    "second reserved bit": (b"\xa1\x80" + MASK, [], 1002),
    "third reserved bit": (b"\x91\x80" + MASK, [], 1002),
    "reserved opcode for data": (b"\x83\x80" + MASK, [], 1002),
    "reserved opcode for control": (b"\x8b\x80" + MASK, [], 1002),
    "continuation of nothing": (b"\x80\x80" + MASK, [], 1002),
    "continuation of a whole message": (HELLO + b"\x80\x80" + MASK, [(b"hello", False)], 1002),
    "a message amid another": (b"\x01\x81" + MASK + b"a" + HELLO, [], 1002),
    "ping in fragments": (b"\x09\x80" + MASK, [], 1002),
    "ping of 126 bytes": (b"\x89\xfe\x00\x7e" + MASK + b"p" * 126, [], 1002),
    "close of one byte that is no UTF-8": (b"\x88\x81" + MASK + b"\xff", [], 1002),
    "close with a bad code and a reason that is no UTF-8": (b"\x88\x83" + MASK + b"\x03\xed\xff", [], 1007),
    "close of one byte": (b"\x88\x81" + MASK + b"\x03", [], 1002),
    "close with 1004": (b"\x88\x82" + MASK + b"\x03\xec", [], 1002),
    "close with 1015": (b"\x88\x82" + MASK + b"\x03\xf7", [], 1002),
    "close with 5000": (b"\x88\x82" + MASK + b"\x13\x88", [], 1002),
    "close with 1005": (b"\x88\x82" + MASK + b"\x03\xed", [], 1002),
    "close with 999": (b"\x88\x82" + MASK + b"\x03\xe7", [], 1002),
    "close with a reason that is no UTF-8": (b"\x88\x83" + MASK + b"\x03\xe8\xff", [], 1007),
    "text that is no UTF-8": (b"\x81\x81" + MASK + b"\xff", [], 1007),
    "surrogate": (b"\x81\x83" + MASK + b"\xed\xa0\x80", [], 1007),
    "overlong": (b"\x81\x82" + MASK + b"\xc0\xaf", [], 1007),
    "character cut off": (b"\x81\x82" + MASK + b"\xe2\x82", [], 1007),
    "character cut off in the last fragment": (
        b"\x01\x81" + MASK + b"\xe2" + b"\x80\x81" + MASK + b"\x82",
        [],
        1007,
    ),
    "character not continued": (b"\x01\x81" + MASK + b"\xe2" + b"\x00\x81" + MASK + b"a", [], 1007),
    "first fragment no UTF-8": (b"\x01\x81" + MASK + b"\xff", [], 1007),
    "a byte too large": (b"\x81\xfe\x00\xc9" + MASK + b"a" * 201, [], 1009),
    "too large, by its header": (b"\x81\xfe\x01\x46", [], 1009),
    "far too large, by its header": (b"\x82\xff\x00\x00\x00\x01\x00\x00\x00\x00", [], 1009),
    "fragments too large, by the header of the last": (b"\x01\xe4" + MASK + b"a" * 100 + b"\x80\xfe\x00\xe2", [], 1009),
    "65 fragments": (b"\x01\x80" + MASK + (b"\x00\x80" + MASK) * 64, [], 1009),
    "65 fragments, the last no UTF-8": (
        b"\x01\x80" + MASK + (b"\x00\x80" + MASK) * 63 + b"\x00\x81" + MASK + b"\xff",
        [],
        1007,
    ),
    "a continuation too large of nothing": (b"\x80\xff" + b"\xff" * 8, [], 1002),
    "unmasked and too large": (b"\x81\x7e\xff\xff", [], 1002),
    "a message before the failure": (HELLO + b"\x81\x81" + MASK + b"\xff", [(b"hello", False)], 1007),
    "a message after invalid text": (b"\x81\x81" + MASK + b"\xff" + HELLO, [], 1007),
    "a ping after invalid text": (b"\x81\x81" + MASK + b"\xff" + b"\x89\x80" + MASK, [], 1007),
    "a close after invalid text": (b"\x81\x81" + MASK + b"\xff" + CLOSE, [], 1007),
    "an unmasked message after invalid text": (b"\x81\x81" + MASK + b"\xff" + b"\x81\x00", [], 1007),
    "a message after an unmasked one": (b"\x81\x00" + HELLO, [], 1002),
    "a message after too many fragments": (b"\x01\x80" + MASK + (b"\x00\x80" + MASK) * 65 + HELLO, [], 1009),
}


segmented = pytest.mark.parametrize(
    "segment", [pytest.param(lambda stream: [stream], id="whole"), pytest.param(byte_by_byte, id="byte by byte")]
)
Segment = Callable[[bytes], list[bytes]]


@segmented
@pytest.mark.parametrize(("stream", "messages", "pongs"), VALID.values(), ids=VALID)
def test_valid_frames_become_messages_and_pongs(
    stream: bytes, messages: list[Message], pongs: bytes, segment: Segment
) -> None:
    """Fragments are joined and pings answered, however the network cuts the stream."""
    assert run(segment(stream)) == (messages, pongs, False)


@segmented
@pytest.mark.parametrize(("stream", "messages", "echo"), CLOSED.values(), ids=CLOSED)
def test_a_close_is_echoed_and_ends_the_connection(
    stream: bytes, messages: list[Message], echo: bytes, segment: Segment
) -> None:
    """What came before it is delivered, in the same segment too; what came after it is not."""
    assert run(segment(stream)) == (messages, echo, True)


@segmented
@pytest.mark.parametrize(("stream", "messages", "code"), FAILED.values(), ids=FAILED)
def test_a_mistake_ends_the_connection_with_its_code(
    stream: bytes, messages: list[Message], code: int, segment: Segment
) -> None:
    """The first mistake decides the code, and nothing that came after it is delivered."""
    received, written, ended = run(segment(stream))
    assert (received, close_code(written), ended) == (messages, code, True)


@pytest.mark.parametrize("stream", [row[0] for row in (*CLOSED.values(), *FAILED.values())])
def test_an_ended_parser_stays_silent(stream: bytes) -> None:
    """Neither more bytes nor a goodbye of ours bring it back, and it is never at rest."""
    parser = WebSocketParser(max_message_bytes=LIMIT)
    run([stream], parser)
    parser.close(1001)
    assert run([HELLO], parser) == ([], b"", False)
    assert not parser.is_open
    assert not parser.is_at_rest


@pytest.mark.parametrize(
    ("limit_bytes", "fragments"),
    [
        pytest.param(1, 64, id="64 at least"),
        pytest.param(4096, 64, id="64 for 4 KiB"),
        pytest.param(65536, 1024, id="one for 64 bytes of the limit"),
    ],
)
def test_fragments_are_counted_as_the_limit_allows(limit_bytes: int, fragments: int) -> None:
    """A larger message may come in more pieces, but never in endlessly many."""
    parser = WebSocketParser(max_message_bytes=limit_bytes)
    allowed = b"\x02\x80" + MASK + (b"\x00\x80" + MASK) * (fragments - 1)
    assert run([allowed], parser) == ([], b"", False)
    _, written, _ = run([b"\x80\x80" + MASK], parser)
    assert close_code(written) == 1009


@pytest.mark.parametrize(
    ("stream", "outcome"),
    [
        pytest.param(b"\x89\x82" + MASK + b"hi", ([], b"\x8a\x02hi", False), id="ping"),
        pytest.param(CLOSE, ([], CLOSE_ECHO, True), id="close"),
    ],
)
def test_the_limit_is_for_messages(stream: bytes, outcome: Outcome) -> None:
    """A control frame has a limit of its own, 125 bytes, however small a message must be."""
    assert run([stream], WebSocketParser(max_message_bytes=1)) == outcome


def test_close_says_goodbye_and_waits_for_the_answer() -> None:
    """The closing handshake from this side: a close frame, then the end when the client's has come."""
    parser = WebSocketParser(max_message_bytes=LIMIT)
    parser.close(1001, "bye")
    assert parser.outgoing() == (b"\x88\x05\x03\xe9bye", False)
    assert not parser.is_open
    assert not parser.is_at_rest
    assert run([CLOSE], parser) == ([], b"", True)


def test_close_says_goodbye_once() -> None:
    """The second call changes nothing."""
    parser = WebSocketParser(max_message_bytes=LIMIT)
    parser.close(1001)
    parser.close(1008)
    assert parser.outgoing() == (b"\x88\x02\x03\xe9", False)


def test_invalid_text_after_our_goodbye_ends_the_connection() -> None:
    """The goodbye has been said, so there is no second one."""
    parser = WebSocketParser(max_message_bytes=LIMIT)
    parser.close(1001)
    parser.outgoing()
    assert run([b"\x81\x81" + MASK + b"\xff"], parser) == ([], b"", True)


def test_outgoing_gives_everything_once() -> None:
    """What has been taken is not written again."""
    parser = WebSocketParser(max_message_bytes=LIMIT)
    receive(parser, b"\x89\x80" + MASK)
    assert [parser.outgoing(), parser.outgoing()] == [(b"\x8a\x00", False), (b"", False)]


def test_a_ping_after_our_goodbye_is_answered() -> None:
    """The client has until its own close frame, and messages are parsed until then."""
    parser = WebSocketParser(max_message_bytes=LIMIT)
    parser.close(1001)
    parser.outgoing()
    assert run([b"\x89\x81" + MASK + b"1" + HELLO], parser) == ([(b"hello", False)], b"\x8a\x011", False)


@pytest.mark.parametrize(
    ("stream", "failure"),
    [
        (b"\x81\x05hello", reasons.PROTOCOL),
        (b"\x81\x81" + MASK + b"\xff", reasons.TEXT),
        (b"\x81\xfe\xff\xff", reasons.TOO_LARGE),
        (CLOSE, None),
    ],
)
def test_a_failure_is_what_the_parser_itself_found(stream: bytes, failure: Reason | None) -> None:
    """A client that says goodbye has not failed, and neither has one that errs after ours."""
    parser, late = (WebSocketParser(max_message_bytes=LIMIT) for _ in range(2))
    late.close(1001)
    for each in (parser, late):
        run([stream], each)
    assert (parser.failure, late.failure) == (failure, None)


def test_a_frame_that_is_not_whole_is_parsed_once() -> None:
    """Parsing it again with every byte that comes would be 70,000 times for one message of 64 KiB."""
    parser = WebSocketParser(max_message_bytes=65536)
    stream = b"\x82\xfe\x10\x00" + MASK + b"x" * 4096
    parsed = 0
    for byte in byte_by_byte(stream):
        parser.feed(byte)
        parsed += parser.parse()
    assert parser.messages == [(b"x" * 4096, True)]
    assert parsed <= 4


@dataclass(frozen=True)
class Step:
    """One frame of a client, and what it brings about."""

    wire: bytes
    message: Message | None = None
    pong: bytes = b""
    ends_at_rest: bool = True


def client_frame(first_byte: int, payload: bytes, mask: bytes) -> bytes:
    """Return a frame of at most 65,535 bytes, masked (RFC 6455, section 5.3)."""
    size = b"%c" % (0x80 | len(payload)) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2)
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    return b"%c%b%b%b" % (first_byte, size, mask, masked)


@st.composite
def client_streams(draw: st.DrawFn) -> list[Step]:
    """Messages in any number of fragments, with pings and pongs between and within them."""
    masks = st.binary(min_size=4, max_size=4)

    def control(*, ends_at_rest: bool) -> Step:
        payload, is_ping = draw(st.binary(max_size=9)), draw(st.booleans())
        wire = client_frame(0x89 if is_ping else 0x8A, payload, draw(masks))
        return Step(wire, pong=b"\x8a%c%b" % (len(payload), payload) if is_ping else b"", ends_at_rest=ends_at_rest)

    steps: list[Step] = []
    for binary in draw(st.lists(st.booleans(), max_size=5)):
        payload = draw(st.binary(max_size=150) if binary else st.text(max_size=50).map(str.encode))
        places = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=4)))
        parts = [payload[start:end] for start, end in pairwise([0, *places, len(payload)])]
        opcode = 2 if binary else 1
        for part in parts[:-1]:
            steps.append(Step(client_frame(opcode, part, draw(masks)), ends_at_rest=False))
            opcode = 0
            if draw(st.booleans()):
                steps.append(control(ends_at_rest=False))
        steps.append(Step(client_frame(0x80 | opcode, parts[-1], draw(masks)), (payload, binary)))
        if draw(st.booleans()):
            steps.append(control(ends_at_rest=True))
    return steps


def outcome_of(steps: list[Step]) -> Outcome:
    """Return what run() is to return for these frames."""
    return [step.message for step in steps if step.message], b"".join(step.pong for step in steps), False


def wire_of(steps: list[Step]) -> bytes:
    """Return the frames as one stream."""
    return b"".join(step.wire for step in steps)


@given(client_streams(), st.data())
def test_a_valid_stream_cut_anywhere_means_the_same(steps: list[Step], data: st.DataObject) -> None:
    """Messages and pongs do not depend on the segments."""
    stream = wire_of(steps)
    places = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    assert run(stream[start:end] for start, end in pairwise([0, *places, len(stream)])) == outcome_of(steps)


@given(client_streams())
def test_a_parser_is_at_rest_exactly_between_messages(steps: list[Step]) -> None:
    """At rest is after a whole frame with no message begun: not a byte sooner, not a byte later."""
    ends = accumulate(len(step.wire) for step in steps)
    expected = {0, *(end for end, step in zip(ends, steps, strict=True) if step.ends_at_rest)}
    parser = WebSocketParser(max_message_bytes=LIMIT)
    at_rest = {0} if parser.is_at_rest else set()
    for at, byte in enumerate(byte_by_byte(wire_of(steps)), start=1):
        receive(parser, byte)
        if parser.is_at_rest:
            at_rest.add(at)
    assert at_rest == expected


@pytest.mark.parametrize(
    ("header", "size"),
    [
        (b"\x82\xfd", 125),
        (b"\x82\xfe\x00\x7e", 126),
        (b"\x82\xfe\xff\xff", 65535),
        (b"\x82\xff\x00\x00\x00\x00\x00\x01\x00\x00", 65536),
    ],
)
def test_a_parser_rests_after_a_message_of_any_length(header: bytes, size: int) -> None:
    """Whether the length takes 7, 16 or 64 bits, and not before the last byte."""
    parser = WebSocketParser(max_message_bytes=65536)
    frame = header + MASK + b"x" * size
    assert receive(parser, frame[:-1]) == []
    assert not parser.is_at_rest
    assert receive(parser, frame[-1:]) == [(b"x" * size, True)]
    assert parser.is_at_rest


@given(client_streams(), st.data())
def test_a_parser_at_rest_may_be_replaced(steps: list[Step], data: st.DataObject) -> None:
    """A new parser whenever the old one rests: the same messages and pongs."""
    stream = wire_of(steps)
    places = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    assert run_replacing(stream[start:end] for start, end in pairwise([0, *places, len(stream)])) == outcome_of(steps)


def run_replacing(pieces: Iterable[bytes]) -> Outcome:
    """Do as run() with a new parser whenever the one in use is at rest."""
    parser = WebSocketParser(max_message_bytes=LIMIT)
    messages: list[Message] = []
    written = b""
    for piece in pieces:
        received, data, ended = run([piece], parser)
        assert not ended
        messages += received
        written += data
        if parser.is_at_rest:
            parser = WebSocketParser(max_message_bytes=LIMIT)
    return messages, written, False


def test_a_length_in_more_bytes_than_needed_never_rests_too_early() -> None:
    """A client may write a length of 1 in 16 bits; the parser may then stay, but not go amid the next frame."""
    stream = b"\x81\xfe\x00\x01" + MASK + b"a" + HELLO
    assert run_replacing(byte_by_byte(stream)) == ([(b"a", False), (b"hello", False)], b"", False)


@given(st.binary(max_size=60), st.integers(0, 60))
def test_any_bytes_mean_the_same_in_two_pieces(stream: bytes, place: int) -> None:
    """Garbage fails, or waits for more, wherever it is cut; nothing is raised."""
    assert run([stream[:place], stream[place:]]) == run([stream])


_LONE = st.builds(
    client_frame,
    st.sampled_from([0x81, 0x82, 0x01, 0x89]),
    st.binary(max_size=LIMIT + 20),
    st.binary(min_size=4, max_size=4),
)


@given(_LONE | st.text("ab", max_size=LIMIT).map(lambda text: client_frame(0x81, text.encode(), MASK)), st.data())
def test_a_lone_text_is_what_the_parser_makes_of_it(stream: bytes, data: st.DataObject) -> None:
    """Whatever comes, and cut or changed anywhere: the quick reader says nothing, or what the parser says."""
    kinds = ["whole", "cut", "more", "another byte"]
    kind = data.draw(st.sampled_from(kinds))
    if kind == "cut":
        stream = stream[: data.draw(st.integers(1, len(stream)))]
    elif kind == "more":
        stream += data.draw(st.binary(min_size=1, max_size=9))
    elif kind == "another byte":
        place = data.draw(st.integers(0, min(13, len(stream) - 1)))
        stream = stream[:place] + data.draw(st.binary(min_size=1, max_size=1)) + stream[place + 1 :]
    text = lone_text(stream, LIMIT)
    parser = WebSocketParser(max_message_bytes=LIMIT)
    found = run([stream], parser)
    if text is not None:
        assert (found, parser.is_at_rest) == (([(text, False)], b"", False), True)
    elif kind == "whole" and stream[0] == 0x81 and found[0]:
        assert not found[0][0][0].isascii()


@pytest.mark.parametrize("size", [0, 1, 125, 126, LIMIT])
def test_a_lone_text_is_known(size: int) -> None:
    """Of any length up to the limit."""
    frame = client_frame(0x81, b"x" * size, b"\x01\x02\x03\x04")
    assert lone_text(frame, LIMIT) == b"x" * size
    assert lone_text(frame, size - 1) is None


def test_no_length_of_64_bits_is_taken_for_one_of_seven() -> None:
    """127 announces a longer length, and a frame may have 127 bytes after its first six."""
    assert lone_text(b"\x81\xff" + bytes(7) + b"\x77" + MASK + b"x" * 119, LIMIT) is None
