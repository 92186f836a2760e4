"""Write and read what a process says of the clients in a channel, and put the answers of all processes together.

There are two kinds of rows. A client is `[name, subject]`, with null for a client without a subject. A user is a number
made of the subject: the numbers of a channel tell how many users there are, and not which.

Of many users a process gives the smallest numbers alone. As they are spread evenly, the density of the smallest ones
tells how many there are: exact up to MAX_USERS, and within two or three hundredths above.

Pure: values only. All that is read may be forged.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Literal, TypeAlias

import orjson

from mux.fleet.messages import MAX_LABEL_LENGTH, Identity, is_whole, read_object
from mux.hub.router import Router
from mux.hub.subscriber import AnySubscriber, Subscriber

MAX_CLIENTS = 10_000
"""Most clients that are listed, of one process and of all together."""

MAX_USERS = 4096
"""Most users of a channel whose numbers a process sends."""

MAX_SUBSCRIBERS = 2**32
"""Most clients that one process can say a channel has."""

ROWS_PER_PIECE = 256
"""Most rows in one piece of a large answer, and in a small answer; to write or read so many takes a millisecond."""

HEAD_BYTES = 128
"""Most bytes of an answer beside its rows."""

NUMBERS = 2**53
"""The numbers of users are below this, for JSON carries them exactly."""

Kind: TypeAlias = Literal["clients", "users"]
Row: TypeAlias = tuple[str, str | None] | int

MOST: dict[Kind, int] = {"clients": MAX_CLIENTS, "users": MAX_USERS}
"""Most rows of an answer, by its kind."""


_NAME = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Roster:
    """The clients that one process has in a channel."""

    count: int
    """The number of clients that the process has in the channel."""
    rows: Sequence[Row]
    has_more: bool
    """True when the process has more clients in the channel than the rows name."""


@dataclass(frozen=True, slots=True)
class People:
    """The clients of a channel."""

    clients: dict[str, str | None]
    """The subject of each client by the name of the client, which is another one in every channel."""
    has_more: bool
    """True when the channel has more clients than these."""
    missing: list[Identity]
    """The processes that did not answer; their clients are left out."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """The numbers of clients and of users in a channel."""

    num_clients: int
    num_users: int
    """The number of different subjects; all clients without a subject count as one user."""
    missing: list[Identity]
    """The processes that did not answer; their clients are left out."""


@dataclass(slots=True)
class Users:
    """The users of a channel over several processes."""

    numbers: set[int] = field(default_factory=set)
    limit: int = NUMBERS
    """The users with numbers up to this one are known without exception."""

    def add(self, numbers: Sequence[int], *, has_more: bool) -> None:
        """Add the numbers that one process gives."""
        self.numbers.update(numbers)
        if has_more and numbers:
            self.limit = min(self.limit, max(numbers))
        if len(self.numbers) > 2 * MAX_USERS:
            self._trim()

    def roster(self, count: int) -> Roster:
        """Return the numbers that one process sends of its users, when it has this many clients in the channel."""
        if len(self.numbers) > MAX_USERS:
            self._trim()
        return Roster(count, sorted(self.numbers), self.limit < NUMBERS)

    def _trim(self) -> None:
        smallest = sorted(self.numbers)[:MAX_USERS]
        self.numbers, self.limit = set(smallest), min(self.limit, smallest[-1])

    def __len__(self) -> int:
        """Return how many users there are, or about how many."""
        if len(self.numbers) > MAX_USERS:
            self._trim()
        if self.limit == NUMBERS:
            return len(self.numbers)
        known = sum(number <= self.limit for number in self.numbers)
        return max(known, (known - 1) * NUMBERS // max(1, self.limit))


def clients_in(router: Router, redis_channel: bytes) -> list[AnySubscriber]:
    """Return the clients of a channel of this process; an app that listens is no client.

    That takes a hundredth of the time in which one message is delivered to them.
    """
    subscribers: Collection[object] = router.subscribers(redis_channel)
    return [one for one in subscribers if isinstance(one, Subscriber)]


def subject_of(client: AnySubscriber) -> str | None:
    """Return the subject of a client's token, or the beginning of a longer one; None when it has none."""
    subject = None if client.grants is None else client.grants.subject
    return None if subject is None else subject[:MAX_LABEL_LENGTH]


def user_number(redis_channel: bytes, subject: str | None) -> int:
    """Return the number of a user; it is the same on every process, and another in every channel."""
    # Of both, for a key has a bounded length.
    digest = blake2b(redis_channel + b" " + (subject or "").encode(errors="surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest()) % NUMBERS


def write_rows(rows: Sequence[Row]) -> bytes:
    """Return rows as JSON."""
    return orjson.dumps({"rows": rows})


def write(roster: Roster, *, pieces: int = 0) -> bytes:
    """Return the answer of a process as JSON, when so many pieces with rows come beside it."""
    return orjson.dumps({"count": roster.count, "more": roster.has_more, "pieces": pieces, "rows": roster.rows})


@dataclass(frozen=True, slots=True)
class Head:
    """The answer of another process, whose rows have not been looked at."""

    count: int
    has_more: bool
    pieces: int
    rows: object


def read_head(body: bytes) -> Head | None:
    """Return the answer of another process; None when it cannot be."""
    match read_object(body):
        case {"count": int(count), "more": bool(has_more), "pieces": int(pieces), "rows": rows}:
            if is_whole(count, MAX_SUBSCRIBERS) and is_whole(pieces, MAX_CLIENTS):
                return Head(count, has_more, pieces, rows)
    return None


def read_rows(kind: Kind, rows: object) -> list[Row] | None:
    """Return the rows of one piece that another process gives; None when they cannot be."""
    if not isinstance(rows, list) or len(rows) > ROWS_PER_PIECE:
        return None
    read = [_client(row) if kind == "clients" else _number(row) for row in rows]
    return None if None in read else [row for row in read if row is not None]


def is_name(text: object) -> bool:
    """Tell whether something can be what a client is called in a channel."""
    return isinstance(text, str) and _NAME.fullmatch(text) is not None


def _client(row: object) -> Row | None:
    match row:
        case [str(name), None | str() as subject] if is_name(name) and len(subject or "") <= MAX_LABEL_LENGTH:
            return name, subject
    return None


def _number(row: object) -> Row | None:
    return row if isinstance(row, int) and is_whole(row, NUMBERS - 1) else None
