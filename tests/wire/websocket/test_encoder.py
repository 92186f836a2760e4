import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side, State

from mux.wire.publication import BINARY, GUESS, JOINED, LEFT, Kind, Publication
from mux.wire.websocket.encoder import PING, encode

CHANNEL = b"feed:lobby"


def received(stream: bytes) -> list[tuple[Opcode, bytes, bool]]:
    """Return what a client makes of a server's bytes: opcode, payload and FIN of each frame."""
    client = Protocol(Side.CLIENT, max_size=None)
    client.receive_data(stream)
    assert client.state is State.OPEN, "the client had something to complain about"
    frames = client.events_received()
    assert all(isinstance(frame, Frame) for frame in frames)
    return [(frame.opcode, bytes(frame.data), frame.fin) for frame in frames if isinstance(frame, Frame)]


@pytest.mark.parametrize(
    ("size", "text_header", "binary_header"),
    [
        (0, b"\x81\x00", b"\x82\x00"),
        (1, b"\x81\x01", b"\x82\x01"),
        (125, b"\x81\x7d", b"\x82\x7d"),
        (126, b"\x81\x7e\x00\x7e", b"\x82\x7e\x00\x7e"),
        (127, b"\x81\x7e\x00\x7f", b"\x82\x7e\x00\x7f"),
        (65535, b"\x81\x7e\xff\xff", b"\x82\x7e\xff\xff"),
        (65536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00", b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_the_length_is_written_in_the_fewest_bytes(size: int, text_header: bytes, binary_header: bytes) -> None:
    """RFC 6455, section 5.2: 7 bits, 16 bits or 64 bits; a server's frame has no mask."""
    payload = b"x" * size
    assert encode(CHANNEL, [(payload, GUESS, 0)]) == text_header + payload
    assert encode(CHANNEL, [(payload, BINARY, 0)]) == binary_header + payload


@pytest.mark.parametrize(
    ("payload", "header"),
    [
        pytest.param(b"hello", b"\x81\x05", id="ASCII"),
        pytest.param(b"\xe2\x82\xac", b"\x81\x03", id="UTF-8"),
        pytest.param(b"\xff", b"\x82\x01", id="no UTF-8"),
        pytest.param(b"\xed\xa0\x80", b"\x82\x03", id="surrogate"),
        pytest.param(b"\xc0\xaf", b"\x82\x02", id="overlong"),
        pytest.param(b"\xf4\x90\x80\x80", b"\x82\x04", id="over U+10FFFF"),
        pytest.param(b"\xe2\x82", b"\x82\x02", id="cut off"),
    ],
)
def test_a_raw_publication_is_text_when_it_is_valid_utf_8(payload: bytes, header: bytes) -> None:
    """A browser fails a connection over one invalid text frame, so anything else is binary."""
    assert encode(CHANNEL, [(payload, GUESS, 0)]) == header + payload


def test_what_is_known_to_be_binary_stays_binary() -> None:
    """Valid UTF-8 or not: a client sent it as binary."""
    assert (
        encode(CHANNEL, [(b"hello", BINARY, 0), (b"\xe2\x82\xac", BINARY, 0)]) == b"\x82\x05hello\x82\x03\xe2\x82\xac"
    )


def test_a_batch_is_one_buffer_in_order() -> None:
    """One frame a publication, nothing between them."""
    assert (
        encode(CHANNEL, [(b"a", GUESS, 0), (b"", BINARY, 0), (b"\xff", GUESS, 0)]) == b"\x81\x01a\x82\x00\x82\x01\xff"
    )


def test_an_empty_batch_is_no_bytes() -> None:
    """Nothing in, nothing out."""
    assert encode(CHANNEL, []) == b""


def test_a_client_reads_the_ping_as_one() -> None:
    """The heartbeat's bytes are a frame of their own."""
    assert received(b"\x81\x01a" + PING) == [(Opcode.TEXT, b"a", True), (Opcode.PING, b"", True)]


payloads = st.binary(max_size=300) | st.text(max_size=100).map(str.encode)


@given(st.lists(st.tuples(payloads, st.sampled_from([GUESS, BINARY, JOINED, LEFT]), st.integers(0)), max_size=10))
def test_a_client_reads_what_was_published(batch: list[Publication]) -> None:
    """Payloads, their order and text or binary come through the `websockets` client; announcements are text."""

    def expected(payload: bytes, kind: Kind, number: int) -> Opcode:
        return Opcode.BINARY if kind == BINARY or "\ufffd" in payload.decode(errors="replace") else Opcode.TEXT

    batch = [publication for publication in batch if "\ufffd".encode() not in publication[0]]
    assert received(encode(CHANNEL, batch)) == [(expected(*publication), publication[0], True) for publication in batch]
