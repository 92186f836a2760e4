"""A process among all that share its Redis and prefix: it hears the others, answers them, and asks them.

    router ── what is published on $fleet ──► hear ──► census      who is there
                                                  ├──► respondent  answers for this process
    broker ◄── beats, questions, answers ◄────────┴──► inquirer    what was asked, and the answers to it

Rules:

1. Inside the dispatch of a batch a message is looked at for its head and its length, and kept or dropped. It is decoded
   in a later turn of the loop, a bounded number of messages in each; answers are decoded in a thread.
2. These messages are not the feed's: they are not counted with its messages, nor held while Redis is away.
3. Anybody may publish on the reserved channel, and each message costs work and memory. So each kind of message has a
   budget in bytes a second, and so have the answers that this process gives.
4. A Fleet owns its timers, and ends them in aclose().
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from random import Random
from typing import Any, TypeVar
from uuid import uuid4

from mux import reasons
from mux.broker.broker import Broker
from mux.errors import Refused
from mux.fleet.census import Census, Member
from mux.fleet.inquiry import Inquirer
from mux.fleet.listing import Found, merged, names_to_ask_for
from mux.fleet.messages import (
    CHANNEL,
    MAX_LABEL_LENGTH,
    NOBODY,
    Kind,
    Message,
    Process,
    Question,
    Sort,
    Stats,
    Top,
    beat_body,
    question_body,
    read,
    read_beat,
    read_question,
    write,
)
from mux.fleet.report import Rates, Report, in_order, read_reports, report, total
from mux.fleet.respondent import MAX_ROUND_BYTES, Respondent
from mux.fleet.tally import Tally
from mux.hub.hub import Hub
from mux.intake import BatchIntake
from mux.machine import resident_bytes
from mux.metrics.observer import Observer
from mux.version import __version__
from mux.wire.channel import Namespace

ANSWER_SECONDS = 0.5
"""An inquiry waits no longer for answers."""

MAX_INQUIRIES = 16
"""Most different inquiries at the same time; equal ones share their answer."""

MAX_ANSWERS_PER_SECOND = 200
"""Most questions of others that are answered; a process that is asked more often is taken for missing. Forty terminals
ask once a second."""

BYTES_PER_SECOND: Mapping[Kind, int] = {"beat": 256 * 1024, "bye": 128 * 1024, "ask": 64 * 1024}
"""Most bytes of each kind of message that are decoded. A thousand processes that come at the same time say 140 kB."""

MESSAGES_PER_TURN = 100
"""Messages decoded in one turn of the loop, which takes less than a millisecond."""

TICK_SECONDS = 1.0

T = TypeVar("T")


class Fleet:
    """All processes, as this one knows them.

    Args:
        hub: the clients of this process.
        observer: its numbers.
        intake: shows the batches from Redis while messages are counted by channel.
        namespace: where the fleet's channels are.
        gives_names: whether other processes may know the names of its channels.
    """

    def __init__(
        self, hub: Hub, observer: Observer, intake: BatchIntake, namespace: Namespace, *, gives_names: bool
    ) -> None:
        self._hub = hub
        self._observer = observer
        self._intake = intake
        self._redis_channel = namespace.redis_channel(CHANNEL)
        self._broker: Broker
        self._myself: Process
        self._census: Census
        self._inquirer: Inquirer
        self._rates = Rates()
        self._tally = Tally(hub.router.__contains__)
        self._respondent = Respondent(
            hub,
            self._tally,
            look=self._look,
            stats=self._own_report,
            prefix=namespace.redis_channel(b""),
            gives_names=gives_names,
            processes=lambda: len(self._census) + 1,
        )
        self._inquiries: dict[object, asyncio.Task[Any]] = {}
        self._inbox: deque[Message] = deque()
        self._reading: asyncio.Handle | None = None
        self._bytes_left = dict(BYTES_PER_SECOND)
        self._answers_left = MAX_ANSWERS_PER_SECOND
        self._answer_bytes_left = MAX_ROUND_BYTES
        self._connections = -1
        self._since = 0.0
        self._is_open = False
        self._timer: asyncio.TimerHandle | None = None
        self._beat_timer: asyncio.TimerHandle | None = None
        hub.router.listen(self._redis_channel, self._heard)

    def start(self, broker: Broker) -> None:
        """Begin to hear and answer other processes. The broker has been started, connected or not."""
        self._broker = broker
        # Not before: an app may be made in one process and served in its children.
        self._myself = Process(uuid4().hex, socket.gethostname()[:MAX_LABEL_LENGTH], os.getpid())
        self._census = Census(self._myself, Random())  # noqa: S311 - nothing is kept secret by it
        self._inquirer = Inquirer(self._myself, self._census, self._respondent, say=self._ask_all)
        self._since = asyncio.get_running_loop().time()
        self._is_open = True
        self._tick()

    async def aclose(self) -> None:
        """Finish what was asked, within half a second, say goodbye, and end; before the broker is closed."""
        if not self._is_open:
            return
        await asyncio.gather(*self._inquiries.values(), return_exceptions=True)
        self._is_open = False
        self._say("bye")
        for handle in (self._timer, self._beat_timer, self._reading):
            if handle is not None:
                handle.cancel()
        self._inbox.clear()
        self._intake.after_batch = None
        self._respondent.close()

    async def stats(self) -> Report:
        """Return the numbers of every process, their sum, and who did not answer; takes half a second at most.

        Raises:
            Refused: too many are going on.
        """
        return await self._share(Stats(), self._stats)

    async def channels(self, *, prefix: str, sort: Sort, limit: int) -> Report:
        """Return the first channels of all processes, and who did not answer; takes half a second at most.

        Raises:
            Refused: too many inquiries are going on.
        """
        top = Top(prefix, sort, names_to_ask_for(limit))
        found = await self._share(top, partial(self._channels, top))
        missing = self._missing(found.present)
        return {
            "channels": [
                {"name": name, "subscribers": subscribers, "messages_per_second": rate}
                for name, subscribers, rate in found.rows[:limit]
            ],
            "complete": found.is_complete and len(found.rows) <= limit and not missing,
            "missing": missing,
        }

    async def _share(self, key: object, inquire: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return what an inquiry finds, or an equal one that is going on.

        Raises:
            Refused: too many are going on, or this is after aclose().
        """
        task = self._inquiries.get(key)
        if task is None:
            if not self._is_open:
                raise Refused(reasons.LEAVING)
            if len(self._inquiries) >= MAX_INQUIRIES:
                raise Refused(reasons.INQUIRIES, "too much is being asked at the same time; try again")
            task = self._inquiries[key] = asyncio.create_task(inquire(), name="mux-inquiry")
            task.add_done_callback(lambda _: self._inquiries.pop(key))
        # Who asked may go away; others wait for the same.
        found: T = await asyncio.shield(task)
        return found

    async def _channels(self, top: Top) -> Found:
        answers = await self._inquirer.ask(top, ANSWER_SECONDS)
        return await asyncio.to_thread(merged, answers, top)

    async def _stats(self) -> Report:
        answers = await self._inquirer.ask(Stats(), ANSWER_SECONDS)
        found = await asyncio.to_thread(read_reports, answers)
        now = asyncio.get_running_loop().time()
        for process, _ in found:
            self._census.heard(process, now)
        reports: list[Report] = [
            {"id": process.id, "host": process.host, "pid": process.pid, **numbers} for process, numbers in found
        ]
        missing = self._missing({process.id for process, _ in found})
        return {"processes": reports, "total": total(reports), "missing": missing}

    def _missing(self, present: set[str]) -> list[Report]:
        now = asyncio.get_running_loop().time()
        absent = [member for member in self._census.members if member.process.id not in present]
        absent.sort(key=lambda member: in_order(member.process))
        if self._myself.id not in present:
            absent.append(Member(self._myself, now))
        return [_silence(member, now) for member in absent]

    # What follows hears and speaks.

    def _heard(self, payload: bytes, number: int) -> None:
        if not self._is_open:
            return
        message = read(payload, self._myself.id, self._inquirer.rounds)
        if message is None:
            return
        if message.kind == "answer":
            self._census.heard_again(message.sender, asyncio.get_running_loop().time())
            self._inquirer.take(message.round, message.sender, message.body)
        elif self._may_be_read(message.kind, len(payload)):
            self._inbox.append(message)
        if self._inbox and self._reading is None:
            self._reading = asyncio.get_running_loop().call_soon(self._read)

    def _may_be_read(self, kind: Kind, size: int) -> bool:
        """Take a message from the budget of its kind; return False when that is used up."""
        if size > self._bytes_left[kind] or (kind == "ask" and not self._answers_left):
            return False
        self._bytes_left[kind] -= size
        self._answers_left -= kind == "ask"
        return True

    def _read(self) -> None:
        for _ in range(min(len(self._inbox), MESSAGES_PER_TURN)):
            self._handle(self._inbox.popleft())
        self._reading = asyncio.get_running_loop().call_soon(self._read) if self._inbox else None

    def _handle(self, message: Message) -> None:
        now = asyncio.get_running_loop().time()
        if message.kind == "bye":
            self._census.left(message.sender)
        elif message.kind == "beat":
            beat = read_beat(message)
            if beat is not None and beat[1]:
                self._census.welcome(beat[0], now)
                self._schedule_beat()
            elif beat is not None:
                self._census.heard(beat[0], now)
        else:
            self._census.heard_again(message.sender, now)
            question = read_question(message.body)
            if question is not None:
                self._respondent.respond(question, lambda body: self._answer(message, body))

    def _answer(self, ask: Message, body: bytes) -> None:
        if len(body) <= self._answer_bytes_left:
            self._answer_bytes_left -= len(body)
            self._say("answer", body, to=ask.sender, round_=ask.round)

    def _ask_all(self, round_: str, question: Question) -> bool:
        if not self._broker.is_connected:
            return False
        self._say("ask", question_body(question), round_=round_)
        return True

    def _say(self, kind: Kind, body: bytes = b"", *, to: str = "*", round_: str = NOBODY) -> None:
        self._broker.outbox.send_aside(self._redis_channel, write(kind, self._myself.id, body, to=to, round_=round_))

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._timer = loop.call_later(TICK_SECONDS, self._tick)
        self._bytes_left = dict(BYTES_PER_SECOND)
        self._answers_left = MAX_ANSWERS_PER_SECOND
        # The answers of all processes go through one Redis and to every process.
        self._answer_bytes_left = MAX_ROUND_BYTES // (len(self._census) + 1)
        self._rates.sample(now, self._counters())
        if self._tally.is_wanted(now):
            self._tally.tick(now)
        else:
            self._tally.clear()
            self._intake.after_batch = None
        if not self._broker.is_connected:
            return
        connections = sum(self._broker.reconnects.values())
        if connections != self._connections:
            self._connections = connections
            self._census.connected(now)
            self._beat(is_new=True)
        self._census.forget(now)

    def _beat(self, *, is_new: bool = False) -> None:
        self._say("beat", beat_body(self._myself, is_new=is_new))
        self._census.beaten(asyncio.get_running_loop().time())
        self._schedule_beat()

    def _schedule_beat(self) -> None:
        due = self._census.due
        if self._beat_timer is not None:
            self._beat_timer.cancel()
        self._beat_timer = asyncio.get_running_loop().call_at(due, self._beat)

    def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        if not self._tally.is_wanted(now):
            self._intake.after_batch = self._tally.count
        self._tally.extend(now)

    def _counters(self) -> dict[str, int]:
        router = self._hub.router
        return {
            "received": router.received,
            "unheard": router.unheard,
            "delivered": router.delivered,
            "published": self._broker.outbox.published,
        }

    def _own_report(self) -> Report:
        now = asyncio.get_running_loop().time()
        identity: Report = {"host": self._myself.host, "pid": self._myself.pid}
        return identity | report(
            self._observer.own_snapshot(),
            version=__version__,
            uptime=now - self._since,
            per_second=self._rates.per_second(now, self._counters()),
            lag=self._observer.longest_lag_seconds,
            memory=resident_bytes(),
        )


def _silence(member: Member, now: float) -> Report:
    process = member.process
    silent = round(max(0.0, now - member.heard), 3)
    return {"id": process.id, "host": process.host, "pid": process.pid, "silent_seconds": silent}
