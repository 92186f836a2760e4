"""Hand much from one process to one other, by way of keys in Redis.

    SET key piece EX 10, a few at a time       by the process that has it
    GETDEL key, a few at a time                by the one process that wants it

Through the reserved channel every process would hear all of it, and what is large would soon fill the output buffers of
Redis. Both commands go over the connection that each process has. A name is drawn anew for every parcel, by the process
that wants it.

A node of a cluster takes only keys of its own slots, and all pieces of a parcel have one slot when the name is their
hash tag. So the process that wants a parcel draws names until its node takes a key with one. Processes on other nodes
cannot leave a parcel under it.

A user of Redis without the right to these two commands, or to these keys, has no parcels. It is said once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from random import SystemRandom
from typing import Protocol

from mux.errors import BrokerError
from mux.wire.resp import Reply

KEY_SECONDS = 10
"""Seconds after which Redis forgets a piece that nobody has taken."""

AT_ONCE = 4
"""Most pieces on their way at once. They are a megabyte, far below the 8 MB that Redis lets wait for a subscriber."""

TAGGED = "x"
"""First character of a name that is the hash tag of its keys; other names have hexadecimal digits only."""

TAGGED_LENGTH = 17
"""Characters of a name that is a hash tag; the rest of a key does not belong to its tag."""

TRIES = 128
"""Most names that are tried: in a cluster of 16 nodes one in 4,000 parcels finds none."""

logger = logging.getLogger("mux.broker")


class Commands(Protocol):
    """Sends a command to Redis on the connection that is there; the done function gets the reply, or a BrokerError."""

    def __call__(self, *words: bytes, done: Callable[[Reply], None]) -> None: ...


class Parcels:
    """Leaves parcels for other processes, and takes those that they have left.

    Args:
        command: sends a command to Redis.
        prefix: what the keys start with.
        content: what is in the parcels, for people who read the log.
        is_cluster: returns whether Redis is a node of a cluster.
    """

    def __init__(self, command: Commands, prefix: bytes, content: str, is_cluster: Callable[[], bool]) -> None:
        self._command = command
        self._is_cluster = is_cluster
        self._dice = SystemRandom()
        self._has_said_moved = False
        self._prefix = prefix
        self._content = content
        self.is_forbidden = False
        """True when Redis has refused the commands to this user."""

    async def draw(self) -> str | None:
        """Return the name of a new parcel that this process can take; None when Redis takes no key of its."""
        if not self._is_cluster():
            return self._word()
        names = deque(TAGGED + self._word() for _ in range(TRIES))
        async for reply in self._pipelined([(b"GETDEL", self._key(name, 0)) for name in names]):
            name = names.popleft()
            if not isinstance(reply, BrokerError):
                return name
            if not str(reply).startswith("MOVED"):
                self._note_refusal(reply)
                return None
        if not self._has_said_moved:
            self._has_said_moved = True
            logger.warning(
                "this node of the cluster takes no keys, so %s is not copied to this process; a master takes some",
                self._content,
            )
        return None

    def _word(self) -> str:
        return f"{self._dice.getrandbits(64):016x}"

    async def leave(self, name: str, pieces: Iterable[bytes]) -> int | None:
        """Leave a parcel and return how many pieces it has; None when Redis did not take them all."""
        keys = enumerate(pieces)
        commands = ((b"SET", self._key(name, number), piece, b"EX", b"%d" % KEY_SECONDS) for number, piece in keys)
        count = 0
        async for reply in self._pipelined(commands):
            if reply != b"OK":
                self._note_refusal(reply)
                return None
            count += 1
        return count

    async def take(self, name: str, count: int, max_bytes: int) -> AsyncIterator[bytes | None]:
        """Take a parcel and yield its pieces in order; None and the end when one is not there, or all are too large."""
        size = 0
        async for reply in self._pipelined((b"GETDEL", self._key(name, number)) for number in range(count)):
            size += len(reply) if isinstance(reply, bytes) else 0
            if not isinstance(reply, bytes) or size > max_bytes:
                self._note_refusal(reply)
                yield None
                return
            yield reply

    async def _pipelined(self, commands: Iterable[tuple[bytes, ...]]) -> AsyncIterator[Reply]:
        """Send commands, a few at a time, and return their replies in order; one command in a turn of the loop."""
        loop = asyncio.get_running_loop()
        replies: list[asyncio.Future[Reply]] = []
        for words in commands:
            reply: asyncio.Future[Reply] = loop.create_future()
            self._command(*words, done=_into(reply))
            replies.append(reply)
            await asyncio.sleep(0)
            if len(replies) == AT_ONCE:
                yield await replies.pop(0)
        for reply in replies:
            yield await reply

    def _note_refusal(self, reply: Reply) -> None:
        said = str(reply)
        if not isinstance(reply, BrokerError) or self.is_forbidden:
            return
        if said.startswith("NOPERM"):
            self.is_forbidden = True
            logger.warning(
                "Redis does not let this user copy %s to other processes: %s; grant it +set +getdel and ~%s*",
                self._content,
                reply,
                self._prefix.decode(),
            )
        elif said.startswith("ERR unknown command"):
            self.is_forbidden = True
            logger.warning(
                "this Redis has no GETDEL, so %s is not copied between processes; 6.2 and later have it", self._content
            )

    def _key(self, name: str, number: int) -> bytes:
        if name.startswith(TAGGED):
            name = f"{{{name[:TAGGED_LENGTH]}}}{name[TAGGED_LENGTH:]}"
        return b"%b%b:%d" % (self._prefix, name.encode(), number)


def _into(reply: asyncio.Future[Reply]) -> Callable[[Reply], None]:
    return lambda value: None if reply.done() else reply.set_result(value)
