"""What one process answers when it is asked.

Numbers are answered at once, and remembered for a moment. Channels are looked for a slice at a time, in turns of the
event loop, one question after the other. What was found is given to all who ask the same meanwhile, and to those who
ask soon after. All questions together take about a tenth of the process' time: when they have taken more, a question
that needs a search is not answered, and its asker counts this process as missing.

Every answer is bounded, and the bound shrinks as the fleet grows, for all processes hear all answers.

What is begun here is one callback at a time, and ends with close().
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import TypeAlias

import orjson

from mux.fleet.messages import MAX_ANSWER_BYTES, Question, Row, Top
from mux.fleet.report import Report
from mux.fleet.scan import Scan
from mux.fleet.tally import Tally
from mux.hub.hub import Hub

MAX_ROUND_BYTES = 4 * 1024 * 1024
"""Most bytes of all answers to one question. Redis closes a subscriber that has more than 32 MiB waiting."""

MAX_SEARCHES = 4
"""Most searches that are going on or wait; one more is not answered."""

CACHE_FACTOR = 9
"""What a search has found is told again for this many times as long as it took, and counts against others so long."""

MAX_DEBT_SECONDS = 1.0
"""No search is begun while those before it still count for more than this many seconds (CACHE_FACTOR)."""

STATS_SECONDS = 0.005
"""The numbers of the process are told again for so long: questions that come together have one answer."""

BYTES_PER_ROW = 40
"""Most JSON of a channel beside its name."""

Reply: TypeAlias = Callable[[bytes], None]
"""Takes the answer as JSON; NO_ANSWER when there will be none."""

NO_ANSWER = b"null"


def max_answer_bytes(processes: int) -> int:
    """Return how long an answer may be in a fleet of so many processes."""
    return min(MAX_ANSWER_BYTES, MAX_ROUND_BYTES // max(1, processes))


class Respondent:
    """Knows what one process has.

    Args:
        hub: its clients and their channels.
        tally: how busy these are.
        look: called when the tally is to be shown messages from now on.
        stats: returns the numbers of the process.
        prefix: what all its channels begin with in Redis.
        gives_names: False when it may not say how its channels are called.
        processes: returns how large the fleet is.
    """

    def __init__(
        self,
        hub: Hub,
        tally: Tally,
        *,
        look: Callable[[], None],
        stats: Callable[[], Report],
        prefix: bytes,
        gives_names: bool,
        processes: Callable[[], int],
    ) -> None:
        self._hub = hub
        self._tally = tally
        self._look = look
        self._stats = stats
        self._prefix = prefix
        self._gives_names = gives_names
        self._processes = processes
        self._searches: dict[Top, list[Reply]] = {}
        self._found: dict[Top, tuple[float, bytes]] = {}
        self._report: tuple[float, bytes] = (float("-inf"), b"")
        self._handle: asyncio.Handle | None = None
        self._indebted_until = 0.0

    def respond(self, question: Question, reply: Reply) -> None:
        """Answer a question, now or in some turns of the loop."""
        if isinstance(question, Top):
            if self._gives_names:
                self._search(question, reply)
            else:
                reply(NO_ANSWER)
            return
        now = asyncio.get_running_loop().time()
        if now >= self._report[0]:
            self._report = now + STATS_SECONDS, orjson.dumps(self._stats())
        reply(self._report[1])

    def close(self) -> None:
        """Stop searching."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._searches.clear()

    def _search(self, question: Top, reply: Reply) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._look()
        waiting = self._searches.get(question)
        good_until, body = self._found.get(question, (0.0, b""))
        if waiting is not None:
            waiting.append(reply)
        elif now < good_until:
            reply(body)
        elif len(self._searches) >= MAX_SEARCHES or self._indebted_until - now > MAX_DEBT_SECONDS:
            reply(NO_ANSWER)
        else:
            self._searches[question] = [reply]
            if self._handle is None:
                self._handle = loop.call_later(self._tally.ready_in(now), self._begin)

    def _begin(self) -> None:
        question = next(iter(self._searches))
        scan = Scan(
            self._hub.router,
            self._hub.spoke,
            prefix=self._prefix + question.prefix.encode(),
            count=question.count,
            rates=self._tally.rates(asyncio.get_running_loop().time()) if question.sort == "rate" else None,
        )
        self._step(question, scan, 0.0)

    def _step(self, question: Top, scan: Scan, spent: float) -> None:
        began = perf_counter()
        has_more = scan.step()
        spent += perf_counter() - began
        step = self._step if has_more else self._finish
        self._handle = asyncio.get_running_loop().call_soon(step, question, scan, spent)

    def _finish(self, question: Top, scan: Scan, spent: float) -> None:
        loop = asyncio.get_running_loop()
        began = perf_counter()
        body = self._listing(scan)
        spent += perf_counter() - began
        now = loop.time()
        self._found = {kept: found for kept, found in self._found.items() if found[0] > now}
        self._found[question] = (now + CACHE_FACTOR * spent, body)
        self._indebted_until = max(now, self._indebted_until) + CACHE_FACTOR * spent
        replies = self._searches.pop(question)
        self._handle = loop.call_soon(self._begin) if self._searches else None
        for reply in replies:
            reply(body)

    def _listing(self, scan: Scan) -> bytes:
        self._look()
        rates = self._tally.rates(asyncio.get_running_loop().time())
        names, is_complete = scan.result(), scan.is_complete
        room = max_answer_bytes(self._processes())
        rows: list[Row] = []
        for name in names:
            # Looked up now: a channel that everybody left while we searched has no subscribers.
            subscribers = self._hub.router.count(name)
            room -= len(name) + BYTES_PER_ROW
            if room < 0:
                is_complete = False
                break
            if subscribers:
                text = name[len(self._prefix) :].decode("ascii", "replace")
                rows.append((text, subscribers, round(rates.get(name, 0.0), 3)))
        return orjson.dumps({"channels": rows, "complete": is_complete})
