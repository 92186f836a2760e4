"""Processes that ask each other, whatever they ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from random import Random
from typing import Any

import pytest

from mux.fleet import fleet as fleet_module
from mux.fleet.census import Census
from mux.fleet.fleet import (
    BYTES_PER_SECOND,
    MAX_ANSWERS_UNDER_WAY,
    MAX_QUESTIONS_PER_SECOND,
    MAX_RANK,
    MESSAGES_PER_TURN,
    Fleet,
    Question,
)
from mux.fleet.messages import MAX_ANSWER_BYTES, Identity, write
from mux.fleet.round import MAX_ROUND_BYTES
from tests.fleet.forged import ROUND, STRANGER, beat, question
from tests.support.servers import PATIENCE_SECONDS, serving, until


@pytest.fixture
async def fleets(redis_url: str, prefix: str) -> AsyncIterator[list[Fleet]]:
    """Return three fleets in this process, each of which knows the two others."""
    async with AsyncExitStack() as stack:
        options: dict[str, Any] = {"redis_url": redis_url, "prefix": prefix, "drain_seconds": 0}
        feeds = [await stack.enter_async_context(serving(**options)) for _ in range(3)]
        fleets = [feed.mux._core._fleet for feed in feeds]
        await until(lambda: all(len(fleet._census) == 2 for fleet in fleets))
        yield fleets


async def test_every_process_answers_a_question_by_its_name(fleets: list[Fleet]) -> None:
    """The asker as well; a handler is given the fields of the question."""

    async def double(asked: Question) -> bytes:
        number = asked["number"]
        assert isinstance(number, int)
        return b"%d" % (2 * number)

    for fleet in fleets:
        fleet.handle("double", double)
    for fleet in fleets:
        answers = await fleet.ask("double", {"number": 21}, seconds=PATIENCE_SECONDS)
        assert answers == {one.myself.id: b"42" for one in fleets}
        assert not fleet.silent(answers)


async def test_a_process_without_an_answer_is_silent(fleets: list[Fleet], caplog: pytest.LogCaptureFixture) -> None:
    """It has none to give or fails, and is not waited for; or it does not know the question, and time runs out."""

    async def nothing(asked: Question) -> None:
        return None

    async def fails(asked: Question) -> bytes:
        raise RuntimeError("a mistake")

    for fleet, handler in zip(fleets, (nothing, fails, nothing), strict=True):
        fleet.handle("refused", handler)
    async with asyncio.timeout(PATIENCE_SECONDS / 2):
        assert await fleets[0].ask("refused", {}, seconds=PATIENCE_SECONDS) == {}
    assert "a mistake" in caplog.text
    assert await fleets[0].ask("unknown", {}, seconds=0.05) == {}
    assert {identity.id for identity, _ in fleets[0].silent(())} == {fleet.myself.id for fleet in fleets}


@pytest.mark.parametrize("mark", ["a", "b", "c"])
async def test_processes_agree_on_an_order_for_each_mark(fleets: list[Fleet], mark: str) -> None:
    """Without a message."""
    assert sorted(fleet.rank(mark) for fleet in fleets) == [0, 1, 2]


def test_a_rank_is_bounded_and_differs_by_mark() -> None:
    """A process has every rank for some mark."""
    fleet = Fleet(None, b"feed:$fleet")  # type: ignore[arg-type]  # nothing is published
    assert fleet.rank("early") == 0
    fleet.myself = Identity("box", 0, f"{0:032x}")
    fleet._is_open = True
    fleet._census = Census(fleet.myself.id, Random(1))
    for number in range(1, 20):
        fleet._census.beat(Identity("box", number, f"{number:032x}"), 0.0, is_new=False)
    ranks = {fleet.rank(str(mark)) for mark in range(500)}
    assert ranks == set(range(MAX_RANK + 1))


async def test_a_process_that_leaves_is_forgotten(redis_url: str, prefix: str) -> None:
    """It says goodbye."""
    async with serving(redis_url=redis_url, prefix=prefix) as stays:
        async with serving(redis_url=redis_url, prefix=prefix):
            await until(lambda: len(stays.mux._core._fleet._census) == 1)
        await until(lambda: not len(stays.mux._core._fleet._census))


def take(fleet: Fleet, *payloads: bytes) -> None:
    """Have a fleet take what was published in one batch."""
    for payload in payloads:
        fleet.take(payload, 1)


@pytest.fixture
async def fleet(redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Fleet]:
    """Return a fleet of one process, whose budgets are for an hour."""
    monkeypatch.setattr(fleet_module, "TICK_SECONDS", 3600.0)
    async with serving(redis_url=redis_url, prefix=prefix, ops=True) as feed:
        yield feed.mux._core._fleet


@pytest.fixture
def said(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return what the fleet publishes from now on; nobody gets it."""
    said: list[bytes] = []

    def send_aside(channel: bytes, payload: bytes, *_: object) -> None:
        if channel == fleet._redis_channel:
            said.append(payload)

    monkeypatch.setattr(fleet._broker.outbox, "send_aside", send_aside)
    return said


async def test_two_hundred_questions_a_second_are_answered(fleet: Fleet, said: list[bytes]) -> None:
    """And no more: the others are dropped before they are decoded."""
    take(fleet, *[question("stats")] * (2 * MAX_QUESTIONS_PER_SECOND))
    assert len(fleet._inbox) == MAX_QUESTIONS_PER_SECOND
    await until(lambda: len(said) == MAX_QUESTIONS_PER_SECOND)
    take(fleet, question("stats"))
    assert fleet._reading is None
    fleet._tick()
    take(fleet, question("stats"))
    await until(lambda: len(said) > MAX_QUESTIONS_PER_SECOND)


async def test_answers_under_way_are_bounded_and_end_with_the_fleet(fleet: Fleet, said: list[bytes]) -> None:
    """A handler that takes its time; after the end nobody is answered."""

    async def waits(asked: Question) -> bytes:
        await asyncio.get_running_loop().create_future()
        return b""

    fleet.handle("waits", waits)
    for _ in range(3):
        fleet._questions_left = MAX_QUESTIONS_PER_SECOND
        fleet._bytes_left = dict(BYTES_PER_SECOND)
        take(fleet, *[question("waits")] * MAX_QUESTIONS_PER_SECOND)
    await until(lambda: not fleet._inbox)
    assert len(fleet._answering) == MAX_ANSWERS_UNDER_WAY
    await fleet.aclose()
    await fleet.aclose()
    assert not fleet._answering
    assert said == [write("bye", fleet.myself.id)]
    take(fleet, question("stats"))
    assert not fleet._inbox


async def test_what_is_given_in_answers_has_a_budget_of_bytes(fleet: Fleet, said: list[bytes]) -> None:
    """Every process hears every answer, and Redis closes all of them when too much waits for them."""
    answered: list[Question] = []

    async def much(asked: Question) -> bytes:
        answered.append(asked)
        return b"x" * MAX_ANSWER_BYTES

    fleet.handle("much", much)
    take(fleet, *[question("much")] * MAX_QUESTIONS_PER_SECOND)
    await until(lambda: len(answered) == MAX_QUESTIONS_PER_SECOND and not fleet._answering)
    assert len(said) == MAX_ROUND_BYTES // MAX_ANSWER_BYTES


@pytest.mark.parametrize(("processes", "limit"), [(1, MAX_ANSWER_BYTES), (64, MAX_ANSWER_BYTES), (1024, 4096)])
async def test_all_answers_together_are_bounded(fleet: Fleet, processes: int, limit: int) -> None:
    """To what Redis can have waiting for everybody."""
    for number in range(1, processes):
        fleet._census.beat(Identity("box", number, f"{number:032x}"), 0.0, is_new=False)
    assert fleet.max_answer_bytes == limit


@pytest.mark.parametrize(
    ("payload", "kept"),
    [
        (write("bye", STRANGER, b" " * 512 * 1024), 0),
        (write("beat", STRANGER, b'"' + b"x" * 512 * 1024 + b'"'), 0),
        (question("stats") + b" " * 37_000, 0),
        (write("answer", STRANGER, b"{}" * 30_000, to="{me}", round_=ROUND), 0),
        (write("answer", STRANGER, b"{}" * 30_000, to="*", round_=ROUND), 0),
        (b"mux/1 * " + b"x" * 100, 0),
        (beat(7), BYTES_PER_SECOND["beat"] // len(beat(7))),
        (write("bye", STRANGER), BYTES_PER_SECOND["bye"] // len(write("bye", STRANGER))),
        (write("beat", STRANGER, b"[" * 1900), BYTES_PER_SECOND["beat"] // len(write("beat", STRANGER, b"[" * 1900))),
    ],
    ids=["long bye", "long beat", "long ask", "unasked answer", "answer to all", "garbage", "beats", "byes", "deep"],
)
async def test_a_flood_of_one_kind_is_bounded_before_it_is_decoded(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, payload: bytes, kept: int
) -> None:
    """By its head, its length and a budget; what is left is read a bounded number of messages in each turn."""
    turns: list[int] = []
    read = fleet._read

    def counted() -> None:
        before = len(fleet._inbox)
        read()
        turns.append(before - len(fleet._inbox))

    monkeypatch.setattr(fleet, "_read", counted)
    payload = payload.replace(b"{me}", fleet.myself.id.encode())
    for _ in range(3):
        take(fleet, *[payload] * 2000)
    assert len(fleet._inbox) == kept
    await until(lambda: not fleet._inbox)
    assert sum(turns) == kept
    assert max(turns, default=0) <= MESSAGES_PER_TURN
    assert len(await fleet.ask("stats", {}, seconds=0.1)) == 1


async def test_a_round_cannot_be_guessed(fleet: Fleet, said: list[bytes]) -> None:
    """It is drawn from 64 bits, so a stranger who has not heard the question answers nothing; nor does this process."""
    for _ in range(50):
        assert len(await fleet.ask("stats", {}, seconds=PATIENCE_SECONDS)) == 1
    rounds = {payload.split()[3] for payload in said}
    assert len(rounds) == 50
    assert all(len(round_) == 16 for round_ in rounds)
    assert not fleet._rounds


async def test_an_answer_in_the_name_of_the_asker_is_dropped(fleet: Fleet, said: list[bytes]) -> None:
    """And so is one to another round; a stranger who heard the question is kept beside the asker's own answer."""
    me = fleet.myself.id

    async def own(asked: Question) -> bytes:
        round_ = said[-1].split()[3].decode()
        take(fleet, write("answer", me, b"forged", to=me, round_=round_))
        take(fleet, write("answer", STRANGER, b"forged", to=me, round_="f" * 16))
        take(fleet, write("answer", STRANGER, b"heard", to=me, round_=round_))
        return b"own"

    fleet.handle("own", own)
    assert await fleet.ask("own", {}, seconds=PATIENCE_SECONDS) == {me: b"own", STRANGER: b"heard"}
