"""Ask all processes who is in a channel, when somebody wants to know.

    asker                                   every other process
      ├── presence: channel, kind, parcel ────►│   to all, by the fleet
      │◄── count, the rows, or how many pieces ┤   its one answer
    takes the pieces of a large answer, which the process has left in Redis for the asker alone (broker.parcels)

Nothing is kept for it: no timer, no key that stays, no index. A process has no more to do for a client that joins or
leaves, and a process that dies takes nothing with it that has to be cleaned up.

Rules:

1. Numbers alone never carry names (presence.roster).
2. A roster is made in slices, and bounded: MAX_CLIENTS rows. What other processes say is bounded, and read in slices.
3. Searches take a bounded share of the time of a process (fleet.searches). A process that has no time for one is
   missing in the answer, as one that is gone.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Container, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from random import SystemRandom
from time import perf_counter

from mux import reasons
from mux.broker.parcels import KEY_SECONDS, Parcels
from mux.errors import InvalidChannel, Refused
from mux.fleet.fleet import Fleet, Question
from mux.fleet.messages import Identity, read_object
from mux.fleet.searches import Searches
from mux.hub.hub import Hub
from mux.presence.roster import (
    HEAD_BYTES,
    MAX_CLIENTS,
    MOST,
    ROWS_PER_PIECE,
    Kind,
    Numbers,
    People,
    Roster,
    Row,
    Users,
    clients_in,
    read_head,
    read_rows,
    subject_of,
    user_number,
    write,
    write_rows,
)
from mux.wire.channel import Namespace, check_channel

ANSWER_SECONDS = 1.0
"""Longest wait for the answers of other processes."""

INLINE_BYTES = 8 * 1024
"""A larger answer goes to the asker alone, and not past every process: some hundred clients."""

SLICE = 256
"""Clients of which a roster is made in one turn of the loop: a millisecond, or two."""

MAX_PIECE_BYTES = 512 * 1024
"""Most bytes of a piece of a large answer; the longest subjects take half of it."""

MAX_ROSTER_BYTES = 8 * 1024 * 1024
"""Most bytes of all pieces of the answer of one process."""

MAX_LEFT_BYTES = 8 * 1024 * 1024
"""Most bytes of large answers that one process leaves in Redis in the time in which it forgets them: a dozen of the
largest. Further answers are cut short, for a question may be forged, and then nobody takes what was left."""

MAX_SEARCHES = 256
"""Most channels that are looked through or wait for it; a question for one more has no answer."""

QUESTIONS_AT_ONCE = 16
"""Most questions that this process asks at the same time; others wait."""

NOTHING = b"{}"
"""The answer of this process to its own question, whose rows are taken as they are."""

_PARCEL = re.compile("x?[0-9a-f]{16}")


class Presence:
    """Asks all processes for the clients of a channel.

    Args:
        fleet: all processes.
        hub: the clients of this one.
        namespace: what channels are called in Redis.
        parcels: carry large answers.
    """

    def __init__(self, fleet: Fleet, hub: Hub, namespace: Namespace, parcels: Parcels) -> None:
        self._fleet = fleet
        self._hub = hub
        self._namespace = namespace
        self._parcels = parcels
        self._searches: Searches[Roster] = Searches(most=MAX_SEARCHES)
        self._turn = asyncio.Semaphore(QUESTIONS_AT_ONCE)
        # What this process answers itself, by the parcel of its question.
        self._own: dict[str, Roster | None] = {}
        self._dice = SystemRandom()
        self._renewed_at, self._bytes_left = 0.0, MAX_LEFT_BYTES
        self._is_open = False
        fleet.handle("presence", self._answer)

    def start(self) -> None:
        """Begin to ask; the fleet has been started."""
        self._is_open = True

    async def aclose(self) -> None:
        """Ask nothing any more, and end the searches; before the fleet is closed."""
        self._is_open = False
        await self._searches.aclose()

    async def clients(self, channel: str | bytes) -> People:
        """Return the clients of a channel, MAX_CLIENTS at most.

        Raises:
            InvalidChannel: the name cannot be.
            Refused: the process leaves.
        """
        clients: dict[str, str | None] = {}
        present: set[str] = set()
        has_more = False
        async for id_, roster in self._rosters(channel, "clients"):
            present.add(id_)
            has_more |= roster.has_more or len(clients) + len(roster.rows) > MAX_CLIENTS
            clients.update(islice(_clients(roster.rows), MAX_CLIENTS - len(clients)))
        return People(clients, has_more, self._missing(present))

    async def numbers(self, channel: str | bytes) -> Numbers:
        """Return how many clients and users a channel has; no name of any leaves its process.

        Raises:
            InvalidChannel: the name cannot be.
            Refused: the process leaves.
        """
        present: set[str] = set()
        total, users = 0, Users()
        async for id_, roster in self._rosters(channel, "users"):
            present.add(id_)
            total += roster.count
            users.add([row for row in roster.rows if isinstance(row, int)], has_more=roster.has_more)
        return Numbers(total, min(total, len(users)), self._missing(present))

    async def _rosters(self, channel: str | bytes, kind: Kind) -> AsyncIterator[tuple[str, Roster]]:
        """Ask all processes, and yield what each that answers has, after its id."""
        name = check_channel(channel).decode()
        async with self._turn:
            # Where Redis takes no key, no large answer arrives, and a small one needs none.
            parcel = await self._parcels.draw() or f"{self._dice.getrandbits(64):016x}"
            if not self._is_open:
                raise Refused(reasons.LEAVING)
            self._own[parcel] = None
            try:
                question = {"channel": name, "kind": kind, "parcel": parcel}
                answers = await self._fleet.ask("presence", question, seconds=ANSWER_SECONDS)
                own = self._own[parcel]
            finally:
                del self._own[parcel]
            me = self._fleet.myself.id
            if own is not None:
                yield me, own
            for id_, body in answers.items():
                roster = None if id_ == me else await self._read(kind, f"{parcel}-{id_}", body)
                if roster is not None:
                    yield id_, roster
                await asyncio.sleep(0)

    def _missing(self, present: Container[str]) -> list[Identity]:
        return [identity for identity, _ in self._fleet.silent(present)]

    async def _read(self, kind: Kind, parcel: str, body: bytes) -> Roster | None:
        """Read the answer of another process, and the pieces that it has left; None when it cannot be."""
        head = read_head(body)
        rows = None if head is None else read_rows(kind, head.rows)
        if head is None or rows is None or head.pieces > -(-MOST[kind] // ROWS_PER_PIECE):
            return None
        async for piece in self._parcels.take(parcel, head.pieces, MAX_ROSTER_BYTES):
            if piece is None or len(piece) > MAX_PIECE_BYTES:
                return None
            more = read_rows(kind, read_object(piece).get("rows"))
            if more is None:
                return None
            rows += more
        return Roster(head.count, rows, head.has_more)

    # Answers for this process.

    async def _answer(self, question: Question) -> bytes | None:
        match question:
            case {"channel": str(channel), "kind": "clients" | "users" as kind, "parcel": str(parcel)}:
                if not _PARCEL.fullmatch(parcel):
                    return None
            case _:
                return None
        try:
            redis_channel = self._namespace.redis_channel(check_channel(channel))
        except InvalidChannel:
            return None
        roster = await self._searches.find((redis_channel, kind), partial(self._search, redis_channel, kind))
        if parcel in self._own:
            self._own[parcel] = roster
            return NOTHING
        return None if roster is None else await self._written(roster, f"{parcel}-{self._fleet.myself.id}")

    async def _search(self, redis_channel: bytes, kind: Kind) -> tuple[Roster, float]:
        """Return the roster of a channel on this process, and for how many seconds the event loop was held."""
        clients = clients_in(self._hub.router, redis_channel)
        count, seconds = len(clients), 0.0
        rows: list[Row] = []
        users = Users()
        if kind == "clients":
            del clients[MAX_CLIENTS:]
        for start in range(0, len(clients), SLICE):
            began = perf_counter()
            some = clients[start : start + SLICE]
            if kind == "clients":
                rows += [(str(client.name_in(redis_channel)), subject_of(client)) for client in some]
            else:
                users.add([user_number(redis_channel, subject_of(client)) for client in some], has_more=False)
            seconds += perf_counter() - began
            await asyncio.sleep(0)
        return (Roster(count, rows, count > MAX_CLIENTS) if kind == "clients" else users.roster(count)), seconds

    async def _written(self, roster: Roster, parcel: str) -> bytes:
        """Return the answer for another process, and leave the rows for it in pieces when they are many."""
        rows = roster.rows[:ROWS_PER_PIECE]
        most = min(INLINE_BYTES, self._fleet.max_answer_bytes - HEAD_BYTES)
        size = len(write_rows(rows))
        if len(rows) == len(roster.rows) and size <= most:
            return write(roster)
        if self._may_leave(size * len(roster.rows) // len(rows)):
            pieces = range(0, len(roster.rows), ROWS_PER_PIECE)
            count = await self._parcels.leave(parcel, (write_rows(roster.rows[i : i + ROWS_PER_PIECE]) for i in pieces))
            if count is not None:
                return write(replace(roster, rows=()), pieces=count)
        while len(write_rows(rows)) > most:
            rows = rows[: len(rows) // 2]
        return write(replace(roster, rows=rows, has_more=True))

    def _may_leave(self, size: int) -> bool:
        """Count a large answer; tell whether there is room for it among those that nobody may have taken yet."""
        now = asyncio.get_running_loop().time()
        if now >= self._renewed_at + KEY_SECONDS:
            self._renewed_at, self._bytes_left = now, MAX_LEFT_BYTES
        if size > self._bytes_left:
            return False
        self._bytes_left -= size
        return True


def _clients(rows: Sequence[Row]) -> Iterator[tuple[str, str | None]]:
    for row in rows:
        if isinstance(row, tuple):
            yield row
