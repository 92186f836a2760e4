"""One process among all that share its Redis and prefix: it hears them, answers them, and asks them.

    router ── what is published on $fleet ──► hear ──► census      who is there
                                                  ├──► respondent  answers for this process
    broker ◄── beats, questions, answers ◄────────┴──► inquirer    what was asked, and the answers to it

Rules:

1. Nothing is done inside the dispatch of a batch: what was heard is handled in a later turn of the loop.
2. Nothing of it is the feed's: it is not counted with its messages, nor held while Redis is away.
3. Whatever is published on the reserved channel costs a bounded amount of work and memory.
4. The timers are this object's, and end with close().
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Coroutine, Sequence
from random import Random
from typing import Any, TypeVar
from uuid import uuid4

from mux.broker.broker import Broker
from mux.errors import ServerLeaving, TooManyInquiries
from mux.fleet.census import MAX_PROCESSES, Census, Member
from mux.fleet.inquiry import Inquirer
from mux.fleet.messages import (
    CHANNEL,
    MAX_NAME_LENGTH,
    MAX_NAMES,
    Answer,
    Ask,
    Beat,
    Body,
    Bye,
    Message,
    Process,
    Sort,
    Stats,
    Top,
    decode,
    encode,
    is_for,
)
from mux.fleet.pulse import Pulse
from mux.fleet.ranking import SHALLOW_NAMES, Place, encode_place, page
from mux.fleet.report import RATED, Report, read_report, report, total
from mux.fleet.respondent import Respondent
from mux.fleet.search import Search
from mux.fleet.tally import Tally
from mux.hub.hub import Hub
from mux.metrics.memory import resident_bytes
from mux.metrics.observer import Observer
from mux.version import __version__
from mux.wire.channel import Namespace
from mux.wire.publication import Publication

ANSWER_SECONDS = 0.5
"""How long answers are waited for at most."""

MAX_INQUIRIES = 16
"""Different ones at once; equal ones share theirs."""

MAX_ANSWERS_PER_SECOND = 200
"""Given to others; a process that is asked more often is taken for missing. Forty terminals look once a second."""

TICK_SECONDS = 1.0

T = TypeVar("T")


class Fleet:
    """All processes, as this one knows them.

    Args:
        hub: the clients of this process.
        observer: its numbers.
        namespace: where the fleet's channels are.
        gives_names: whether other processes may know how its channels are called.
    """

    def __init__(self, hub: Hub, observer: Observer, namespace: Namespace, *, gives_names: bool) -> None:
        self._hub = hub
        self._observer = observer
        self._redis_channel = namespace.redis_channel(CHANNEL)
        self._broker: Broker
        self._myself: Process
        self._census: Census
        self._inquirer: Inquirer
        self._search: Search
        self._pulse = Pulse()
        self._tally = Tally(hub.router.__contains__)
        self._respondent = Respondent(
            hub.router,
            self._tally,
            look=self._look,
            stats=self._own_report,
            prefix=namespace.redis_channel(b""),
            gives_names=gives_names,
            processes=lambda: len(self._census) + 1,
        )
        self._inquiries: dict[object, asyncio.Task[Any]] = {}
        self._answers_left = MAX_ANSWERS_PER_SECOND
        self._connections = -1
        self._since = 0.0
        self._is_open = False
        self._timer: asyncio.TimerHandle | None = None
        self._beat_timer: asyncio.TimerHandle | None = None
        hub.router.listen(self._redis_channel, self._heard)

    def start(self, broker: Broker) -> None:
        """Take part from now on. The broker has been started, connected or not."""
        self._broker = broker
        # Not before: an app may be made in one process and served in its children.
        self._myself = Process(uuid4().hex, socket.gethostname()[:MAX_NAME_LENGTH], os.getpid())
        self._census = Census(self._myself, Random())  # noqa: S311 - nothing is kept secret by it
        self._inquirer = Inquirer(
            self._myself, self._census, self._respondent, say=self._ask_all, max_processes=MAX_PROCESSES
        )
        self._search = Search(self._inquirer, self._census, ANSWER_SECONDS)
        self._since = asyncio.get_running_loop().time()
        self._is_open = True
        self._tick()

    async def aclose(self) -> None:
        """Finish what was asked, within half a second, say goodbye, and end; before the broker is closed."""
        if not self._is_open:
            return
        await asyncio.gather(*self._inquiries.values(), return_exceptions=True)
        self._is_open = False
        self._say(Bye(self._myself))
        for timer in (self._timer, self._beat_timer):
            if timer is not None:
                timer.cancel()
        self._observer.look(None)
        self._respondent.close()

    async def stats(self) -> Report:
        """Return the numbers of every process, their sum, and who did not answer; takes half a second at most.

        Raises:
            TooManyInquiries: too many are going on.
        """
        return await self._share(Stats(), self._stats())

    async def channels(self, *, prefix: str, sort: Sort, limit: int, after: Place | None) -> Report:
        """Return a page of the channels of all processes, and who did not answer; takes half a second at most.

        Raises:
            InvalidQuery: the page is too deep.
            TooManyInquiries: too many inquiries are going on.
        """
        depth = limit + (0 if after is None else after.seen)
        top = Top(prefix, sort, SHALLOW_NAMES if depth <= SHALLOW_NAMES // 2 else MAX_NAMES)
        found = await self._share(top, self._search.find(top))
        rows, place = page(found.rows, sort=sort, limit=limit, after=after, is_all=found.is_all)
        return {
            "channels": [
                {"name": name, "subscribers": subscribers, "messages_per_second": rate}
                for name, subscribers, rate in rows
            ],
            "after": None if place is None else encode_place(place),
            "missing": self._missing(found.present),
        }

    async def _share(self, key: object, inquiry: Coroutine[Any, Any, T]) -> T:
        """Return what an inquiry finds, or an equal one that is going on.

        Raises:
            ServerLeaving: after aclose().
            TooManyInquiries: too many are going on.
        """
        task = self._inquiries.get(key)
        if task is not None:
            inquiry.close()
        elif not self._is_open:
            inquiry.close()
            raise ServerLeaving("the server is going away")
        elif len(self._inquiries) >= MAX_INQUIRIES:
            inquiry.close()
            raise TooManyInquiries("too much is being asked at the same time; try again")
        else:
            task = self._inquiries[key] = asyncio.create_task(inquiry, name="mux-inquiry")
            task.add_done_callback(lambda _: self._inquiries.pop(key))
        # Who asked may go away; others wait for the same.
        found: T = await asyncio.shield(task)
        return found

    async def _stats(self) -> Report:
        answers = await self._inquirer.ask(Stats(), ANSWER_SECONDS)
        found: list[Report] = []
        for process, body in sorted(answers.values(), key=lambda answer: _order(answer[0])):
            numbers = read_report(body)
            if numbers is not None:
                found.append({"id": process.id, "host": process.host, "pid": process.pid, **numbers})
        return {"processes": found, "total": total(found), "missing": self._missing({str(one["id"]) for one in found})}

    def _missing(self, present: set[str]) -> list[Report]:
        now = asyncio.get_running_loop().time()
        absent = [member for member in self._census.members if member.process.id not in present]
        missing = [_silence(member, now) for member in sorted(absent, key=lambda member: _order(member.process))]
        if self._myself.id not in present:
            me = self._myself
            missing.append({"id": me.id, "host": me.host, "pid": me.pid, "silent_seconds": 0.0})
        return missing

    # What follows hears and speaks.

    def _heard(self, publications: Sequence[Publication]) -> None:
        if self._is_open:
            asyncio.get_running_loop().call_soon(self._handle_all, publications)

    def _handle_all(self, publications: Sequence[Publication]) -> None:
        for payload, _ in publications:
            if self._is_open and is_for(payload, self._myself.id):
                message = decode(payload)
                if message is not None and message.sender.id != self._myself.id:
                    self._handle(message, len(payload))

    def _handle(self, message: Message, size: int) -> None:
        now = asyncio.get_running_loop().time()
        sender = message.sender
        if isinstance(message, Bye):
            self._census.left(sender)
        elif isinstance(message, Beat) and message.is_new:
            self._census.welcome(sender, now)
            self._schedule_beat()
        else:
            self._census.heard(sender, now)
        if isinstance(message, Answer):
            self._inquirer.take(message, size)
        elif isinstance(message, Ask) and self._answers_left:
            self._answers_left -= 1
            asked = message
            self._respondent.respond(asked.question, lambda body: self._answer(asked, body))

    def _answer(self, ask: Ask, body: Body | None) -> None:
        self._say(Answer(self._myself, ask.round, body), ask.sender.id)

    def _ask_all(self, ask: Ask) -> bool:
        if not self._broker.is_connected:
            return False
        self._say(ask)
        return True

    def _say(self, message: Message, to: str = "*") -> None:
        self._broker.send_aside(self._redis_channel, encode(message, to))

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._timer = loop.call_later(TICK_SECONDS, self._tick)
        self._answers_left = MAX_ANSWERS_PER_SECOND
        self._pulse.sample(now, *self._counters())
        if self._tally.is_wanted(now):
            self._tally.tick(now)
        else:
            self._tally.clear()
            self._observer.look(None)
        if not self._broker.is_connected:
            return
        connections = sum(self._broker.reconnects.values())
        if connections != self._connections:
            self._connections = connections
            self._census.connected(now)
            self._beat(is_new=True)
        self._census.forget(now)

    def _beat(self, *, is_new: bool = False) -> None:
        self._say(Beat(self._myself, is_new))
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
            self._observer.look(self._tally.count)
        self._tally.extend(now)

    def _counters(self) -> tuple[int, ...]:
        router = self._hub.router
        numbers = {
            "received": router.received,
            "unheard": router.unheard,
            "delivered": router.delivered,
            "published": self._broker.published,
        }
        return tuple(numbers[name] for name in RATED)

    def _own_report(self) -> Report:
        now = asyncio.get_running_loop().time()
        return report(
            self._observer.own_snapshot(),
            version=__version__,
            uptime=now - self._since,
            per_second=self._pulse.per_second(now, *self._counters()),
            lag=self._observer.longest_lag_seconds,
            memory=resident_bytes(),
        )


def _order(process: Process) -> tuple[str, int, str]:
    return process.host, process.pid, process.id


def _silence(member: Member, now: float) -> Report:
    process = member.process
    silent = round(max(0.0, now - member.heard), 3)
    return {"id": process.id, "host": process.host, "pid": process.pid, "silent_seconds": silent}
