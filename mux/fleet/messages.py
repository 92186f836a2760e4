"""Read and write the messages that processes send each other.

All of them go through one reserved channel that every process hears. A message is a head of fixed form and JSON:

    mux/2 * beat - <id> {"host":…,"pid":…,"new":true}     to all: I am here
    mux/2 * bye - <id>                                    to all: I am leaving
    mux/2 * ask <round> <id> {"what":"stats"}             to all: answer me
    mux/2 <id> answer <round> <id> {…}                    to one: my answer

The last id is the sender's. A process drops a message by its head and length alone, and decodes nothing of it, when it
is an answer to another process, an answer to no open question, or longer than a message of its kind can be.

Rules:

1. Anybody may PUBLISH here. Nothing in this module raises for what it reads; it returns only what has the right shape
   and is within bounds.
2. No message makes its reader do more than a fixed amount of work, or keep more than is bounded here.

Pure: bytes in, values out.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import orjson

CHANNEL = b"$fleet"
"""The channel of these messages, under the prefix of the fleet."""

MAX_NOTICE_BYTES = 2048
"""Longest beat, goodbye or question, in bytes: 255 characters of UTF-8 and some numbers fit."""

MAX_ANSWER_BYTES = 64 * 1024
"""Longest body of an answer; decoding so much takes two milliseconds at most."""

MAX_LABEL_LENGTH = 255
"""Most characters in a host, a version or a reason; DNS allows a host as many."""

NO_ROUND = "-"
"""The round of a message that is no question and no answer."""

NO_ANSWER = b"null"
"""The body of an answer that says that there will be no other."""

_HEAD = re.compile(rb"mux/2 (\*|[0-9a-f]{32}) (beat|bye|ask|answer) (-|[0-9a-f]{16}) ([0-9a-f]{32}) ")

Kind: TypeAlias = Literal["beat", "bye", "ask", "answer"]


@dataclass(frozen=True, slots=True, order=True)
class Identity:
    """Tells one process of the fleet from all others; sorted by host, then pid."""

    host: str
    pid: int
    id: str
    """32 hexadecimal digits, drawn when the process started."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message whose head has been read, and whose body has not been decoded."""

    kind: Kind
    round: str
    sender: str
    body: bytes


def read(payload: bytes, receiver: str, rounds: Container[str]) -> Envelope | None:
    """Return a message that is for all, or answers one of the rounds that the receiver has open; else None."""
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
    return Envelope(of_kind, round_.decode(), sender.decode(), payload[head.end() :])


def write(kind: Kind, sender: str, body: bytes = b"", *, to: str = "*", round_: str = NO_ROUND) -> bytes:
    """Return a message as it is published."""
    return f"mux/2 {to} {kind} {round_} {sender} ".encode() + body


def beat_body(identity: Identity, *, is_new: bool) -> bytes:
    """Return the body of a beat; is_new asks all others to beat soon, so that a newcomer knows them."""
    return orjson.dumps({"host": identity.host, "pid": identity.pid, "new": is_new})


def read_beat(sender: str, body: bytes) -> tuple[Identity, bool] | None:
    """Return which process a beat is from, and whether it is new; None when the body is no beat's."""
    fields = read_object(body)
    identity, is_new = read_identity(sender, fields), fields.get("new")
    return (identity, is_new) if identity is not None and isinstance(is_new, bool) else None


def read_identity(id_: str, fields: Mapping[str, object]) -> Identity | None:
    """Return the identity of a process that gives its host and pid; None when these cannot be."""
    match fields:
        case {"host": str(host), "pid": int(pid)} if is_label(host) and is_whole(pid, 2**32):
            return Identity(host, pid, id_)
    return None


def read_object(body: bytes) -> Mapping[str, object]:
    """Return a JSON object; an empty one when the body is none."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def is_label(text: object) -> bool:
    """Tell whether something may be a host, a version or a reason, which people read in a terminal.

    A character that is not printable may steer a terminal, or turn the text beside it around.
    """
    return isinstance(text, str) and len(text) <= MAX_LABEL_LENGTH and text.isprintable()


def is_whole(number: int, maximum: int) -> bool:
    """Tell whether a number, and no bool, is from 0 to a maximum."""
    return not isinstance(number, bool) and 0 <= number <= maximum
