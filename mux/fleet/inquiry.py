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
from mux.fleet.respondent import Respondent


@dataclass(slots=True, eq=False)
class _Round:
    """One question that is out."""

    expected: set[str]
    done: asyncio.Future[None]
    bodies: dict[str, tuple[Process, Body]] = field(default_factory=dict)
    limit: int = 0

    def take(self, process: Process, body: Body | None) -> None:
        """Take an answer; of those nobody expected, no more than there may be processes."""
        if body is not None and (process.id in self.expected or len(self.bodies) < self.limit):
            self.bodies.setdefault(process.id, (process, body))
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
            self._respondent.respond(question, lambda body: round_.take(self._myself, body))
            await asyncio.wait((round_.done,), timeout=seconds)
        finally:
            del self._rounds[number]
            round_.done.cancel()
        return round_.bodies

    def take(self, answer: Answer) -> None:
        """Take an answer from another process; one that comes late, or that nobody asked for, is dropped."""
        round_ = self._rounds.get(answer.round)
        if round_ is not None and answer.sender.id != self._myself.id:
            round_.take(answer.sender, answer.body)
