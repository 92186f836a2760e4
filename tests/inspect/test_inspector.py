"""What one process answers, and how often it searches for it."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from mux.fleet import searches as searches_module
from mux.fleet.fleet import Fleet, Question
from mux.fleet.messages import MAX_ANSWER_BYTES, Identity
from mux.hub.hub import Hub
from mux.inspect import inspector as inspector_module
from mux.inspect.inspector import BYTES_PER_ROW, MAX_SEARCHES, Inspector
from mux.inspect.search import Found, search
from mux.intake import BatchIntake
from mux.journal.journal import Journal
from mux.metrics.catalogue import Snapshot
from mux.metrics.observer import Observer
from tests.inspect.test_report import SNAPSHOT
from tests.inspect.test_search import connect, new_hub
from tests.support.servers import PATIENCE_SECONDS


class _Numbers(Observer):
    """Metrics that stand still."""

    def __init__(self) -> None:
        pass

    def own_snapshot(self) -> Snapshot:
        return dict(SNAPSHOT)

    @property
    def longest_lag_seconds(self) -> float:
        return 0.01


class _OneFleet(Fleet):
    """A fleet in which nobody is asked; answers have a length."""

    max_answer_bytes = MAX_ANSWER_BYTES


class Asked:
    """An inspector with three channels."""

    def __init__(self, *, max_answer_bytes: int = MAX_ANSWER_BYTES, gives_names: bool = True) -> None:
        self.hub: Hub = new_hub()
        self.client = connect(self.hub, b"feed:a", b"feed:b", b"feed:c")
        self.numbers = _Numbers()
        self.intake = BatchIntake(self.hub, Journal(max_bytes=0, max_seconds=0, talk=b"feed:$"))
        self.fleet = _OneFleet(None, b"feed:$fleet")  # type: ignore[arg-type]  # nothing is published
        self.fleet.myself = Identity("box", 7, "0" * 32)
        self.fleet.max_answer_bytes = max_answer_bytes
        self.inspector = Inspector(
            self.fleet, self.hub, self.numbers, self.intake, prefix=b"feed:", gives_names=gives_names
        )

    async def stats(self) -> Any:
        """Return the answer of this process."""
        return orjson.loads(await self.inspector._answer_stats({"what": "stats"}))

    async def top(self, prefix: str, count: int, sort: str = "subscribers") -> Any:
        """Return the answer of this process; None when it gives none."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            question = {"what": "top", "prefix": prefix, "sort": sort, "count": count}
            body = await self.inspector._answer_top(question)
        return None if body is None else orjson.loads(body)


ROWS = [["a", 1, 0.0], ["b", 1, 0.0], ["c", 1, 0.0]]


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return the prefixes of all searches, as they begin."""
    prefixes: list[bytes] = []

    async def recorded(*arguments: Any, **options: Any) -> Found:
        prefixes.append(options["prefix"])
        return await search(*arguments, **options)

    monkeypatch.setattr(inspector_module, "search", recorded)
    return prefixes


async def test_channels_are_found_and_counted() -> None:
    """All of them or the first; a process that has more than it names says so."""
    asked = Asked()
    assert await asked.top("", 5) == {"channels": ROWS, "complete": True}
    assert await asked.top("", 2, "rate") == {"channels": ROWS[:2], "complete": False}
    assert asked.intake.after_batch is not None


async def test_a_channel_that_everybody_leaves_meanwhile_is_not_named(
    searches: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its subscribers are counted when the search is over."""
    asked = Asked()

    async def left(*arguments: Any, **options: Any) -> Found:
        found = await search(*arguments, **options)
        asked.hub.router.leave(asked.client, b"feed:b")
        return found

    monkeypatch.setattr(inspector_module, "search", left)
    assert (await asked.top("", 5))["channels"] == [ROWS[0], ROWS[2]]


async def test_without_names_there_are_numbers_and_nothing_else() -> None:
    """--no-inspect: a question for channels has no answer, at once, and no message is counted."""
    asked = Asked(gives_names=False)
    assert (await asked.stats())["connections"] == 3
    assert await asked.top("", 5) is None
    assert asked.intake.after_batch is None


@pytest.mark.parametrize("question", [{}, {"prefix": "", "sort": "size", "count": 1}])
async def test_a_question_that_cannot_be_has_no_answer(question: dict[str, object]) -> None:
    """And starts nothing."""
    asked = Asked()
    assert await asked.inspector._answer_top(question) is None
    assert asked.intake.after_batch is None


async def test_questions_on_the_wire(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes of two versions understand each other."""
    asked, questions = Asked(), []

    async def ask(name: str, question: Question, *, seconds: float) -> dict[str, bytes]:
        questions.append(orjson.dumps({"what": name, **question}))
        return {}

    monkeypatch.setattr(asked.fleet, "ask", ask)
    monkeypatch.setattr(asked.fleet, "silent", lambda present: [])
    asked.inspector.start()
    await asked.inspector.stats()
    await asked.inspector.channels(prefix="a", sort="rate", limit=500)
    await asked.inspector.aclose()
    assert questions == [b'{"what":"stats"}', b'{"what":"top","prefix":"a","sort":"rate","count":1000}']


async def test_numbers_are_those_of_the_metrics() -> None:
    """And whose they are."""
    stats = await Asked().stats()
    assert (stats["host"], stats["pid"], stats["delivered"]) == ("box", 7, SNAPSHOT["mux_messages_delivered"])


async def test_an_answer_is_cut_where_the_fleet_is_too_large_for_it() -> None:
    """And says so; here two rows have room."""
    asked = Asked(max_answer_bytes=2 * (BYTES_PER_ROW + 6))
    assert await asked.top("", 5) == {"channels": ROWS[:2], "complete": False}


async def test_what_was_found_is_good_for_a_while(searches: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """A question that is asked again soon is answered without a search, and later by a new one."""
    monkeypatch.setattr(searches_module, "CACHE_FACTOR", 10**9)
    monkeypatch.setattr(searches_module, "MAX_DEBT_SECONDS", float("inf"))
    asked = Asked()
    for _ in range(5):
        assert (await asked.top("a", 5))["channels"] == ROWS[:1]
    await asked.top("b", 5)
    assert searches == [b"feed:a", b"feed:b"]
    monkeypatch.setattr(searches_module, "CACHE_FACTOR", 0)
    await asked.top("c", 5)
    await asked.top("c", 5)
    assert searches[2:] == [b"feed:c"] * 2


async def test_equal_questions_are_one_search_and_too_many_are_not_answered(searches: list[bytes]) -> None:
    """Searches go on one after the other."""
    asked = Asked()
    same = [asked.top("a", 1) for _ in range(3)]
    different = [asked.top("a", count) for count in range(2, MAX_SEARCHES + 3)]
    answers = await asyncio.gather(*same, *different)
    assert answers[0] is not None
    assert answers[0] == answers[1] == answers[2]
    assert [answer is None for answer in answers[3:]] == [False] * (MAX_SEARCHES - 1) + [True] * 2
    assert len(searches) == MAX_SEARCHES


async def test_different_questions_take_a_part_of_the_time_and_no_more(
    searches: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stranger who asks for another prefix each time cannot have this process search all the time."""
    monkeypatch.setattr(searches_module, "CACHE_FACTOR", 10**9)
    asked = Asked()
    assert await asked.top("a", 5) is not None
    for number in range(200):
        assert await asked.top(f"{number}", 5) is None
    assert searches == [b"feed:a"]


async def test_a_search_ends_with_its_process() -> None:
    """Nobody is answered any more."""
    asked = Asked()
    answer = asyncio.ensure_future(asked.top("", 1, "rate"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await asked.inspector.aclose()
    with pytest.raises(asyncio.CancelledError):
        await answer
