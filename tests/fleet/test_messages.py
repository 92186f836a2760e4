from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux.fleet.messages import (
    MAX_ANSWER_BYTES,
    MAX_NOTICE_BYTES,
    Identity,
    beat_body,
    read,
    read_beat,
    read_object,
    write,
)
from tests.support.json import json_values

ID, OTHER = "0123456789abcdef" * 2, "f" * 32
ROUND = "00000000000000aa"
ROUNDS = {ROUND: None}
ME = Identity("box", 7, ID)

identities = st.builds(
    Identity,
    st.text(max_size=255).filter(str.isprintable),
    st.integers(0, 2**32),
    st.text("0123456789abcdef", min_size=32, max_size=32),
)


def test_on_the_wire() -> None:
    """A head that says for whom a message is, of which kind, of which round and from whom, and JSON."""
    assert write("beat", ID, beat_body(ME, is_new=True)) == (
        b'mux/2 * beat - 0123456789abcdef0123456789abcdef {"host":"box","pid":7,"new":true}'
    )
    assert write("bye", ID) == b"mux/2 * bye - 0123456789abcdef0123456789abcdef "
    assert write("answer", ID, b"null", to=OTHER, round_=ROUND) == (
        b"mux/2 " + b"f" * 32 + b" answer 00000000000000aa 0123456789abcdef0123456789abcdef null"
    )


@given(identities, st.booleans())
def test_a_beat_is_read_as_it_was_written(identity: Identity, is_new: bool) -> None:
    """And the longest is not too long."""
    payload = write("beat", identity.id, beat_body(identity, is_new=is_new))
    assert len(payload) <= MAX_NOTICE_BYTES
    message = read(payload, "nobody", ROUNDS)
    assert message is not None
    assert read_beat(message.sender, message.body) == (identity, is_new)


@given(st.binary(max_size=300))
def test_garbage_is_nothing(garbage: bytes) -> None:
    """Neither bytes nor bytes behind a right head are of use, and none raises."""
    assert read(garbage, ID, ROUNDS) is None
    assert read_beat(ID, garbage) is None
    assert isinstance(read_object(garbage), dict)


@given(st.dictionaries(st.sampled_from(("host", "pid", "new")), json_values))
def test_forged_fields_never_raise(fields: dict[str, object]) -> None:
    """Right names with anything in them, beside right fields."""
    read_beat(ID, orjson.dumps({"host": "h", "pid": 1, "new": True} | fields))


ANSWER = write("answer", OTHER, b"{}", to=ID, round_=ROUND)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (ANSWER, True),
        (write("answer", OTHER, b"{}", to=ID, round_="00000000000000ab"), False),
        (write("answer", OTHER, b"{}", to=OTHER, round_=ROUND), False),
        (write("answer", OTHER, b"{}", to="*", round_=ROUND), False),
        (write("answer", OTHER, b"x" * MAX_ANSWER_BYTES, to=ID, round_=ROUND), True),
        (write("answer", OTHER, b"x" * (MAX_ANSWER_BYTES + 1), to=ID, round_=ROUND), False),
        (write("answer", ID, b"{}", to=ID, round_=ROUND), False),
        (write("bye", OTHER), True),
        (write("bye", OTHER, b" " * MAX_NOTICE_BYTES), False),
        (write("bye", OTHER, to=ID), False),
        (write("bye", ID), False),
        (write("ask", OTHER, b'{"what":"stats"}' + b" " * 37_000, round_=ROUND), False),
        (write("beat", OTHER, b" " * 512 * 1024), False),
        (write("beat", OTHER.upper()), False),
        (write("ask", OTHER, round_="1"), False),
        (write("beat", OTHER).replace(b"mux/2", b"mux/1"), False),
        (write("beat", OTHER).replace(b"beat", b"shout"), False),
        (write("beat", OTHER).rstrip(), False),
        (b" " + write("beat", OTHER), False),
        (b"hello", False),
        (b"", False),
    ],
)
def test_what_is_passed_over_by_its_head_and_length_alone(payload: bytes, expected: bool) -> None:
    """Answers to others, answers nobody asked for, and what is longer than its kind can be, are never decoded."""
    assert (read(payload, ID, ROUNDS) is not None) is expected


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"host": "h", "pid": 1, "new": 1},
        {"host": "h" * 256, "pid": 1, "new": True},
        {"host": "\x1b[2J", "pid": 1, "new": True},
        {"host": "exe.\u202egnp", "pid": 1, "new": True},
        {"host": "h", "pid": -1, "new": True},
        {"host": "h", "pid": True, "new": True},
        {"host": "h", "pid": 2**40, "new": True},
    ],
)
def test_a_beat_that_cannot_be_is_none(body: dict[str, object]) -> None:
    """Each but for one thing a beat."""
    assert read_beat(ID, orjson.dumps(body)) is None
