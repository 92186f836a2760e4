from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from mux.fleet import respondent as respondent_module
from mux.fleet.messages import MAX_ANSWER_BYTES, Question, Stats, Top
from mux.fleet.respondent import (
    BYTES_PER_ROW,
    MAX_DEBT_SECONDS,
    MAX_ROUND_BYTES,
    MAX_SEARCHES,
    Respondent,
    max_answer_bytes,
)
from mux.fleet.scan import Scan
from mux.fleet.tally import Tally
from tests.fleet.test_scan import connect, new_hub
from tests.support.servers import PATIENCE_SECONDS


class Asked:
    """A respondent with three channels; how often it was read and its messages were to be counted."""

    def __init__(self, *, processes: int = 1, gives_names: bool = True) -> None:
        hub = new_hub()
        self.client = connect(hub, b"feed:a", b"feed:b", b"feed:c")
        self.looks = self.reports = 0
        self.hub = hub
        self.respondent = Respondent(
            hub,
            Tally(hub.router.__contains__),
            look=self._look,
            stats=self._stats,
            prefix=b"feed:",
            gives_names=gives_names,
            processes=lambda: processes,
        )

    def _look(self) -> None:
        self.looks += 1

    def _stats(self) -> dict[str, object]:
        self.reports += 1
        return {"connections": 1}

    async def ask(self, question: Question) -> Any:
        """Return the answer."""
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.respondent.respond(question, answer.set_result)
        async with asyncio.timeout(PATIENCE_SECONDS):
            return orjson.loads(await answer)


ROWS = [["a", 1, 0.0], ["b", 1, 0.0], ["c", 1, 0.0]]


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return the prefixes of all scans that are made, as they are made."""
    prefixes: list[bytes] = []

    def scan(*arguments: Any, **options: Any) -> Scan:
        prefixes.append(options["prefix"])
        return Scan(*arguments, **options)

    monkeypatch.setattr(respondent_module, "Scan", scan)
    return prefixes


async def test_channels_are_found_and_counted() -> None:
    """All of them or the first; a process that has more than it names says so."""
    asked = Asked()
    assert await asked.ask(Top("", "subscribers", 5)) == {"channels": ROWS, "complete": True}
    assert await asked.ask(Top("", "rate", 2)) == {"channels": ROWS[:2], "complete": False}
    assert asked.looks


async def test_a_channel_that_everybody_leaves_meanwhile_is_not_named() -> None:
    """Its subscribers are counted when the search is over."""
    asked = Asked()
    answer = asyncio.ensure_future(asked.ask(Top("", "subscribers", 5)))
    while asked.respondent._handle is None or isinstance(asked.respondent._handle, asyncio.TimerHandle):
        await asyncio.sleep(0)
    asked.hub.router.leave(asked.client, b"feed:b")
    assert (await answer)["channels"] == [ROWS[0], ROWS[2]]


async def test_without_names_there_are_numbers_and_nothing_else() -> None:
    """--no-inspect: who asks for channels is told no, at once, and the messages are not looked at."""
    asked = Asked(gives_names=False)
    assert await asked.ask(Stats()) == {"connections": 1}
    assert await asked.ask(Top("", "subscribers", 5)) is None
    assert not asked.looks


async def test_numbers_are_good_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred questions at the same time are one look at the numbers."""
    monkeypatch.setattr(respondent_module, "STATS_SECONDS", 3600.0)
    asked = Asked()
    assert await asyncio.gather(*(asked.ask(Stats()) for _ in range(100))) == [{"connections": 1}] * 100
    assert asked.reports == 1
    monkeypatch.setattr(respondent_module, "STATS_SECONDS", 0.0)
    asked = Asked()
    await asked.ask(Stats())
    await asked.ask(Stats())
    assert asked.reports == 2


async def test_an_answer_is_cut_where_the_fleet_is_too_large_for_it() -> None:
    """And says so; here two rows have room."""
    asked = Asked(processes=MAX_ROUND_BYTES // (2 * (BYTES_PER_ROW + 6)))
    assert await asked.ask(Top("", "subscribers", 5)) == {"channels": ROWS[:2], "complete": False}


@pytest.mark.parametrize(("processes", "limit"), [(0, MAX_ANSWER_BYTES), (64, MAX_ANSWER_BYTES), (1024, 4096)])
def test_all_answers_together_are_bounded(processes: int, limit: int) -> None:
    """To what Redis can have waiting for everybody."""
    assert max_answer_bytes(processes) == limit


async def test_what_was_found_is_good_for_a_while(scans: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """A question that is asked again soon is answered without a search, and later by a new one."""
    monkeypatch.setattr(respondent_module, "CACHE_FACTOR", 10**9)
    monkeypatch.setattr(respondent_module, "MAX_DEBT_SECONDS", float("inf"))
    asked = Asked()
    for _ in range(5):
        assert (await asked.ask(Top("a", "subscribers", 5)))["channels"] == ROWS[:1]
    await asked.ask(Top("b", "subscribers", 5))
    assert scans == [b"feed:a", b"feed:b"]
    monkeypatch.setattr(respondent_module, "CACHE_FACTOR", 0)
    await asked.ask(Top("c", "subscribers", 5))
    await asked.ask(Top("c", "subscribers", 5))
    assert scans[2:] == [b"feed:c"] * 2


async def test_equal_questions_are_one_search_and_too_many_are_not_answered(scans: list[bytes]) -> None:
    """Searches go on one after the other."""
    asked = Asked()
    same = [asked.ask(Top("a", "subscribers", 1)) for _ in range(3)]
    different = [asked.ask(Top("a", "subscribers", count)) for count in range(2, MAX_SEARCHES + 3)]
    answers = await asyncio.gather(*same, *different)
    assert answers[0] is not None
    assert answers[0] == answers[1] == answers[2]
    assert [answer is None for answer in answers[3:]] == [False] * (MAX_SEARCHES - 1) + [True] * 2
    assert len(scans) == MAX_SEARCHES
    asked.respondent.close()


async def test_different_questions_take_a_part_of_the_time_and_no_more(
    scans: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stranger who asks for another prefix each time cannot have this process search all the time."""
    monkeypatch.setattr(respondent_module, "CACHE_FACTOR", 10**9)
    asked = Asked()
    assert await asked.ask(Top("a", "subscribers", 5)) is not None
    assert asked.respondent._indebted_until > asyncio.get_running_loop().time() + MAX_DEBT_SECONDS
    for number in range(200):
        assert await asked.ask(Top(f"{number}", "subscribers", 5)) is None
    assert scans == [b"feed:a"]


async def test_a_search_ends_with_its_process() -> None:
    """Nobody is answered any more."""
    asked = Asked()
    asked.respondent.respond(Top("", "rate", 1), lambda body: pytest.fail("answered"))
    asked.respondent.close()
    assert asked.respondent._handle is None
