"""The channels of a fleet that is larger than any that can be started here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from threading import Thread, current_thread, main_thread

import pytest

from mux.fleet import search as search_module
from mux.fleet.census import Census
from mux.fleet.inquiry import MAX_ANSWERS_BYTES, Inquirer
from mux.fleet.messages import Answer, Ask, Body, Count, Process, Stats, Top
from mux.fleet.respondent import Respondent

ME = Process("0" * 32, "here", 1)


class Others:
    """Processes that answer at once what a test has them say."""

    def __init__(self, number: int, say: Callable[[Process, Ask], Body], size: int = 100) -> None:
        self.processes = [Process(f"{one:032x}", "there", one) for one in range(1, number + 1)]
        self.census = Census(ME, Random(0))
        for process in self.processes:
            self.census.heard(process, 0.0)
        self._say = say
        self._size = size
        self.inquirer = Inquirer(ME, self.census, _Silent(), say=self.ask, max_processes=number)

    def ask(self, ask: Ask) -> bool:
        """Take a question."""
        for process in self.processes:
            self.inquirer.take(Answer(process, ask.round, self._say(process, ask)), self._size)
        return True


class _Silent(Respondent):
    def __init__(self) -> None:
        pass

    def respond(self, question: object, reply: Callable[[Body | None], None]) -> None:
        reply(None)


async def test_the_event_loop_goes_on_while_many_channels_are_put_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of forty processes took a second, in which no client was served: it is the work of a thread."""
    threads: list[Thread] = []

    def noted(work: Callable[..., object]) -> Callable[..., object]:
        def run(*arguments: object) -> object:
            threads.append(current_thread())
            return work(*arguments)

        return run

    for name in ("_read", "_fill_in", "_put_in_order"):
        monkeypatch.setattr(search_module, name, noted(getattr(search_module, name)))

    def say(process: Process, ask: Ask) -> Body:
        rows = [["lobby", 2, 1.0], [f"own/{process.pid}", 1, 0.0]]
        if isinstance(ask.question, Count):
            rows = [row for row in rows if row[0] in ask.question.names]
        return {"channels": rows, "complete": isinstance(ask.question, Count)}

    others = Others(40, say)
    found = await search_module.Search(others.inquirer, others.census, 5.0).find(Top("", "subscribers", 3))
    assert found.rows == [("lobby", 80, 1.0), ("own/1", 1, 0.0), ("own/10", 1, 0.0)]
    assert (found.is_all, len(found.present)) == (False, 40)
    assert len(threads) == 3
    assert main_thread() not in threads


async def test_answers_are_kept_while_there_is_room() -> None:
    """A thousand forged processes could fill the memory with answers that are long; whose do not fit are missing."""
    others = Others(20, lambda process, ask: {}, size=MAX_ANSWERS_BYTES // 10)
    async with asyncio.timeout(20):
        answers = await others.inquirer.ask(Stats(), 15.0)
    assert len(answers) == 10
