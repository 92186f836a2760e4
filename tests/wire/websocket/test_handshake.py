from base64 import b64encode
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux.wire.websocket.handshake import Handshake, accept_usual, window_bits

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

Fields = dict[str, str]

REQUEST: Fields = {
    "Host": "server.example.com",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Origin": "http://example.com",
    "Sec-WebSocket-Version": "13",
}


def _accepted(fields: Iterable[tuple[str, str]], *, compresses: bool = False) -> bytes | None:
    """Return the quick answer to fields whose names have been read, as all are, in lower case."""
    accepted = accept_usual([(name.lower(), value) for name, value in fields], compresses=compresses)
    return None if accepted is None else accepted.answer


def test_the_handshake_of_the_rfc_is_accepted() -> None:
    """Key and accept are those of RFC 6455, section 1.3."""
    answer = Handshake().answer("/chat", REQUEST.items())
    assert (answer.status_code, answer.headers["Sec-WebSocket-Accept"]) == (101, ACCEPT)
    assert answer.serialize().startswith(b"HTTP/1.1 101 Switching Protocols\r\n")


def test_an_accepted_handshake_has_no_body() -> None:
    """What follows the empty line is frames."""
    head = Handshake().answer("/chat", REQUEST.items()).serialize()
    assert head.endswith(b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")


@pytest.mark.parametrize(
    "change",
    [
        {"Upgrade": "WebSocket"},
        {"Connection": "keep-alive, upgrade"},
        {"Cookie": "name=caf\xe9"},
    ],
)
def test_what_clients_send_differently_is_accepted(change: Fields) -> None:
    """Case, other connection options and headers of others do not matter."""
    assert Handshake().answer("/chat", (REQUEST | change).items()).status_code == 101


@pytest.mark.parametrize("value", ["日本", "\udcff", "a\x01b"])
def test_a_header_of_others_never_matters(value: str) -> None:
    """A cookie in UTF-8 once raised out of the handshake: the client got a 500 and the log a traceback."""
    assert Handshake().answer("/chat", (REQUEST | {"Cookie": value}).items()).status_code == 101


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"Upgrade": "h2c"}, 426),
        ({"Connection": "keep-alive"}, 426),
        ({"Sec-WebSocket-Key": "not base64"}, 400),
        ({"Sec-WebSocket-Key": "c2hvcnQ="}, 400),
        ({"Sec-WebSocket-Key": "\udcff"}, 400),
        ({"Sec-WebSocket-Key": "é"}, 400),
        ({"Sec-WebSocket-Version": "8"}, 400),
        ({"Sec-WebSocket-Version": "thirteen"}, 400),
    ],
)
def test_a_wrong_header_is_refused(change: Fields, status: int) -> None:
    """The answer is a plain HTTP response that says which."""
    answer = Handshake().answer("/chat", (REQUEST | change).items())
    assert answer.status_code == status
    assert next(iter(change)).encode() in answer.body


@pytest.mark.parametrize(
    ("missing", "status"),
    [("Upgrade", 426), ("Connection", 426), ("Sec-WebSocket-Key", 400), ("Sec-WebSocket-Version", 400)],
)
def test_a_missing_header_is_refused(missing: str, status: int) -> None:
    """All four are required (RFC 6455, section 4.2.1)."""
    answer = Handshake().answer("/chat", [field for field in REQUEST.items() if field[0] != missing])
    assert answer.status_code == status
    assert missing.encode() in answer.body


@pytest.mark.parametrize("twice", ["Sec-WebSocket-Key", "Sec-WebSocket-Version"])
def test_a_header_that_comes_twice_is_refused(twice: str) -> None:
    """Either could be meant, so neither is."""
    assert Handshake().answer("/chat", [*REQUEST.items(), (twice, REQUEST[twice])]).status_code == 400


def test_no_compression_is_agreed_on_unless_it_is_wanted() -> None:
    """Frames are the same bytes for every client, whatever a client offers."""
    offer = {"Sec-WebSocket-Extensions": "permessage-deflate"}
    answer = Handshake().answer("/chat", (REQUEST | offer).items())
    assert answer.status_code == 101
    assert "Sec-WebSocket-Extensions" not in answer.headers


@pytest.mark.parametrize(
    ("offer", "agreed", "bits"),
    [
        ("permessage-deflate", "", 15),
        ("permessage-deflate; client_max_window_bits", "", 15),
        ("permessage-deflate; client_max_window_bits=9", "; client_max_window_bits=9", 15),
        ("permessage-deflate; server_max_window_bits=9", "; server_max_window_bits=9", 9),
        ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", "", 15),
        ("permessage-deflate; server_max_window_bits=8, permessage-deflate", "", 15),
        (
            "permessage-deflate; unknown, permessage-deflate; server_max_window_bits=12",
            "; server_max_window_bits=12",
            12,
        ),
        ("permessage-deflate, permessage-deflate; server_max_window_bits=12", "", 15),
        ("permessage-deflate; server_max_window_bits=8", None, 0),
        ("permessage-deflate; client_max_window_bits=16", None, 0),
        ("permessage-deflate; server_no_context_takeover=1", None, 0),
        ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", None, 0),
        ("x-webkit-deflate-frame", None, 0),
    ],
)
def test_compression_keeps_no_context(offer: str, agreed: str | None, bits: int) -> None:
    """The first offer that can be met (RFC 7692, section 7.1), with no context from one message to the next."""
    answer = Handshake(compresses=True).answer("/", [*REQUEST.items(), ("Sec-WebSocket-Extensions", offer)])
    both = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
    assert answer.headers.get("Sec-WebSocket-Extensions") == (None if agreed is None else both + agreed)
    assert window_bits(answer) == bits


@pytest.mark.parametrize(
    ("offers", "chosen"),
    [
        (["chat"], "chat"),
        (["chat, superchat"], "chat"),
        (["graphql-ws,chat"], "graphql-ws"),
        (["access_token, eyJhbGciOi.J9~-_"], "access_token"),
        (["chat", "superchat"], "chat"),
        (["!#$%&'*+-.^_`|~9"], "!#$%&'*+-.^_`|~9"),
        (["chat,"], "chat"),
        ([""], None),
        (["", "chat"], "chat"),
        ([" , "], None),
    ],
)
def test_of_the_subprotocols_that_are_offered_the_first_is_chosen(offers: list[str], chosen: str | None) -> None:
    """A browser fails when none is; an empty header, as Python's websockets sends for an empty list, offers none."""
    fields = [*REQUEST.items(), *(("Sec-WebSocket-Protocol", offer) for offer in offers)]
    answer = Handshake().answer("/chat", fields)
    assert (answer.status_code, answer.headers.get("Sec-WebSocket-Protocol")) == (101, chosen)
    head = _accepted(fields)
    if head is not None:
        assert head.endswith(b"\r\nSec-WebSocket-Protocol: %b\r\n\r\n" % str(chosen).encode())


@pytest.mark.parametrize("offer", ["a b", "a/b", "chat, (x)", "chat;q=1", "é", "chat, \x01"])
def test_a_subprotocol_that_cannot_be_is_refused(offer: str) -> None:
    """With a sentence: an answer must not repeat what is no token."""
    fields = [*REQUEST.items(), ("Sec-WebSocket-Protocol", offer)]
    assert _accepted(fields) is None
    answer = Handshake().answer("/chat", fields)
    assert answer.status_code == 400
    assert b"Sec-WebSocket-Protocol" in answer.body


def test_one_handshake_answers_many_requests() -> None:
    """A refusal leaves nothing behind for the next."""
    handshake = Handshake()
    statuses = [handshake.answer("/", fields.items()).status_code for fields in (REQUEST, Fields(), REQUEST)]
    assert statuses == [101, 426, 101]


USUAL: tuple[Fields, ...] = (
    REQUEST,
    REQUEST | {"Connection": "keep-alive, Upgrade"},  # Firefox
    REQUEST | {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"},  # Chromium
    REQUEST | {"Connection": "upgrade"},  # behind nginx, as its documentation has it
    REQUEST | {"Upgrade": "WebSocket"},
)


@pytest.mark.parametrize("fields", USUAL)
def test_a_usual_handshake_is_answered_at_once(fields: Fields) -> None:
    """What browsers send need not be judged, and the answer is complete."""
    assert _accepted(fields.items()) == (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
        b"\r\n"
    )


@pytest.mark.parametrize(
    "more",
    [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Key", KEY),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Protocol", ""),
        ("Sec-WebSocket-Extensions", "x-webkit-deflate-frame"),
    ],
)
def test_an_unusual_handshake_is_left_to_be_judged(more: tuple[str, str]) -> None:
    """A header that comes twice may be right or wrong; that is not for the quick answer to say."""
    assert _accepted([*REQUEST.items(), more]) is None


_VALUES = {
    "Connection": ["Upgrade", "upgrade", "keep-alive, Upgrade", "UPGRADE", "close", "Upgrade,", "upgrade\u212a", ""],
    "Upgrade": ["websocket", "WebSocket", "webSoc\u212aet", "websocket, h2c", "h2c", " websocket"],
    "Sec-WebSocket-Version": ["13", "8", "13 ", "\u0661\u0663", "13, 8"],
    "Sec-WebSocket-Key": [
        KEY,
        KEY + "\n",
        KEY[:-1],
        "A" * 22 + "==",
        "A" * 24,
        "AAAA" + KEY,
        "-" * 22 + "==",
        "\xe9" * 24,
    ],
    "Sec-WebSocket-Extensions": ["permessage-deflate", "permessage-deflate; client_max_window_bits", ";", "\udcff"],
    "Sec-WebSocket-Protocol": ["chat", "chat, superchat", "chat,a", "chat,", " ", ",;", "\x00"],
    "Sec-WebSocket-Odd": ["", "\x00"],
}
_names = st.sampled_from(sorted(_VALUES))
_fields = st.lists(
    _names.flatmap(lambda name: st.tuples(st.sampled_from([name, name.lower()]), st.sampled_from(_VALUES[name]))),
    max_size=3,
)


@given(
    dropped=st.sets(_names, max_size=1),
    more=_fields,
    key=st.binary(min_size=14, max_size=18).map(lambda raw: b64encode(raw).decode()),
    version=st.sampled_from(["13", "8"]),
    compresses=st.booleans(),
)
def test_what_is_answered_at_once_websockets_would_answer_the_same(
    dropped: set[str], more: list[tuple[str, str]], key: str, version: str, compresses: bool
) -> None:
    """Whatever is sent, also twice: the quick answer says nothing, or what the judge says."""
    request = REQUEST | {"Sec-WebSocket-Key": key, "Sec-WebSocket-Version": version}
    replaced = dropped | {name for name, _ in more if len(more) % 2}
    fields = [*((name, value) for name, value in request.items() if name not in replaced), *more]
    answer = _accepted(fields, compresses=compresses)
    if answer is not None:
        judged = Handshake(compresses=compresses).answer("/", fields)
        assert judged.status_code == 101
        judged.headers.pop("Date")  # which a 101 may go without (RFC 9110, section 6.6.1)
        assert answer == judged.serialize()
