"""What one process answers when it is asked.

Numbers are answered at once. Channels are looked for a slice at a time, in turns of the event loop, and what was
found is given to all who ask the same meanwhile, and to those who ask soon after: a question takes a tenth of the
process' time at most, however often it is asked.

Every answer is bounded, and the bound shrinks as the fleet grows, for all processes hear all answers.

What is begun here is a callback at a time, and ends with close().
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import TypeAlias

from mux.fleet.messages import MAX_BYTES, Body, Count, Question, Stats, Top
from mux.fleet.ranking import BYTES_PER_ROW
from mux.fleet.report import Report
from mux.fleet.scan import Scan
from mux.fleet.tally import Tally
from mux.hub.router import Router

MAX_ANSWER_BYTES = MAX_BYTES // 2
MAX_ROUND_BYTES = 4 * 1024 * 1024
"""All answers to one question together. Redis closes a subscriber that has more than 32 MiB waiting."""

MAX_SCANS = 4
"""Different searches at once; one more is not answered."""

REST = 9
"""What was found is good for so many times as long as it took to find."""

Reply: TypeAlias = Callable[[Body | None], None]
"""Takes the answer; None when there will be none."""


def max_answer_bytes(processes: int) -> int:
    """Return how long an answer may be in a fleet of so many processes."""
    return min(MAX_ANSWER_BYTES, MAX_ROUND_BYTES // max(1, processes))


class Respondent:
    """Knows what one process has.

    Args:
        router: its channels.
        tally: how busy they are.
        look: called when the tally is to be shown messages from now on.
        stats: returns the numbers of the process.
        prefix: what all its channels begin with in Redis.
        gives_names: False when it may not say how its channels are called.
        processes: returns how large the fleet is.
    """

    def __init__(
        self,
        router: Router,
        tally: Tally,
        *,
        look: Callable[[], None],
        stats: Callable[[], Report],
        prefix: bytes,
        gives_names: bool,
        processes: Callable[[], int],
    ) -> None:
        self._router = router
        self._tally = tally
        self._look = look
        self._stats = stats
        self._prefix = prefix
        self._gives_names = gives_names
        self._processes = processes
        self._searches: dict[Top, list[Reply]] = {}
        self._found: dict[Top, tuple[float, Body]] = {}
        self._handles: dict[Top, asyncio.Handle] = {}

    def respond(self, question: Question, reply: Reply) -> None:
        """Answer a question, now or in some turns of the loop."""
        if isinstance(question, Stats):
            reply(self._stats())
        elif not self._gives_names:
            reply(None)
        elif isinstance(question, Count):
            names = [self._prefix + name.encode() for name in question.names]
            reply(self._rows([name for name in names if name in self._router], is_complete=True))
        else:
            self._search(question, reply)

    def close(self) -> None:
        """Stop searching."""
        for handle in self._handles.values():
            handle.cancel()
        self._handles.clear()
        self._searches.clear()

    def _search(self, question: Top, reply: Reply) -> None:
        loop = asyncio.get_running_loop()
        self._look()
        waiting = self._searches.get(question)
        good_until, body = self._found.get(question, (0.0, None))
        if waiting is not None:
            waiting.append(reply)
        elif body is not None and loop.time() < good_until:
            reply(body)
        elif len(self._searches) >= MAX_SCANS:
            reply(None)
        else:
            self._searches[question] = [reply]
            # By rate, nothing can be sorted until there are rates; else both are found at the same time.
            wait = self._tally.ready_in(loop.time()) if question.sort == "rate" else 0.0
            self._handles[question] = loop.call_later(wait, self._begin, question)

    def _begin(self, question: Top) -> None:
        rates = self._tally.rates(asyncio.get_running_loop().time()) if question.sort == "rate" else None
        prefix = self._prefix + question.prefix.encode()
        scan = Scan(self._router, prefix=prefix, count=question.count, rates=rates)
        self._step(question, scan, 0.0)

    def _step(self, question: Top, scan: Scan, spent: float) -> None:
        loop = asyncio.get_running_loop()
        began = perf_counter()
        more = scan.step()
        spent += perf_counter() - began
        if more:
            self._handles[question] = loop.call_soon(self._step, question, scan, spent)
        else:
            wait = self._tally.ready_in(loop.time())
            self._handles[question] = loop.call_later(wait, self._finish, question, scan, spent)

    def _finish(self, question: Top, scan: Scan, spent: float) -> None:
        del self._handles[question]
        began = perf_counter()
        # Looked up now: who has left while we searched has no subscribers.
        body = self._rows([name for name in scan.result() if name in self._router], is_complete=scan.is_complete)
        spent += perf_counter() - began
        now = asyncio.get_running_loop().time()
        self._found = {kept: found for kept, found in self._found.items() if found[0] > now}
        if len(self._found) < MAX_SCANS:
            self._found[question] = (now + REST * spent, body)
        for reply in self._searches.pop(question):
            reply(body)

    def _rows(self, names: list[bytes], *, is_complete: bool) -> Body:
        self._look()
        router, rate, now = self._router, self._tally.rate, asyncio.get_running_loop().time()
        room = max_answer_bytes(self._processes())
        rows: list[tuple[str, int, float]] = []
        for name in names:
            room -= len(name) + BYTES_PER_ROW
            if room < 0:
                return {"channels": rows, "complete": False}
            text = name[len(self._prefix) :].decode("ascii", "replace")
            rows.append((text, len(router.subscribers(name)), round(rate(name, now), 3)))
        return {"channels": rows, "complete": is_complete}
