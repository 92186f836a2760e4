from __future__ import annotations

import asyncio

import pytest

from mux.fleet.messages import Body, Count, Question, Stats, Top
from mux.fleet.ranking import BYTES_PER_ROW
from mux.fleet.respondent import MAX_ANSWER_BYTES, MAX_ROUND_BYTES, MAX_SCANS, Respondent, max_answer_bytes
from mux.fleet.tally import Tally
from mux.hub.router import Router
from tests.hub.fakes import FakeClient
from tests.servers import PATIENCE_SECONDS


class Asked:
    """A respondent with three channels, and how often its tally was wanted."""

    def __init__(self, *, processes: int = 1, gives_names: bool = True) -> None:
        router = Router()
        client = FakeClient().subscriber
        for name in (b"feed:a", b"feed:b", b"feed:c"):
            router.join(client, name)
        self.looks = 0
        self.respondent = Respondent(
            router,
            Tally(router.__contains__),
            look=self._look,
            stats=lambda: {"connections": 1},
            prefix=b"feed:",
            gives_names=gives_names,
            processes=lambda: processes,
        )

    def _look(self) -> None:
        self.looks += 1

    async def ask(self, question: Question) -> Body | None:
        """Return the answer."""
        answer: asyncio.Future[Body | None] = asyncio.get_running_loop().create_future()
        self.respondent.respond(question, answer.set_result)
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await answer


ROWS = [("a", 1, 0.0), ("b", 1, 0.0), ("c", 1, 0.0)]


async def test_channels_are_found_and_counted() -> None:
    """All of them, or those that are asked for by name; who is not here has no row."""
    asked = Asked()
    assert await asked.ask(Top("", "subscribers", 5)) == {"channels": ROWS, "complete": True}
    assert await asked.ask(Top("", "rate", 2)) == {"channels": ROWS[:2], "complete": False}
    assert await asked.ask(Count(("c", "nobody"))) == {"channels": ROWS[2:], "complete": True}
    assert asked.looks


async def test_without_names_there_are_numbers_and_nothing_else() -> None:
    """--no-inspect: who asks for channels is told no, at once, and the messages are not looked at."""
    asked = Asked(gives_names=False)
    assert await asked.ask(Stats()) == {"connections": 1}
    assert await asked.ask(Top("", "subscribers", 5)) is None
    assert await asked.ask(Count(("a",))) is None
    assert not asked.looks


async def test_an_answer_is_cut_where_the_fleet_is_too_large_for_it() -> None:
    """And says so; here two rows have room."""
    asked = Asked(processes=MAX_ROUND_BYTES // (2 * (BYTES_PER_ROW + 6)))
    assert await asked.ask(Top("", "subscribers", 5)) == {"channels": ROWS[:2], "complete": False}
    assert await asked.ask(Count(("a", "b", "c"))) == {"channels": ROWS[:2], "complete": False}


@pytest.mark.parametrize(("processes", "limit"), [(0, MAX_ANSWER_BYTES), (4, MAX_ANSWER_BYTES), (1024, 4096)])
def test_all_answers_together_are_bounded(processes: int, limit: int) -> None:
    """To what Redis can have waiting for everybody."""
    assert max_answer_bytes(processes) == limit


async def test_equal_questions_are_one_search_and_too_many_are_not_answered() -> None:
    """Those that are going on are finished; what was found is kept for as many as may be sought at once."""
    asked = Asked()
    same = [asked.ask(Top("a", "subscribers", 1)) for _ in range(3)]
    different = [asked.ask(Top("a", "subscribers", count)) for count in range(2, MAX_SCANS + 3)]
    answers = await asyncio.gather(*same, *different)
    assert answers[0] is answers[1] is answers[2]
    assert [answer is None for answer in answers[3:]] == [False] * (MAX_SCANS - 1) + [True] * 2
    asked.respondent.close()


async def test_a_search_ends_with_its_process() -> None:
    """Nobody is answered any more."""
    asked = Asked()
    asked.respondent.respond(Top("", "rate", 1), lambda body: pytest.fail("answered"))
    asked.respondent.close()
    assert not asked.respondent._handles
