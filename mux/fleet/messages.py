"""What processes say to each other.

All of it goes through one reserved channel that every process hears. A message is a head that says for whom it
is, so that a process passes over the answers to others without reading them, and a JSON object:

    mux/1 * {"kind":"beat","from":{"id":…,"host":…,"pid":…},"new":true}     to all: I am here
    mux/1 * {"kind":"bye","from":…}                                         to all: I am leaving
    mux/1 * {"kind":"ask","from":…,"round":7,"what":"stats"}                to all: answer me
    mux/1 <id> {"kind":"answer","from":…,"round":7,"body":…}                to one: my answer

Rules:

1. Whoever may PUBLISH can send anything here. decode() never raises and returns only what has the right shape
   and is within bounds; the rest is not for us, nor is what another version of this protocol says.
2. Nothing a message says makes its reader do more than a fixed amount of work, or keep more than is bounded here.

Pure: bytes in, values out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import orjson

from mux.wire.channel import MAX_CHANNEL_BYTES

CHANNEL = b"$fleet"
"""Where they say it, under the prefix of the fleet."""

VERSION = b"mux/1 "
"""A process that speaks another version is not heard."""

MAX_BYTES = 512 * 1024
"""A longer message is not read. What is sent is at most half of it, so that nobody is near it by honest means."""

MAX_NAME_LENGTH = 255
"""Of a host, as DNS has it, of a version and of a reason."""

MAX_NAMES = 4096
"""Of channels, in one message."""

MAX_ROUND = 2**53
"""What JSON readers of every language can count to."""

_TO_ALL = VERSION + b"* "

Sort: TypeAlias = Literal["subscribers", "rate"]
Body: TypeAlias = Mapping[str, object]
"""What an answer says: JSON, of which only the reader of that kind of answer knows the shape."""


@dataclass(frozen=True, slots=True)
class Process:
    """Who a process is."""

    id: str
    """32 hexadecimal digits, drawn when the process started."""
    host: str
    pid: int


@dataclass(frozen=True, slots=True)
class Beat:
    """A process is there; it has just come when is_new is True, and wants to know who else is."""

    sender: Process
    is_new: bool = False


@dataclass(frozen=True, slots=True)
class Bye:
    """A process leaves."""

    sender: Process


@dataclass(frozen=True, slots=True)
class Stats:
    """Asks for the numbers of a process."""


@dataclass(frozen=True, slots=True)
class Top:
    """Asks for the first channels of a process."""

    prefix: str
    sort: Sort
    count: int
    """How many, 1 to MAX_NAMES."""


@dataclass(frozen=True, slots=True)
class Count:
    """Asks for the numbers of certain channels."""

    names: tuple[str, ...]


Question: TypeAlias = Stats | Top | Count


@dataclass(frozen=True, slots=True)
class Ask:
    """A question, and what the answer is to be marked with."""

    sender: Process
    round: int
    question: Question


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer; body is None from a process that does not want to."""

    sender: Process
    round: int
    body: Body | None


Message: TypeAlias = Beat | Bye | Ask | Answer


def is_for(payload: bytes, receiver: str) -> bool:
    """Tell whether a message is for all, or for this one; all else costs no more than this."""
    return payload.startswith((_TO_ALL, VERSION + receiver.encode() + b" "))


def encode(message: Message, to: str = "*") -> bytes:
    """Return a message as it is published.

    Args:
        message: what to say.
        to: the id of the process it is for, or * for all.
    """
    sender = message.sender
    fields: dict[str, object] = {
        "kind": type(message).__name__.lower(),
        "from": {"id": sender.id, "host": sender.host, "pid": sender.pid},
    }
    if isinstance(message, Beat):
        fields["new"] = message.is_new
    elif isinstance(message, Ask):
        fields |= {"round": message.round, "what": type(message.question).__name__.lower()}
        fields |= _question_fields(message.question)
    elif isinstance(message, Answer):
        fields |= {"round": message.round, "body": message.body}
    return VERSION + to.encode() + b" " + orjson.dumps(fields)


def _question_fields(question: Question) -> dict[str, object]:
    if isinstance(question, Top):
        return {"prefix": question.prefix, "sort": question.sort, "count": question.count}
    return {"names": question.names} if isinstance(question, Count) else {}


def decode(payload: bytes) -> Message | None:
    """Return what a message says; None if it is none, of another version, or out of bounds."""
    if not payload.startswith(VERSION) or len(payload) > MAX_BYTES:
        return None
    try:
        fields = orjson.loads(payload.split(b" ", 2)[2])
    except (orjson.JSONDecodeError, IndexError):
        return None
    if not isinstance(fields, dict):
        return None
    sender = _process(fields.get("from"))
    return None if sender is None else _message(sender, fields)


def _message(sender: Process, fields: Mapping[str, object]) -> Message | None:
    match fields:
        case {"kind": "beat", "new": bool(is_new)}:
            return Beat(sender, is_new)
        case {"kind": "bye"}:
            return Bye(sender)
        case {"kind": "ask", "round": round_}:
            question = _question(fields)
            return (
                None if question is None or not _is_whole(round_, MAX_ROUND) else Ask(sender, _whole(round_), question)
            )
        case {"kind": "answer", "round": round_, "body": None | dict() as body}:
            return Answer(sender, _whole(round_), body) if _is_whole(round_, MAX_ROUND) else None
    return None


def _process(fields: object) -> Process | None:
    match fields:
        case {"id": str(id_), "host": str(host), "pid": pid}:
            if len(id_) == 32 and set(id_) <= _HEXADECIMAL and is_label(host) and _is_whole(pid, 2**32):
                return Process(id_, host, _whole(pid))
    return None


def _question(fields: Mapping[str, object]) -> Question | None:
    match fields:
        case {"what": "stats"}:
            return Stats()
        case {"what": "top", "prefix": str(prefix), "sort": "subscribers" | "rate" as sort, "count": count}:
            is_right = (
                len(prefix) <= MAX_CHANNEL_BYTES and is_printable(prefix) and _is_whole(count, MAX_NAMES) and count
            )
            return Top(prefix, sort, _whole(count)) if is_right else None
        case {"what": "count", "names": list(names)}:
            return Count(tuple(names)) if len(names) <= MAX_NAMES and all(map(is_name, names)) else None
    return None


def is_name(name: object) -> bool:
    """Tell whether something may be the name of a channel."""
    return isinstance(name, str) and 0 < len(name) <= MAX_CHANNEL_BYTES and is_printable(name)


def is_printable(name: str) -> bool:
    """Tell whether a text has only what the names of channels have: printable ASCII without space."""
    return name.isascii() and name.isprintable() and " " not in name


def is_label(text: object) -> bool:
    """Tell whether something may be a host, a version or a reason: people read it, and it does not steer what shows it.

    What is not printable is what a terminal may obey, and what turns the text beside it around.
    """
    return isinstance(text, str) and len(text) <= MAX_NAME_LENGTH and text.isprintable()


def counted(body: Body, key: str = "channels") -> Sequence[tuple[str, int, float]]:
    """Return the channels in an answer to Top or Count: name, subscribers, messages per second; none if garbled."""
    rows = body.get(key)
    if not isinstance(rows, list) or len(rows) > MAX_NAMES:
        return ()
    return [row for row in map(_row, rows) if row is not None]


def _row(row: object) -> tuple[str, int, float] | None:
    match row:
        case [name, subscribers, int() | float() as rate]:
            if is_name(name) and _is_whole(subscribers, MAX_ROUND) and 0 <= rate < 1e12 and not isinstance(rate, bool):
                return str(name), _whole(subscribers), float(rate)
    return None


def _is_whole(number: object, maximum: int) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= maximum


def _whole(number: object) -> int:
    assert isinstance(number, int), "_is_whole() has said so"
    return number


_HEXADECIMAL = frozenset("0123456789abcdef")
