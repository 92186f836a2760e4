"""One process among all that share its Redis and prefix: it knows the others, asks them, and answers them.

    router ── messages on $fleet ──► take ──► census       which processes there are
                                          ├─► handlers     answer the questions of other processes
    broker ◄── beats, questions, answers ◄┴─► rounds       the open questions of this process

A Fleet does not know which questions there are: a part of mux that can answer one names it with handle(), and asks it
with ask().

Rules:

1. Inside the dispatch of a batch a message is kept or dropped by its head and its length. It is decoded in a later turn
   of the loop, and a bounded number of messages in each.
2. These messages are not the feed's: they are not counted with its messages, nor held while Redis is away.
3. Anybody may publish on the reserved channel, and each message costs work and memory. So each kind of message has a
   budget in bytes a second, and so have the answers that this process gives.
4. A Fleet owns its timers and its answers under way, and ends them in aclose().
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Container, Coroutine, Mapping
from functools import partial
from random import Random, SystemRandom
from typing import Any, TypeAlias
from uuid import uuid4
from zlib import crc32

import orjson

from mux.broker.broker import Broker
from mux.fleet.census import Census
from mux.fleet.messages import (
    MAX_ANSWER_BYTES,
    MAX_LABEL_LENGTH,
    NO_ANSWER,
    NO_ROUND,
    Envelope,
    Identity,
    Kind,
    beat_body,
    read,
    read_beat,
    read_object,
    write,
)
from mux.fleet.round import MAX_ROUND_BYTES, Round

MAX_QUESTIONS_PER_SECOND = 200
"""Most questions of other processes that are answered in a second; forty terminals ask one each."""

MAX_ANSWERS_UNDER_WAY = 400
"""Most questions of other processes that are being answered at the same time."""

BYTES_PER_SECOND: Mapping[Kind, int] = {"beat": 256 * 1024, "bye": 128 * 1024, "ask": 64 * 1024}
"""Most bytes of each kind of message that are decoded. A thousand processes that come at the same time send 140 kB."""

MESSAGES_PER_TURN = 100
"""Most messages that are decoded in one turn of the loop, which takes less than a millisecond."""

TICK_SECONDS = 1.0
"""Seconds between two renewals of all budgets."""

MAX_RANK = 7
"""Highest rank of a process; all processes behind it share it."""

Question: TypeAlias = Mapping[str, object]
"""A JSON object; any process may have sent it."""

Handler: TypeAlias = Callable[[Question], Coroutine[Any, Any, bytes | None]]
"""Returns the answer of this process, as JSON of at most max_answer_bytes; None when it gives none."""

logger = logging.getLogger("mux")


class Fleet:
    """The processes of the fleet, as this one knows them.

    Args:
        broker: publishes what this process has to tell the others.
        redis_channel: the reserved channel; take() wants all that comes there.
    """

    def __init__(self, broker: Broker, redis_channel: bytes) -> None:
        self._broker = broker
        self._redis_channel = redis_channel
        self.myself: Identity
        """The identity of this process, once it has started."""
        self._census: Census
        self._handlers: dict[str, Handler] = {}
        self._rounds: dict[str, Round] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self._inbox: deque[Envelope] = deque()
        self._reading: asyncio.Handle | None = None
        self._bytes_left = dict(BYTES_PER_SECOND)
        self._questions_left = MAX_QUESTIONS_PER_SECOND
        self._answer_bytes_left = MAX_ROUND_BYTES
        self._connections = -1
        self._is_open = False
        self._timer: asyncio.TimerHandle | None = None
        self._beat_timer: asyncio.TimerHandle | None = None

    def handle(self, name: str, handler: Handler) -> None:
        """Have a function answer the questions of a name, those of this process as well."""
        self._handlers[name] = handler

    def start(self) -> None:
        """Begin to beat and to answer. The broker has been started, connected or not."""
        # Not before: an app may be made in one process and served in its children.
        self.myself = Identity(socket.gethostname()[:MAX_LABEL_LENGTH], os.getpid(), uuid4().hex)
        self._census = Census(self.myself.id, Random())  # noqa: S311 - nothing is kept secret by it
        self._is_open = True
        self._tick()

    async def aclose(self) -> None:
        """Say goodbye and end; before the broker is closed."""
        if not self._is_open:
            return
        self._is_open = False
        self._send("bye")
        for handle in (self._timer, self._beat_timer, self._reading):
            if handle is not None:
                handle.cancel()
        self._inbox.clear()
        for task in self._answering:
            task.cancel()
        await asyncio.gather(*self._answering, return_exceptions=True)

    @property
    def max_answer_bytes(self) -> int:
        """The longest answer now, in bytes: all processes hear the answers of all, so they share MAX_ROUND_BYTES."""
        return min(MAX_ANSWER_BYTES, MAX_ROUND_BYTES // (len(self._census) + 1))

    def silent(self, present: Container[str]) -> list[tuple[Identity, float]]:
        """Return the processes that are not present, this one last, each with the seconds since its last message."""
        others = self._census.silent(asyncio.get_running_loop().time())
        return [one for one in (*others, (self.myself, 0.0)) if one[0].id not in present]

    def meet(self, identity: Identity) -> None:
        """Know a process from now on, by an answer that it gave before it was known."""
        self._census.beat(identity, asyncio.get_running_loop().time(), is_new=False)

    def rank(self, mark: str) -> int:
        """Return how many processes come before this one in the order of a mark, at most MAX_RANK; 0 before start().

        Processes that know each other agree on the order without a message, and it differs from mark to mark.
        """
        if not self._is_open:
            return 0
        own_place = _place(mark, self.myself.id)
        return min(MAX_RANK, sum(_place(mark, id_) < own_place for id_ in self._census.ids))

    async def ask(self, name: str, question: Question, *, seconds: float) -> dict[str, bytes]:
        """Return the answers of all processes by their ids, this one's included; waits some seconds at most.

        While Redis is away no other process is asked, and the answer of this one is returned at once. An answer is what
        some process says, or what somebody has forged: bytes that may be anything.
        """
        me = self.myself.id
        round_ = Round({me, *self._census.ids} if self._broker.is_connected else {me})
        # Drawn, so that nobody can answer a question that they have not received.
        number = f"{SystemRandom().getrandbits(64):016x}"
        self._rounds[number] = round_
        try:
            self._answer(name, question, partial(round_.take, me))
            if self._broker.is_connected:
                self._send("ask", orjson.dumps({"what": name, **question}), round_=number)
            await asyncio.wait((round_.over,), timeout=seconds)
        finally:
            del self._rounds[number]
            round_.over.cancel()
        return round_.answers

    def take(self, payload: bytes, number: int) -> None:
        """Take what was published on the reserved channel; the router calls this inside dispatch()."""
        if not self._is_open:
            return
        message = read(payload, self.myself.id, self._rounds)
        if message is None:
            return
        if message.kind == "answer":
            self._census.sign(message.sender, asyncio.get_running_loop().time())
            self._rounds[message.round].take(message.sender, message.body)
        elif self._is_within_budget(message.kind, len(payload)):
            self._inbox.append(message)
            if self._reading is None:
                self._reading = asyncio.get_running_loop().call_soon(self._read)

    def _is_within_budget(self, kind: Kind, size: int) -> bool:
        """Take a message from the budget of its kind; return False when that is used up."""
        if size > self._bytes_left[kind] or (kind == "ask" and not self._questions_left):
            return False
        self._bytes_left[kind] -= size
        self._questions_left -= kind == "ask"
        return True

    def _read(self) -> None:
        for _ in range(min(len(self._inbox), MESSAGES_PER_TURN)):
            self._obey(self._inbox.popleft())
        self._reading = asyncio.get_running_loop().call_soon(self._read) if self._inbox else None

    def _obey(self, message: Envelope) -> None:
        now = asyncio.get_running_loop().time()
        if message.kind == "bye":
            self._census.left(message.sender)
        elif message.kind == "beat":
            beat = read_beat(message.sender, message.body)
            if beat is not None:
                self._census.beat(beat[0], now, is_new=beat[1])
                self._schedule_beat()
        else:
            self._census.sign(message.sender, now)
            question = read_object(message.body)
            name = question.get("what")
            if isinstance(name, str) and len(self._answering) < MAX_ANSWERS_UNDER_WAY:
                self._answer(name, question, partial(self._reply, message))

    def _answer(self, name: str, question: Question, reply: Callable[[bytes], None]) -> None:
        """Answer a question in a task; one that no handler is for is not answered."""
        handler = self._handlers.get(name)
        if handler is not None:
            task = asyncio.create_task(_answered(handler, question, reply), name=f"mux-answer-{name}")
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)

    def _reply(self, ask: Envelope, body: bytes) -> None:
        if len(body) <= self._answer_bytes_left:
            self._answer_bytes_left -= len(body)
            self._send("answer", body, to=ask.sender, round_=ask.round)

    def _send(self, kind: Kind, body: bytes = b"", *, to: str = "*", round_: str = NO_ROUND) -> None:
        self._broker.outbox.send_aside(self._redis_channel, write(kind, self.myself.id, body, to=to, round_=round_))

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._timer = loop.call_later(TICK_SECONDS, self._tick)
        self._bytes_left = dict(BYTES_PER_SECOND)
        self._questions_left = MAX_QUESTIONS_PER_SECOND
        self._answer_bytes_left = MAX_ROUND_BYTES // (len(self._census) + 1)
        if not self._broker.is_connected:
            return
        connections = sum(self._broker.reconnects.values())
        if connections != self._connections:
            self._connections = connections
            self._census.connected(now)
            self._beat(is_new=True)
        self._census.forget(now)

    def _beat(self, *, is_new: bool = False) -> None:
        self._send("beat", beat_body(self.myself, is_new=is_new))
        self._census.beaten(asyncio.get_running_loop().time())
        self._schedule_beat()

    def _schedule_beat(self) -> None:
        if self._beat_timer is not None:
            self._beat_timer.cancel()
        self._beat_timer = asyncio.get_running_loop().call_at(self._census.due, self._beat)


async def _answered(handler: Handler, question: Question, reply: Callable[[bytes], None]) -> None:
    try:
        body = await handler(question)
    except Exception:  # whatever is wrong with it, the process that asked does not wait for it
        logger.exception("a question of the fleet could not be answered")
        body = None
    reply(NO_ANSWER if body is None else body)


def _place(mark: str, id_: str) -> tuple[int, str]:
    return crc32(f"{mark}{id_}".encode()), id_
