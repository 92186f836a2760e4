"""Questions to a fleet that is larger than any that can be started here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

import pytest

from mux.fleet import inquiry as inquiry_module
from mux.fleet.census import Census
from mux.fleet.inquiry import Inquirer
from mux.fleet.messages import Process, Question, Stats
from mux.fleet.respondent import NO_ANSWER, Reply, Respondent
from tests.support.servers import PATIENCE_SECONDS

ME = Process("0" * 32, "here", 1)


class _Silent(Respondent):
    def __init__(self) -> None:
        pass

    def respond(self, question: object, reply: Reply) -> None:
        reply(NO_ANSWER)


class Others:
    """Processes that answer at once what a test has them say."""

    def __init__(self, number: int, say: Callable[[Process], bytes]) -> None:
        self.processes = [Process(f"{one:032x}", "there", one) for one in range(1, number + 1)]
        census = Census(ME, Random(0))
        for process in self.processes:
            census.heard(process, 0.0)
        self._say = say
        self.rounds: list[str] = []
        self.inquirer = Inquirer(ME, census, _Silent(), say=self.ask)

    def ask(self, round_: str, question: Question) -> bool:
        """Take a question."""
        self.rounds.append(round_)
        for process in self.processes:
            self.inquirer.take(round_, process.id, self._say(process))
        return True

    async def answers(self, seconds: float = PATIENCE_SECONDS) -> dict[str, bytes]:
        """Ask, and return what was answered before the time was up."""
        return await self.inquirer.ask(Stats(), seconds)


async def test_a_question_ends_when_all_have_answered() -> None:
    """Also those that do not want to answer, who are left out."""
    others = Others(3, lambda process: NO_ANSWER if process.pid == 2 else b"%d" % process.pid)
    async with asyncio.timeout(PATIENCE_SECONDS / 2):
        assert await others.answers() == {others.processes[0].id: b"1", others.processes[2].id: b"3"}


async def test_answers_are_kept_while_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand forged processes could fill the memory with answers that are long; whose do not fit are missing."""
    monkeypatch.setattr(inquiry_module, "MAX_ANSWERS_BYTES", 1000)
    others = Others(20, lambda process: b"x" * 100)
    answers = await others.answers()
    assert len(answers) == 10


@pytest.mark.parametrize(("limit", "value"), [("MAX_STRANGERS_BYTES", 12), ("MAX_STRANGERS", 2)])
async def test_each_process_answers_once(monkeypatch: pytest.MonkeyPatch, limit: str, value: int) -> None:
    """A second answer, one to another question and one in our own name are dropped; of strangers a little is kept."""
    monkeypatch.setattr(inquiry_module, limit, value)
    others = Others(2, lambda process: b"1")
    known, later = (process.id for process in others.processes)

    def forge(round_: str, question: Question) -> bool:
        for sender in (known, known, ME.id, "a" * 32, "a" * 32, "b" * 32, "c" * 32):
            others.inquirer.take(round_, sender, b"first!" if sender not in others.rounds else b"second")
            others.rounds.append(sender)
        others.inquirer.take("f" * 16, later, b"forged")
        others.inquirer.take(round_, later, b"2")
        return True

    others.inquirer._say = forge
    expected = {known: b"first!", "a" * 32: b"first!", "b" * 32: b"first!", later: b"2"}
    assert await others.answers() == expected
    assert not others.inquirer.rounds


async def test_a_round_cannot_be_guessed() -> None:
    """It is drawn from 64 bits, so a stranger who has not heard the question answers nothing."""
    others = Others(1, lambda process: b"1")
    for _ in range(50):
        await others.answers()
    assert len(set(others.rounds)) == 50
    assert all(len(round_) == 16 for round_ in others.rounds)
