"""Ask all processes what an operator wants to know, and answer for this one.

    Fleet.ask("stats") ──► the numbers of every process ──► their sum                    GET /stats
    Fleet.ask("top")   ──► the first channels of every process ──► the first of all      GET /channels

Rules:

1. Numbers are answered at once. Channels are searched in slices, and searches take a tenth of the time of the process
   (fleet.searches): while they have taken more, this process is missing for whoever asks.
2. Equal inquiries of this process share their answer, and a bounded number goes on at the same time.
3. Nothing here holds the event loop for more than a few milliseconds, whatever other processes answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Coroutine
from dataclasses import asdict
from functools import partial
from typing import Any, TypeVar

import orjson

from mux import reasons
from mux.errors import Refused
from mux.fleet.fleet import Fleet, Question
from mux.fleet.messages import Identity, read_identity, read_object
from mux.fleet.searches import Searches
from mux.hub.hub import Hub
from mux.inspect.listing import MAX_NAMES, Listing, Row, Sort, Top, merged, read_top
from mux.inspect.report import Rates, Report, Total, read_report, report
from mux.inspect.search import Found, search
from mux.inspect.tally import Tally
from mux.intake import BatchIntake
from mux.machine import resident_bytes
from mux.metrics.observer import Observer
from mux.version import __version__

ANSWER_SECONDS = 0.5
"""Longest wait for the answers of other processes."""

MAX_INQUIRIES = 16
"""Most different inquiries at the same time."""

FEW_NAMES = 256
"""Fewest names that each process is asked for."""

MAX_SEARCHES = 4
"""Most searches that are going on or wait for their turn; a question that needs one more has no answer."""

BYTES_PER_ROW = 40
"""Most bytes of JSON for a channel beside its name."""

TICK_SECONDS = 1.0
"""Seconds between two samples of the counters."""

T = TypeVar("T")


class Inspector:
    """Answers of one process about the numbers and channels of all.

    Args:
        fleet: all processes.
        hub: the clients of this one.
        observer: its numbers.
        intake: shows its batches while messages are counted by channel.
        prefix: what all channels begin with in Redis.
        gives_names: whether other processes may know the names of its channels.
    """

    def __init__(
        self, fleet: Fleet, hub: Hub, observer: Observer, intake: BatchIntake, *, prefix: bytes, gives_names: bool
    ) -> None:
        self._fleet = fleet
        self._hub = hub
        self._observer = observer
        self._intake = intake
        self._prefix = prefix
        self._gives_names = gives_names
        self._rates = Rates()
        self._tally = Tally(hub.router.__contains__)
        self._inquiries: dict[object, asyncio.Task[Any]] = {}
        self._searches: Searches[bytes] = Searches(most=MAX_SEARCHES)
        self._since = 0.0
        self._is_open = False
        self._timer: asyncio.TimerHandle | None = None
        fleet.handle("stats", self._answer_stats)
        fleet.handle("top", self._answer_top)

    def start(self) -> None:
        """Begin to sample the counters; the fleet and the observer have been started."""
        self._since = asyncio.get_running_loop().time()
        self._is_open = True
        self._tick()

    async def aclose(self) -> None:
        """Finish the inquiries, within half a second, and end; before the fleet is closed."""
        self._is_open = False
        await asyncio.gather(*self._inquiries.values(), return_exceptions=True)
        await self._searches.aclose()
        self._intake.after_batch = None
        if self._timer is not None:
            self._timer.cancel()

    async def stats(self) -> Report:
        """Return the numbers of every process, their sum, and the processes that did not answer in half a second.

        Raises:
            Refused: too many inquiries are going on, or this is after aclose().
        """
        return await self._inquire("stats", self._ask_stats)

    async def channels(self, *, prefix: str, sort: Sort, limit: int) -> Report:
        """Return the first channels of all processes, and the processes that did not answer in half a second.

        Raises:
            Refused: too many inquiries are going on, or this is after aclose().
        """
        # Twice as many: then also a channel is summed right that is among the first of some processes only.
        top = Top(prefix, sort, max(FEW_NAMES, min(2 * limit, MAX_NAMES)))
        found = await self._inquire(top, lambda: self._ask_top(top))
        missing = self._missing(found.present)
        return {
            "channels": [
                {"name": name, "subscribers": subscribers, "messages_per_second": rate}
                for name, subscribers, rate in found.rows[:limit]
            ],
            "complete": found.is_complete and len(found.rows) <= limit and not missing,
            "missing": missing,
        }

    async def _inquire(self, key: object, begin: Callable[[], Coroutine[Any, Any, T]]) -> T:
        if key not in self._inquiries:
            if not self._is_open:
                raise Refused(reasons.LEAVING)
            if len(self._inquiries) >= MAX_INQUIRIES:
                raise Refused(reasons.INQUIRIES, "too much is being asked at the same time; try again")
            task = self._inquiries[key] = asyncio.create_task(begin(), name="mux-inspect")
            task.add_done_callback(lambda _: self._inquiries.pop(key))
        found: T = await asyncio.shield(self._inquiries[key])  # whoever asks may go away
        return found

    async def _ask_top(self, top: Top) -> Listing:
        return await merged(await self._fleet.ask("top", asdict(top), seconds=ANSWER_SECONDS), top)

    async def _ask_stats(self) -> Report:
        answers = await self._fleet.ask("stats", {}, seconds=ANSWER_SECONDS)
        total = Total()
        reports: dict[Identity, Report] = {}
        for id_, body in answers.items():
            fields = read_object(body)
            identity, numbers = read_identity(id_, fields), read_report(fields)
            if identity is not None and numbers is not None:
                reports[identity] = numbers
                total.add(numbers)
                self._fleet.meet(identity)
            await asyncio.sleep(0)
        return {
            "processes": [{**asdict(identity), **reports[identity]} for identity in sorted(reports)],
            "total": total.report(),
            "missing": self._missing({identity.id for identity in reports}),
        }

    def _missing(self, present: Container[str]) -> list[Report]:
        silent = self._fleet.silent(present)
        return [{**asdict(identity), "silent_seconds": round(seconds, 3)} for identity, seconds in silent]

    # Answers for this process.

    async def _answer_stats(self, question: Question) -> bytes:
        now = asyncio.get_running_loop().time()
        snapshot = self._observer.own_snapshot()
        numbers = report(
            snapshot,
            version=__version__,
            uptime=now - self._since,
            rates=self._rates.per_second(now, snapshot),
            lag=self._observer.longest_lag_seconds,
            memory=resident_bytes(),
        )
        return orjson.dumps({**asdict(self._fleet.myself), **numbers})

    async def _answer_top(self, question: Question) -> bytes | None:
        top = read_top(question)
        if top is None or not self._gives_names:
            return None
        self._count_messages(asyncio.get_running_loop().time())
        return await self._searches.find(top, partial(self._search, top))

    async def _search(self, top: Top) -> tuple[bytes, float]:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._tally.ready_in(loop.time()))
        found = await search(
            self._hub,
            prefix=self._prefix + top.prefix.encode(),
            count=top.count,
            rates=self._tally.rates(loop.time()) if top.sort == "rate" else None,
        )
        return self._listing(found), found.seconds

    def _listing(self, found: Found) -> bytes:
        now = asyncio.get_running_loop().time()
        self._count_messages(now)
        rates = self._tally.rates(now)
        is_complete = found.is_complete
        bytes_left = self._fleet.max_answer_bytes
        rows: list[Row] = []
        for name in found.names:
            # Asked again: a channel that everybody has left during the search has no subscribers.
            subscribers = self._hub.router.count(name)
            bytes_left -= len(name) + BYTES_PER_ROW
            if bytes_left < 0:
                is_complete = False
                break
            if subscribers:
                text = name[len(self._prefix) :].decode("ascii", "replace")
                rows.append((text, subscribers, round(rates.get(name, 0.0), 3)))
        return orjson.dumps({"channels": rows, "complete": is_complete})

    def _count_messages(self, now: float) -> None:
        self._tally.extend(now)
        self._intake.after_batch = self._tally.count

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._timer = loop.call_later(TICK_SECONDS, self._tick)
        self._rates.sample(now, self._observer.own_snapshot())
        if self._tally.is_wanted(now):
            self._tally.tick(now)
        else:
            self._tally.clear()
            self._intake.after_batch = None
