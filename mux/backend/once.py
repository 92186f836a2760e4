"""Publish once however often it is asked for, whichever process is asked.

    SET key "" NX EX 30      by the first process that is asked: nobody else publishes
    SET key result EX 300    when it has published
    GET key                  by everybody else, until there is a result
    GETDEL key               when nothing was published: the next one may try

Publishing goes on when the asker has gone away, for that is when it asks again. When nobody knows whether the message
is published, as the connection to Redis broke, the key stays until the claim ends.

The key is made of the channel and the idempotency key, so it has a bounded length, and Redis forgets it by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any

import orjson

from mux.backend.errors import BAD_REQUEST, CONFLICT, NOT_AVAILABLE, ApiError
from mux.broker.holding import resolve_with_reply
from mux.broker.parcels import Commands
from mux.errors import BrokerError, BrokerRefused, BrokerUnavailable
from mux.fleet.messages import read_object
from mux.wire.resp import Reply

KEPT_SECONDS = 300
"""Seconds for which a call with the same key gets the first call's result."""

CLAIM_SECONDS = 30
"""Most seconds a process may take to publish; after them, the next one may."""

WAIT_SECONDS = 5.0
"""Most seconds a process waits for the result of another."""

POLL_SECONDS = 0.02
"""Seconds between two looks for the result of another process."""

MAX_KEY_LENGTH = 255
"""Most characters of an idempotency key."""

MAX_KEYS = 500_000
"""Most keys that one process keeps in Redis, of some 200 bytes each."""

Result = dict[str, Any]


class Once:
    """Remembers what was published under which key.

    Args:
        command: sends a command to Redis.
        prefix: what the keys in Redis start with.
    """

    def __init__(self, command: Commands, prefix: bytes) -> None:
        self._command = command
        self._prefix = prefix
        self._renewed_at = float("-inf")
        self._left = MAX_KEYS
        self._tasks: set[asyncio.Future[Result]] = set()

    async def publish(self, channel: str, key: str, publish: Callable[[], Awaitable[Result]]) -> Result:
        """Return the result of the first call with this channel and key, which alone publishes.

        Raises:
            ApiError: the key cannot be, too many are in use, or the first call takes too long.
            BrokerError: Redis does not take the key, or as publish().
        """
        if len(key) > MAX_KEY_LENGTH:
            raise ApiError(
                BAD_REQUEST, f"the idempotency_key has {len(key)} characters; at most {MAX_KEY_LENGTH} can be"
            )
        self._check_room()
        name = self._prefix + sha256(f"{channel} {key}".encode()).hexdigest().encode()
        until = asyncio.get_running_loop().time() + WAIT_SECONDS
        while await self._ask(b"SET", name, b"", b"NX", b"EX", b"%d" % CLAIM_SECONDS) != b"OK":
            found = await self._ask(b"GET", name)
            if found:
                assert isinstance(found, bytes)
                return dict(read_object(found))
            if asyncio.get_running_loop().time() > until:
                raise ApiError(CONFLICT, "the same idempotency_key is being published; try again later")
            await asyncio.sleep(POLL_SECONDS)
        self._left -= 1
        task = asyncio.ensure_future(self._first(name, publish))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def aclose(self) -> None:
        """End what is being published; before the broker is closed."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _first(self, name: bytes, publish: Callable[[], Awaitable[Result]]) -> Result:
        try:
            result = await publish()
        except (BrokerUnavailable, BrokerRefused):
            self._command(b"GETDEL", name, done=_ignore)
            raise
        self._command(b"SET", name, orjson.dumps(result), b"EX", b"%d" % KEPT_SECONDS, done=_ignore)
        return result

    def _check_room(self) -> None:
        """Let a key pass while there is room for it; what was counted is forgotten after KEPT_SECONDS."""
        now = asyncio.get_running_loop().time()
        if now > self._renewed_at + KEPT_SECONDS:
            self._renewed_at, self._left = now, MAX_KEYS // 2
        if self._left <= 0:
            raise ApiError(CONFLICT, "too many idempotency keys are in use; try again later, or without one")

    async def _ask(self, *words: bytes) -> Reply:
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._command(*words, done=resolve_with_reply(reply))
        answer = await reply
        if isinstance(answer, BrokerRefused) and answer.code in ("MOVED", "CROSSSLOT"):
            raise ApiError(NOT_AVAILABLE, "a cluster keeps no idempotency keys")
        if isinstance(answer, BrokerError):
            raise answer
        return answer


def _ignore(reply: Reply) -> None:
    """Take the answer to a command that nobody waits for."""
