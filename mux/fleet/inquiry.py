"""Ask all processes, and wait for all who are known to answer, or until the time is up.

The one who asks answers itself without Redis. While Redis is away nobody else is asked: what this process knows is
told at once, and all others are missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from mux.fleet.census import Census
from mux.fleet.messages import Answer, Ask, Body, Process, Question
from mux.fleet.respondent import MAX_ROUND_BYTES, Respondent

MAX_ANSWERS_BYTES = 2 * MAX_ROUND_BYTES
"""Of answers to one question, what is kept; what comes after that is forged, or of a fleet that grows just now."""


@dataclass(slots=True, eq=False)
class _Round:
    """One question that is out."""

    expected: set[str]
    done: asyncio.Future[None]
    bodies: dict[str, tuple[Process, Body]] = field(default_factory=dict)
    limit: int = 0
    room: int = MAX_ANSWERS_BYTES

    def take(self, process: Process, body: Body | None, size: int) -> None:
        """Take an answer while there is room; of those nobody expected, no more than there may be processes."""
        is_welcome = process.id in self.expected or len(self.bodies) < self.limit
        if body is not None and is_welcome and size <= self.room and process.id not in self.bodies:
            self.room -= size
            self.bodies[process.id] = (process, body)
        self.expected.discard(process.id)
        if not self.expected and not self.done.done():
            self.done.set_result(None)


class Inquirer:
    """Asks, and collects answers.

    Args:
        myself: who asks.
        census: who is known.
        respondent: answers for this process.
        say: publishes a message to all; returns False when there is no connection.
        max_processes: how many answers are taken.
    """

    def __init__(
        self,
        myself: Process,
        census: Census,
        respondent: Respondent,
        *,
        say: Callable[[Ask], bool],
        max_processes: int,
    ) -> None:
        self._myself = myself
        self._census = census
        self._respondent = respondent
        self._say = say
        self._max_processes = max_processes
        self._rounds: dict[int, _Round] = {}
        self._last_round = 0

    async def ask(
        self, question: Question, seconds: float, among: set[str] | None = None
    ) -> dict[str, tuple[Process, Body]]:
        """Return the answers by process, this one's included.

        Args:
            question: what to ask.
            seconds: how long to wait at most.
            among: the ids of those to wait for, this one included; None waits for all who are known.
        """
        others = {member.process.id for member in self._census.members}
        me = self._myself.id
        self._last_round = number = self._last_round + 1
        round_ = _Round(
            expected=({me} | others) & among if among is not None else {me} | others,
            done=asyncio.get_running_loop().create_future(),
            limit=self._max_processes,
        )
        self._rounds[number] = round_
        try:
            if not self._say(Ask(self._myself, number, question)):
                round_.expected -= others
            self._respondent.respond(question, lambda body: round_.take(self._myself, body, 0))
            await asyncio.wait((round_.done,), timeout=seconds)
        finally:
            del self._rounds[number]
            round_.done.cancel()
        return round_.bodies

    def take(self, answer: Answer, size: int) -> None:
        """Take an answer of so many bytes from another process; a late one, or an unasked one, is dropped."""
        round_ = self._rounds.get(answer.round)
        if round_ is not None and answer.sender.id != self._myself.id:
            round_.take(answer.sender, answer.body, size)
