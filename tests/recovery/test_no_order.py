"""A Redis, or a proxy before it, that does not give all processes the same order of messages."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import redis

from mux.journal.quiet import Quiet
from mux.recovery import agreement
from mux.recovery.checksums import Checksum, Checksums
from mux.recovery.history import NO_ORDER, OTHER_EPOCH, History, Query
from mux.recovery.order import Order
from mux.recovery.talk import Talk
from tests.chaos.processes import RedisServer
from tests.chaos.proxy import proxy
from tests.recovery.processes import ROOM, Process, agreed, cut, numbers, process, publish
from tests.support.servers import until

BEAT_SECONDS = 0.2


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RedisServer]:
    """A Redis with a port, and processes that say five times a second where they are."""
    monkeypatch.setattr(agreement, "BEAT_SECONDS", BEAT_SECONDS)
    one = RedisServer(tmp_path)
    await one.start()
    yield one
    one.kill()


@pytest.fixture
def control(server: RedisServer) -> Iterator[redis.Redis]:
    """Any client of it."""
    with redis.Redis(port=server.port) as client:
        yield client


async def refusal(one: Process, position: tuple[str, int]) -> str:
    """Return why a process does not resume at a position; nothing when it does."""
    history = History(one.journal, one.recovery.order, Quiet())
    epoch, number = position
    return (await history.find(ROOM, Query(since=f"{epoch}-{number}"))).missed


@pytest.mark.parametrize("spared", [b"", b"feed:$"], ids=["any message", "messages of the feed"])
async def test_messages_that_change_places_end_the_numbering(
    spared: bytes, server: RedisServer, control: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """The first time numbers begin anew, the second time they stop; each process says so once, and nothing resumes."""
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(process(f"redis://127.0.0.1:{server.port}"))
        position = one.position
        swapping = await stack.enter_async_context(proxy(("127.0.0.1", server.port), is_redis=True))
        swapping.down.swaps_every, swapping.down.spared = 2, spared
        two = await stack.enter_async_context(process(f"redis://127.0.0.1:{swapping.port}"))
        fleet = (one, two)
        number = 0
        loop = asyncio.get_running_loop()
        began = loop.time()

        async def noticed(voids: int) -> None:
            nonlocal number
            while not all(each.recovery.order.voids >= voids or each.recovery.order.is_off for each in fleet):
                assert loop.time() < began + 30, [each.recovery.order.voids for each in fleet]
                number += 1
                await publish(control, number, number)
                await asyncio.sleep(0.005)

        await noticed(1)
        for each in fleet:
            assert await refusal(each, position) in (OTHER_EPOCH, NO_ORDER)
        await noticed(2)
        await until(lambda: all(each.recovery.order.is_off for each in fleet))
        for each in fleet:
            assert not each.recovery.order.is_placed
            assert await refusal(each, position) == NO_ORDER
        said = [record for record in caplog.records if "does not give all processes the same order" in record.message]
        assert len(said) == len(fleet)
        assert [each.gaps for each in fleet] == [[], []]


async def test_what_was_healed_is_compared_and_agrees(
    server: RedisServer, control: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that got what it missed from another has the same checksums over it, and no epoch is void."""
    compared: Counter[Checksums] = Counter()
    agree = Checksums.agree

    def counted(one: Checksums, number: int, after: int, theirs: Checksum | None) -> bool:
        compared[one] += theirs is not None and theirs == one.upto(number, after, theirs.stretches)
        return agree(one, number, after, theirs)

    monkeypatch.setattr(Checksums, "agree", counted)
    async with AsyncExitStack() as stack:
        fleet = [await stack.enter_async_context(process(f"redis://127.0.0.1:{server.port}")) for _ in range(2)]
        for number in range(1, 1000, 100):
            await cut(control, fleet[1], missed=(number, number + 49))
            await publish(control, number + 50, number + 99)
            await agreed(number + 99, *fleet)
        compared.clear()
        await until(lambda: all(compared[one.recovery._agreement.checksums] > 10 for one in fleet))
        assert fleet[0].received == fleet[1].received == numbers(1, 1000)
        assert [one.recovery.order.voids for one in fleet] == [0, 0]


@pytest.mark.parametrize("every", [3, 100])
async def test_two_messages_that_change_places_are_noticed_within_two_beats(
    every: int, server: RedisServer, control: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All counts are as they were. The positions from before are gone, and what comes has good ones again."""
    beats: Counter[Order] = Counter()
    beat = Order.beat

    def counted(order: Order) -> Talk | None:
        beats[order] += 1
        return beat(order)

    monkeypatch.setattr(Order, "beat", counted)
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(process(f"redis://127.0.0.1:{server.port}"))
        swapping = await stack.enter_async_context(proxy(("127.0.0.1", server.port), is_redis=True))
        swapping.down.swaps_every, swapping.down.spared = every, b"feed:$"
        two = await stack.enter_async_context(process(f"redis://127.0.0.1:{swapping.port}"))
        await until(lambda: one.recovery.order.epoch == two.recovery.order.epoch)
        beats.clear()
        await publish(control, 1, every + 1)
        await until(lambda: len(one.received) == len(two.received) == every + 1)
        assert two.received == [*numbers(1, every - 1), str(every + 1), str(every)]
        position = one.position
        await until(lambda: one.recovery.order.voids == two.recovery.order.voids == 1)
        assert max(beats.values()) <= 2
        await until(lambda: one.recovery.order.is_placed and two.recovery.order.is_placed)
        assert [await refusal(each, position) for each in (one, two)] == [OTHER_EPOCH] * 2
        await publish(control, 1, 1)
        await until(lambda: one.position == two.position)
        assert one.recovery.order.voids == two.recovery.order.voids == 1
