"""Collect the answers to one question.

Each process has one answer. A process that is not known yet may answer as well: all such strangers share a bound, for
anybody can forge them. Answers are kept as bytes, and a bounded number of bytes is kept.
"""

from __future__ import annotations

import asyncio

from mux.fleet.messages import NO_ANSWER

MAX_ROUND_BYTES = 4 * 1024 * 1024
"""Most bytes of all answers to one question. Redis closes a subscriber that has more than 32 MiB waiting."""

MAX_KEPT_BYTES = 2 * MAX_ROUND_BYTES
"""Most bytes of answers to one question that are kept; a fleet that grows meanwhile stays below it."""

MAX_STRANGERS_BYTES = MAX_ROUND_BYTES // 4
"""Most bytes of answers that are kept of processes that are not known."""

MAX_STRANGERS = 256
"""Most answers that are kept of processes that are not known."""


class Round:
    """One question that waits for its answers.

    Args:
        expected: the ids of the processes that are known; the round is over when all of them have answered.
    """

    def __init__(self, expected: set[str]) -> None:
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.answers: dict[str, bytes] = {}
        """The answers, by the id of the process; NO_ANSWER is left out."""
        self._expected = expected
        self._answered: set[str] = set()
        self._bytes_left = MAX_KEPT_BYTES
        self._strangers_left = MAX_STRANGERS
        self._strangers_bytes_left = MAX_STRANGERS_BYTES

    def take(self, sender: str, body: bytes) -> None:
        """Take the answer of a process, its first, while there is room for it."""
        if sender in self._answered:
            return
        if sender in self._expected:
            self._expected.discard(sender)
            self._answered.add(sender)
            if body != NO_ANSWER and len(body) <= self._bytes_left:
                self._bytes_left -= len(body)
                self.answers[sender] = body
        elif self._strangers_left and len(body) <= self._strangers_bytes_left:
            self._answered.add(sender)
            self._strangers_left -= 1
            self._strangers_bytes_left -= len(body)
            self.answers[sender] = body
        if not self._expected and not self.over.done():
            self.over.set_result(None)
