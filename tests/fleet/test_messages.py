from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux.fleet.messages import (
    MAX_BYTES,
    MAX_NAMES,
    MAX_ROUND,
    Answer,
    Ask,
    Beat,
    Bye,
    Count,
    Message,
    Process,
    Stats,
    Top,
    counted,
    decode,
    encode,
    is_for,
)

ID = "0123456789abcdef" * 2
ME = Process(ID, "box", 7)

processes = st.builds(
    Process,
    st.text("0123456789abcdef", min_size=32, max_size=32),
    st.text(max_size=255).filter(str.isprintable),
    st.integers(0, 2**32),
)
names = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=255)
rounds = st.integers(0, MAX_ROUND)
questions = st.one_of(
    st.just(Stats()),
    st.builds(Top, names, st.sampled_from(("subscribers", "rate")), st.integers(1, MAX_NAMES)),
    st.builds(Count, st.lists(names, max_size=5).map(tuple)),
)
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Beat, processes, st.booleans()),
    st.builds(Bye, processes),
    st.builds(Ask, processes, rounds, questions),
    st.builds(Answer, processes, rounds, st.none() | st.just({"channels": [["a", 1, 0.5]]})),
)
json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def test_on_the_wire() -> None:
    """A head that says for whom it is, and JSON."""
    assert encode(Beat(ME, is_new=True)) == (
        b'mux/1 * {"kind":"beat","from":{"id":"0123456789abcdef0123456789abcdef","host":"box","pid":7},"new":true}'
    )
    assert encode(Answer(ME, 3, None), "f" * 32).startswith(b"mux/1 " + b"f" * 32 + b' {"kind":"answer"')


@given(messages)
def test_what_is_said_is_heard(message: Message) -> None:
    """Every kind of message is read as it was written."""
    assert decode(encode(message)) == message


@given(st.binary(max_size=300))
def test_garbage_is_nothing(payload: bytes) -> None:
    """Neither bytes nor bytes behind a right head are a message, and none raises."""
    assert decode(payload) is None
    assert decode(b"mux/1 * " + payload) is None


@given(st.dictionaries(st.sampled_from(("kind", "from", "new", "round", "what", "body", "names", "prefix")), json))
def test_forged_fields_never_raise(fields: dict[str, object]) -> None:
    """Right names with anything in them, beside a right sender."""
    forged = {"kind": "ask", "what": "top", "from": {"id": ID, "host": "h", "pid": 1}, **fields}
    for kind in ("beat", "bye", "ask", "answer"):
        decode(b"mux/1 * " + orjson.dumps(forged | {"kind": kind}))
    decode(b"mux/1 * " + orjson.dumps(fields))


@pytest.mark.parametrize(
    "forged",
    [
        {"kind": "beat"},
        {"kind": "beat", "new": 1},
        {"kind": "shout"},
        {"kind": "ask", "round": 1, "what": "everything"},
        {"kind": "ask", "round": -1, "what": "stats"},
        {"kind": "ask", "round": True, "what": "stats"},
        {"kind": "ask", "round": 1, "what": "top", "prefix": "a", "sort": "size", "count": 1},
        {"kind": "ask", "round": 1, "what": "top", "prefix": "a", "sort": "rate", "count": 0},
        {"kind": "ask", "round": 1, "what": "top", "prefix": "a", "sort": "rate", "count": MAX_NAMES + 1},
        {"kind": "ask", "round": 1, "what": "top", "prefix": "ü", "sort": "rate", "count": 1},
        {"kind": "ask", "round": 1, "what": "top", "prefix": "a" * 256, "sort": "rate", "count": 1},
        {"kind": "ask", "round": 1, "what": "top", "prefix": "a b", "sort": "rate", "count": 1},
        {"kind": "ask", "round": 1, "what": "count", "names": ["a", 1]},
        {"kind": "ask", "round": 1, "what": "count", "names": ["\x9b2J"]},
        {"kind": "ask", "round": 1, "what": "count", "names": ["ü"]},
        {"kind": "ask", "round": 1, "what": "count", "names": ["a"] * (MAX_NAMES + 1)},
        {"kind": "answer", "round": 1, "body": []},
        {"kind": "answer", "round": 2**60, "body": {}},
        {"kind": "bye", "from": {"id": "g" * 32, "host": "h", "pid": 1}},
        {"kind": "bye", "from": {"id": ID[1:], "host": "h", "pid": 1}},
        {"kind": "bye", "from": {"id": ID, "host": "h" * 256, "pid": 1}},
        {"kind": "bye", "from": {"id": ID, "host": "\x1b[2J", "pid": 1}},
        {"kind": "bye", "from": {"id": ID, "host": "exe.\u202egnp", "pid": 1}},
        {"kind": "bye", "from": {"id": ID, "host": "h", "pid": -1}},
        {"kind": "bye", "from": ID},
    ],
)
def test_what_is_out_of_bounds_is_nothing(forged: dict[str, object]) -> None:
    """Each but for one thing a message."""
    sender = {"from": {"id": ID, "host": "h", "pid": 1}}
    assert decode(b"mux/1 * " + orjson.dumps(sender | forged)) is None


def test_another_version_and_what_is_too_long_are_nothing() -> None:
    """A later mux may speak otherwise; nobody honest speaks so long."""
    message = encode(Bye(ME))
    assert decode(message.replace(b"mux/1", b"mux/2")) is None
    assert decode(message + b" " * MAX_BYTES) is None
    assert decode(b"mux/1 *") is None
    assert decode(b"mux/1 * []") is None


def test_answers_to_others_are_passed_over() -> None:
    """By their head alone."""
    answer = Answer(ME, 1, {})
    assert is_for(encode(answer), ID)
    assert is_for(encode(answer, ID), ID)
    assert not is_for(encode(answer, "f" * 32), ID)
    assert not is_for(b"hello", ID)


@given(json)
def test_listed_channels_that_cannot_be_are_left_out(rows: object) -> None:
    """Whatever another process says it has."""
    for name, subscribers, rate in counted({"channels": rows}):
        assert name.isascii()
        assert subscribers >= 0
        assert rate >= 0


@pytest.mark.parametrize(
    "row",
    [
        ["", 1, 0.0],
        ["\x1b[2J", 1, 0.0],
        ["a", -1, 0.0],
        ["a", 1, -1.0],
        ["a", 1, True],
        ["a", 1.5, 0.0],
        ["a", 1],
        "a",
        ["a", 1, 1e300],
    ],
)
def test_only_what_is_right_of_a_listing_is_read(row: object) -> None:
    """A right row beside a wrong one."""
    assert counted({"channels": [["b", 2, 1], row]}) == [("b", 2, 1.0)]
    assert counted({"channels": [["b", 2, 1]] * (MAX_NAMES + 1)}) == ()
