"""Read which messages from before it a request asks for, and answer one that is no client with them, as JSON."""

from __future__ import annotations

import asyncio
from binascii import b2a_base64
from collections.abc import Mapping, Sequence
from math import inf
from typing import NamedTuple

import orjson
from sanic.request import Request

from mux import reasons
from mux.errors import Refused
from mux.journal.journal import Journal
from mux.journal.quiet import Quiet
from mux.recovery.history import History, Query
from mux.recovery.order import Order
from mux.wire.http.content import accepts_explicitly
from mux.wire.position import Numbering
from mux.wire.publication import BINARY, JOINED, LEFT, Publication, is_text
from mux.wire.sse.coding import TYPE

DEFAULT_MESSAGES = 100
"""Messages in an answer of JSON when nobody says how many."""

MAX_MESSAGES = 10_000
"""Most messages in an answer of JSON."""

MESSAGES_PER_TURN = 50
"""Messages that are written as JSON in one turn of the loop: a millisecond or two."""


ANSWERS_AT_ONCE = 32
"""Most answers of JSON that are made at once; further requests wait for their turn."""

UNREAD_BYTES = 32 * 1024 * 1024
"""Most bytes of answers of JSON that clients have not read; beyond that, requests are refused."""


class Answers:
    """The answers of JSON that are made, and those that are written and not read yet.

    Each may take megabytes, and those who ask need not read.
    """

    def __init__(self) -> None:
        self.turn = asyncio.Semaphore(ANSWERS_AT_ONCE)
        """Is held while an answer is made, beginning with what is looked up for it."""
        self._unread: dict[asyncio.Transport, int] = {}

    def check(self) -> None:
        """Look whether there is room for one more.

        Raises:
            Refused: there is none.
        """
        for transport in list(self._unread):
            if transport.is_closing() or not transport.get_write_buffer_size():
                del self._unread[transport]
        if sum(self._unread.values()) > UNREAD_BYTES:
            raise Refused(reasons.INQUIRIES)

    def add(self, transport: asyncio.Transport | None, size: int) -> None:
        """Take note of an answer that is about to be written."""
        if transport is not None:
            self._unread[transport] = size


class Past(NamedTuple):
    """The parts of a process that know the messages from before a client came."""

    history: History
    numbering: Numbering
    quiet: Quiet

    @classmethod
    def of(cls, journal: Journal, order: Order, quiet: Quiet) -> Past:
        """Return what is known from a journal."""
        return cls(History(journal, order, quiet), order, quiet)


def wants_messages(request: Request) -> bool:
    """Tell whether a request is for the latest messages as JSON."""
    headers = request.headers
    accept = ",".join(headers.getall("accept", []))
    return (
        "upgrade" not in headers
        and accepts_explicitly(accept, "application/json")
        and not accepts_explicitly(accept, TYPE)
    )


def wants_stream(request: Request) -> bool:
    """Tell whether a request is for an event stream."""
    return accepts_explicitly(",".join(request.headers.getall("accept", [])), TYPE)


def wants_latest(request: Request) -> bool:
    """Tell whether a request is for the newest messages alone whenever its client does not keep up.

    Raises:
        Refused: it asks for what cannot be.
    """
    latest = _only(request.args if request.query_string else {}, "latest")
    if latest not in ("", "1"):
        raise Refused(reasons.QUERY, "`latest` is 1, or is not given")
    return latest == "1"


def query_of(request: Request) -> Query | None:
    """Return which messages from before it a request asks for; None when it asks for none.

    Raises:
        Refused: it asks for what cannot be.
    """
    args = request.args if request.query_string else {}
    return Query.read(
        since=_only(args, "since"),
        last=_only(args, "last"),
        last_event_id=request.headers.get("last-event-id", "") or _only(args, "last_event_id"),
    )


async def messages_json(
    history: History | None, channel: str, publications: Sequence[Publication], last: float = inf
) -> bytes:
    """Return the answer to a request for messages: the latest of those found, where they end, and how many were found.

    Args:
        history: what knows their positions.
        channel: its name.
        publications: the messages that were found.
        last: most messages in the answer; MAX_MESSAGES when that is less.
    """
    head = {
        "channel": channel,
        "position": "" if history is None else history.position(history.last),
        "count": len(publications),
        "complete": len(publications) <= MAX_MESSAGES,
    }
    publications = publications[max(0, len(publications) - int(min(last, MAX_MESSAGES))) :]
    found: list[bytes] = []
    for start in range(0, len(publications), MESSAGES_PER_TURN):
        piece = publications[start : start + MESSAGES_PER_TURN]
        # Together: orjson takes a kilobyte for each text that it begins, and most of that would be left in pieces.
        found.append(orjson.dumps([_told(history, one) for one in piece if history])[1:-1])
        await asyncio.sleep(0)
    return b'%b,"messages":[%b]}' % (orjson.dumps(head)[:-1], b",".join(found))


def _told(history: History, publication: Publication) -> dict[str, object]:
    """Return what is told of one message: its position, its time in seconds of Unix time, and its text or base64."""
    payload, kind, number = publication
    told: dict[str, object] = {"position": history.position(number), "time": round(history.time_of(number), 3)}
    if kind in (JOINED, LEFT):
        told["event"] = "joined" if kind == JOINED else "left"
    if kind != BINARY and is_text(payload):
        told["text"] = payload.decode()
    else:
        told["base64"] = b2a_base64(payload, newline=False).decode()
    return told


def _only(args: Mapping[str, list[str]], name: str) -> str:
    """Return the value of a parameter that may be given once; nothing when it is not given.

    Raises:
        Refused: it is given more than once.
    """
    found = dict(args).get(name, [])
    if len(found) > 1:
        raise Refused(reasons.QUERY, f"`{name}` is given more than once")
    return found[0] if found else ""
