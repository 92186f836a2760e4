"""What processes say to each other.

All of it goes through one reserved channel that every process hears. A message is a head of fixed form and JSON:

    mux/2 * beat - <id> {"host":…,"pid":…,"new":true}     to all: I am here
    mux/2 * bye - <id>                                    to all: I am leaving
    mux/2 * ask <round> <id> {"what":"stats"}             to all: answer me
    mux/2 <id> answer <round> <id> {…}                    to one: my answer

The last id is the sender's. The head tells whether a message concerns a process at all, so what does not is passed
over without being decoded: an answer for another process, an answer nobody has asked for, and whatever is longer than
a message of its kind can be.

Rules:

1. Whoever may PUBLISH can send anything here. Nothing in this module raises for what it reads; it returns only what
   has the right shape and is within bounds.
2. Nothing a message says makes its reader do more than a fixed amount of work, or keep more than is bounded here.

Pure: bytes in, values out.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import orjson

from mux.wire.channel import MAX_CHANNEL_BYTES

CHANNEL = b"$fleet"
"""The channel of these messages, under the prefix of the fleet."""

MAX_NOTICE_BYTES = 2048
"""Longest beat, goodbye or question: a name of 255 characters in UTF-8, and some numbers."""

MAX_ANSWER_BYTES = 64 * 1024
"""Longest body of an answer; decoding so much takes two milliseconds at most."""

MAX_LABEL_LENGTH = 255
"""Longest name of a host, as DNS has it, longest version and longest reason."""

MAX_NAMES = 1000
"""Most channel names in one answer."""

MAX_SUBSCRIBERS = 2**32
"""Most subscribers that one process can say a channel has; the sum over all processes is far from 2**53."""

MAX_RATE = 1e12
"""Most messages per second that are believed."""

NOBODY = "-"
"""The round of a message that belongs to none."""

_HEAD = re.compile(rb"mux/2 (\*|[0-9a-f]{32}) (beat|bye|ask|answer) (-|[0-9a-f]{16}) ([0-9a-f]{32}) ")

Sort: TypeAlias = Literal["subscribers", "rate"]
Kind: TypeAlias = Literal["beat", "bye", "ask", "answer"]
Row: TypeAlias = tuple[str, int, float]
"""A channel: its name, its subscribers, messages per second."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process of the fleet."""

    id: str
    """32 hexadecimal digits, drawn when the process started."""
    host: str
    pid: int


@dataclass(frozen=True, slots=True)
class Message:
    """A message whose head has been read; its body is bytes that nobody has looked at."""

    kind: Kind
    round: str
    sender: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Stats:
    """The question for the numbers of a process."""


@dataclass(frozen=True, slots=True)
class Top:
    """The question for the first channels of a process."""

    prefix: str
    sort: Sort
    count: int
    """How many channels, 1 to MAX_NAMES."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The channels that one process has named."""

    rows: Sequence[Row]
    is_complete: bool
    """True when it has no other channels than these."""


Question: TypeAlias = Stats | Top


def read(payload: bytes, receiver: str, rounds: Container[str]) -> Message | None:
    """Return a message that is for all or answers what this process has asked; None for everything else.

    The head and the length decide; the body is not looked at.

    Args:
        payload: as it was published.
        receiver: the id of this process.
        rounds: the rounds of the questions that wait for answers.
    """
    head = _HEAD.match(payload)
    if head is None:
        return None
    to, kind, round_, sender = head.groups()
    me = receiver.encode()
    if kind == b"answer":
        is_wanted = to == me and round_.decode() in rounds and len(payload) - head.end() <= MAX_ANSWER_BYTES
    else:
        is_wanted = to == b"*" and len(payload) <= MAX_NOTICE_BYTES
    if not is_wanted or sender == me:
        return None
    of_kind: Kind = kind.decode()  # type: ignore[assignment]  # the expression lists the kinds
    return Message(of_kind, round_.decode(), sender.decode(), payload[head.end() :])


def write(kind: Kind, sender: str, body: bytes = b"", *, to: str = "*", round_: str = NOBODY) -> bytes:
    """Return a message as it is published."""
    return f"mux/2 {to} {kind} {round_} {sender} ".encode() + body


def beat_body(process: Process, *, is_new: bool) -> bytes:
    """Return the body of a beat; is_new says that the process has just come, and wants to know who else is there."""
    return orjson.dumps({"host": process.host, "pid": process.pid, "new": is_new})


def read_beat(message: Message) -> tuple[Process, bool] | None:
    """Return the process that a beat is from, and whether it has just come; None for what is no beat."""
    fields = read_object(message.body)
    process, is_new = read_process(message.sender, fields), fields.get("new")
    return (process, is_new) if process is not None and isinstance(is_new, bool) else None


def read_process(id_: str, fields: Mapping[str, object]) -> Process | None:
    """Return the process of an id, with the host and the number it says that it has; None if these cannot be."""
    match fields:
        case {"host": str(host), "pid": int(pid)} if is_label(host) and is_whole(pid, 2**32):
            return Process(id_, host, pid)
    return None


def question_body(question: Question) -> bytes:
    """Return the body of a question."""
    if isinstance(question, Stats):
        return b'{"what":"stats"}'
    return orjson.dumps({"what": "top", "prefix": question.prefix, "sort": question.sort, "count": question.count})


def read_question(body: bytes) -> Question | None:
    """Return what a question asks for; None for what is no question."""
    match _decoded(body):
        case {"what": "stats"}:
            return Stats()
        case {"what": "top", "prefix": str(prefix), "sort": "subscribers" | "rate" as sort, "count": int(count)}:
            if len(prefix) <= MAX_CHANNEL_BYTES and is_printable(prefix) and is_whole(count, MAX_NAMES) and count:
                return Top(prefix, sort, count)
    return None


def read_listing(body: bytes) -> Listing | None:
    """Return the channels in an answer to Top, each name once; None for what is no such answer."""
    match _decoded(body):
        case {"channels": list(rows), "complete": bool(is_complete)} if len(rows) <= MAX_NAMES:
            named = {row[0]: row for row in map(_row, rows) if row is not None}
            return Listing(list(named.values()), is_complete)
    return None


def read_object(body: bytes) -> Mapping[str, object]:
    """Return a JSON object; an empty one for what is none."""
    found = _decoded(body)
    return found if isinstance(found, dict) else {}


def is_printable(name: str) -> bool:
    """Tell whether a text has only what the names of channels have: printable ASCII without space."""
    return name.isascii() and name.isprintable() and " " not in name


def is_label(text: object) -> bool:
    """Tell whether something may be a host, a version or a reason: people read it, and no terminal obeys it.

    A character that is not printable may steer a terminal, or turn the text beside it around.
    """
    return isinstance(text, str) and len(text) <= MAX_LABEL_LENGTH and text.isprintable()


def is_whole(number: int, maximum: int) -> bool:
    """Tell whether a number, and no bool, is from 0 to a maximum."""
    return not isinstance(number, bool) and 0 <= number <= maximum


def _decoded(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _row(row: object) -> Row | None:
    match row:
        case [str(name), int(subscribers), int() | float() as rate]:
            is_name = 0 < len(name) <= MAX_CHANNEL_BYTES and is_printable(name)
            is_rate = 0 <= rate < MAX_RATE and not isinstance(rate, bool)
            if is_name and is_rate and is_whole(subscribers, MAX_SUBSCRIBERS) and subscribers:
                return name, subscribers, float(rate)
    return None
