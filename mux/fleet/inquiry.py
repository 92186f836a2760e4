"""Ask all processes, and wait for all who are known to answer, or until the time is up.

The one who asks answers itself without Redis. While Redis is away nobody else is asked: what this process knows is
told at once, and all others are missing. From each process one answer is taken, also from one that is not known yet.
No answer is decoded here: it is bytes, of which a bounded number is kept, and strangers have a bound of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from random import SystemRandom

from mux.fleet.census import Census
from mux.fleet.messages import Process, Question
from mux.fleet.respondent import MAX_ROUND_BYTES, NO_ANSWER, Respondent

MAX_ANSWERS_BYTES = 2 * MAX_ROUND_BYTES
"""Most bytes of answers to one question that are kept; an honest fleet that grows just now stays below it."""

MAX_STRANGERS_BYTES = MAX_ROUND_BYTES // 4
"""Most bytes of answers that are kept of processes that are not known."""

MAX_STRANGERS = 256
"""Most answers that are kept of processes that are not known."""


@dataclass(slots=True, eq=False)
class _Round:
    """One question that waits for its answers."""

    expected: set[str]
    done: asyncio.Future[None]
    room: int
    strangers_room: int
    bodies: dict[str, bytes] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)
    """The ids of those that were expected and have answered."""

    def take(self, sender: str, body: bytes) -> None:
        """Take an answer from a process that has not answered yet, while there is room."""
        size = len(body)
        if sender in self.expected:
            self.expected.discard(sender)
            self.known.add(sender)
            if body != NO_ANSWER and size <= self.room:
                self.room -= size
                self.bodies[sender] = body
        elif (
            sender not in self.known
            and sender not in self.bodies
            and size <= self.strangers_room
            and len(self.bodies) - len(self.known) < MAX_STRANGERS
        ):
            self.strangers_room -= size
            self.bodies[sender] = body
        if not self.expected and not self.done.done():
            self.done.set_result(None)


class Inquirer:
    """Asks, and collects answers.

    Args:
        myself: the process that asks.
        census: the others.
        respondent: answers for this process.
        say: publishes a question of a round to all; returns False when there is no connection.
    """

    def __init__(
        self, myself: Process, census: Census, respondent: Respondent, *, say: Callable[[str, Question], bool]
    ) -> None:
        self._myself = myself
        self._census = census
        self._respondent = respondent
        self._say = say
        self._dice = SystemRandom()
        self._rounds: dict[str, _Round] = {}

    @property
    def rounds(self) -> Collection[str]:
        """The rounds of the questions that wait for answers; not a copy."""
        return self._rounds

    async def ask(self, question: Question, seconds: float) -> dict[str, bytes]:
        """Return the answers by the id of their process, this one's included; waits for some seconds at most."""
        others = {member.process.id for member in self._census.members}
        me = self._myself.id
        # Drawn, so that a stranger who has not heard the question cannot answer it.
        number = f"{self._dice.getrandbits(64):016x}"
        done = asyncio.get_running_loop().create_future()
        round_ = _Round(expected={me} | others, done=done, room=MAX_ANSWERS_BYTES, strangers_room=MAX_STRANGERS_BYTES)
        self._rounds[number] = round_
        try:
            if not self._say(number, question):
                round_.expected -= others
            self._respondent.respond(question, lambda body: round_.take(me, body))
            await asyncio.wait((round_.done,), timeout=seconds)
        finally:
            del self._rounds[number]
            done.cancel()
        return round_.bodies

    def take(self, number: str, sender: str, body: bytes) -> None:
        """Take an answer from another process; a late one, or an unasked one, is dropped."""
        round_ = self._rounds.get(number)
        if round_ is not None and sender != self._myself.id:
            round_.take(sender, body)
