from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux.fleet.messages import (
    MAX_ANSWER_BYTES,
    MAX_NAMES,
    MAX_NOTICE_BYTES,
    Listing,
    Message,
    Process,
    Question,
    Stats,
    Top,
    beat_body,
    question_body,
    read,
    read_beat,
    read_listing,
    read_object,
    read_question,
    write,
)

ID, OTHER = "0123456789abcdef" * 2, "f" * 32
ROUND = "00000000000000aa"
ROUNDS = {ROUND: None}
ME = Process(ID, "box", 7)

processes = st.builds(
    Process,
    st.text("0123456789abcdef", min_size=32, max_size=32),
    st.text(max_size=255).filter(str.isprintable),
    st.integers(0, 2**32),
)
names = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=255)
questions = st.one_of(
    st.just(Stats()), st.builds(Top, names, st.sampled_from(("subscribers", "rate")), st.integers(1, MAX_NAMES))
)
json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def message(body: bytes) -> Message:
    """Return a beat of any body."""
    return Message("beat", "-", ID, body)


def test_on_the_wire() -> None:
    """A head that says for whom a message is, of which kind, of which round and from whom, and JSON."""
    assert write("beat", ID, beat_body(ME, is_new=True)) == (
        b'mux/2 * beat - 0123456789abcdef0123456789abcdef {"host":"box","pid":7,"new":true}'
    )
    assert write("bye", ID) == b"mux/2 * bye - 0123456789abcdef0123456789abcdef "
    assert write("answer", ID, b"null", to=OTHER, round_=ROUND) == (
        b"mux/2 " + b"f" * 32 + b" answer 00000000000000aa 0123456789abcdef0123456789abcdef null"
    )


@given(processes, st.booleans())
def test_a_beat_is_heard_as_it_was_said(process: Process, is_new: bool) -> None:
    """And the longest is not too long."""
    payload = write("beat", process.id, beat_body(process, is_new=is_new))
    assert len(payload) <= MAX_NOTICE_BYTES
    heard = read(payload, "nobody", ROUNDS)
    assert heard is not None
    assert read_beat(heard) == (process, is_new)


@given(questions)
def test_a_question_is_heard_as_it_was_said(question: Question) -> None:
    """Whatever its prefix is."""
    payload = write("ask", ID, question_body(question), round_=ROUND)
    heard = read(payload, OTHER, {})
    assert heard is not None
    assert (heard.round, read_question(heard.body)) == (ROUND, question)


@given(st.binary(max_size=300))
def test_garbage_is_nothing(garbage: bytes) -> None:
    """Neither bytes nor bytes behind a right head are of use, and none raises."""
    assert read(garbage, ID, ROUNDS) is None
    assert read_beat(message(garbage)) is None
    assert read_question(garbage) in (None, Stats())
    assert read_listing(garbage) is None
    assert isinstance(read_object(garbage), dict)


@given(st.dictionaries(st.sampled_from(("host", "pid", "new", "what", "prefix", "sort", "count", "channels")), json))
def test_forged_fields_never_raise(fields: dict[str, object]) -> None:
    """Right names with anything in them, beside right fields."""
    for right in ({"host": "h", "pid": 1, "new": True}, {"what": "top"}, {"channels": [], "complete": True}):
        body = orjson.dumps(right | fields)
        read_beat(message(body))
        read_question(body)
        read_listing(body)


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
    assert read_beat(message(orjson.dumps(body))) is None


@pytest.mark.parametrize(
    "body",
    [
        {"what": "everything"},
        {"what": "count", "names": ["a"]},
        {"what": "top", "prefix": "a", "sort": "size", "count": 1},
        {"what": "top", "prefix": "a", "sort": "rate", "count": 0},
        {"what": "top", "prefix": "a", "sort": "rate", "count": True},
        {"what": "top", "prefix": "a", "sort": "rate", "count": MAX_NAMES + 1},
        {"what": "top", "prefix": "ü", "sort": "rate", "count": 1},
        {"what": "top", "prefix": "a" * 256, "sort": "rate", "count": 1},
        {"what": "top", "prefix": "a b", "sort": "rate", "count": 1},
    ],
)
def test_a_question_that_cannot_be_is_none(body: dict[str, object]) -> None:
    """Each but for one thing a question."""
    assert read_question(orjson.dumps(body)) is None


@pytest.mark.parametrize(
    "row",
    [
        ["", 1, 0.0],
        ["\x1b[2J", 1, 0.0],
        ["a" * 256, 1, 0.0],
        ["a", -1, 0.0],
        ["a", 0, 0.0],
        ["a", 2**53, 0.0],
        ["a", 2**63, 0.0],
        ["a", True, 0.0],
        ["a", 1, -1.0],
        ["a", 1, True],
        ["a", 1.5, 0.0],
        ["a", 1],
        "a",
        [["a"], 1, 0.0],
        ["a", 1, 1e300],
    ],
)
def test_only_what_is_right_of_a_listing_is_read(row: object) -> None:
    """A right row beside a wrong one."""
    body = orjson.dumps({"channels": [["b", 2, 1], row], "complete": True})
    assert read_listing(body) == Listing([("b", 2, 1.0)], is_complete=True)


def test_a_listing_of_too_many_rows_is_none() -> None:
    """No process was asked for so many."""
    body = orjson.dumps({"channels": [["b", 2, 1]] * (MAX_NAMES + 1), "complete": True})
    assert read_listing(body) is None
