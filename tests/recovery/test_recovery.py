"""Lost connections among several processes, against a real server."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack

import pytest
import redis

from mux.journal.quiet import Quiet
from mux.recovery import copies, withheld
from mux.recovery.history import History, Query
from mux.wire.resp import Push
from tests.recovery.processes import ROOM, Process, agreed, cut, numbers, process, publish
from tests.support.servers import until


async def test_all_processes_have_one_numbering(redis_url: str) -> None:
    """However late they come; and a message has the same number with all of them."""
    async with AsyncExitStack() as stack:
        control = stack.enter_context(redis.Redis.from_url(redis_url))
        fleet = [await stack.enter_async_context(process(redis_url)) for _ in range(3)]
        await publish(control, 1, 50)
        await agreed(50, *fleet)
        assert all(one.received == numbers(1, 50) for one in fleet)
        assert {one.recovery.order.epoch for one in fleet} == {fleet[0].recovery.order.epoch}


async def test_what_was_missed_is_fetched_and_delivered_in_order(redis_url: str) -> None:
    """Another process kept its connection: nobody notices, no gap is told, and every position stays good."""
    async with AsyncExitStack() as stack:
        control = stack.enter_context(redis.Redis.from_url(redis_url))
        one, two = [await stack.enter_async_context(process(redis_url)) for _ in range(2)]
        await publish(control, 1, 10)
        await agreed(10, one, two)
        epoch = one.recovery.order.epoch
        await cut(control, one, missed=(11, 500))
        await publish(control, 501, 510)
        await agreed(510, one, two)
        assert one.received == two.received == numbers(1, 510)
        assert one.gaps == []
        assert one.journal.healed == 490
        assert one.recovery.order.epoch == epoch
        assert one.journal.complete_after == 0
        await publish(control, 511, 511, b"feed:$order")
        assert one.recovery._withheld.shift == 0, "later talk is counted as it comes"


async def test_a_connection_that_is_lost_in_a_torrent(redis_url: str) -> None:
    """Reads that wait to be delivered together come before what was missed, and that before what came since."""
    async with AsyncExitStack() as stack:
        control = stack.enter_context(redis.Redis.from_url(redis_url))
        one, two = [await stack.enter_async_context(process(redis_url)) for _ in range(2)]
        with control.pipeline(transaction=False) as pipeline:
            for number in range(1, 10_001):
                pipeline.publish(ROOM, b"%d" % number)
                if number == 5000:
                    pipeline.client_kill_filter(_id=str(one.client_id()))
            await asyncio.to_thread(pipeline.execute)
        await agreed(10_000, one, two)
        assert one.received == two.received == numbers(1, 10_000)
        assert one.gaps == []


async def test_a_connection_that_missed_nothing_tells_no_gap(redis_url: str) -> None:
    """Nothing was published meanwhile, and that is proven."""
    async with AsyncExitStack() as stack:
        control = stack.enter_context(redis.Redis.from_url(redis_url))
        one, two = [await stack.enter_async_context(process(redis_url)) for _ in range(2)]
        await publish(control, 1, 3)
        await agreed(3, one, two)
        await cut(control, one)
        await until(lambda: one.recovery.order.is_placed)
        await publish(control, 4, 6)
        await agreed(6, one, two)
        assert one.received == numbers(1, 6)
        assert (one.gaps, one.recovery.intact) == ([], 1)


async def test_a_gap_that_remains_says_how_many_were_missed(redis_url: str) -> None:
    """The other process keeps no journal, but knows how many there were."""
    async with AsyncExitStack() as stack:
        control = stack.enter_context(redis.Redis.from_url(redis_url))
        one = await stack.enter_async_context(process(redis_url))
        two = await stack.enter_async_context(process(redis_url, journal_bytes=100))
        await publish(control, 1, 3)
        await agreed(3, one, two)
        await cut(control, one, missed=(4, 60))
        await until(lambda: bool(one.gaps))
        await publish(control, 61, 63)
        await agreed(63, one, two)
        (gap,) = one.gaps
        assert gap.missed is not None
        assert gap.missed >= 57
        assert f"{gap.missed} messages were missed" in str(gap)
        assert one.received == numbers(1, 3) + numbers(61, 63)
        assert one.journal.kept_after >= one.journal.last - 10


async def test_when_all_lose_their_connection_the_gap_is_told(redis_url: str) -> None:
    """Nobody knows what passed meanwhile, so nothing from before can be resumed: a new epoch begins."""
    async with AsyncExitStack() as stack:
        control = stack.enter_context(redis.Redis.from_url(redis_url))
        fleet = [await stack.enter_async_context(process(redis_url)) for _ in range(3)]
        await publish(control, 1, 3)
        await agreed(3, *fleet)
        epoch = fleet[0].recovery.order.epoch
        await cut(control, *fleet, missed=(4, 5))
        await until(lambda: all(one.gaps for one in fleet))
        await publish(control, 6, 9)
        await agreed(9, *fleet)
        assert {one.recovery.order.epoch for one in fleet} != {epoch}
        for one in fleet:
            assert one.gaps[0].missed is None
            assert one.received[-4:] == numbers(6, 9)
            assert one.journal.kept_after >= one.journal.complete_after > 3


async def test_a_new_process_has_what_passed_before_it(redis_url: str) -> None:
    """It copies the journal before it is ready, with the same numbers."""
    async with AsyncExitStack() as stack:
        control = stack.enter_context(redis.Redis.from_url(redis_url))
        one = await stack.enter_async_context(process(redis_url))
        await publish(control, 1, 2000)
        await until(lambda: len(one.received) == 2000)
        before = one.journal.kept_after + one.recovery.order.base
        two = await stack.enter_async_context(process(redis_url))
        await publish(control, 2001, 2001)
        await agreed(2001, one, two)
        assert two.journal.kept_after + two.recovery.order.base == before
        assert control.keys("feed:*") == []


async def test_a_copy_of_a_copy(redis_url: str) -> None:
    """As in one rolling restart after the other: the first process is long gone, and the third has all of it."""
    async with AsyncExitStack() as stack:
        control = stack.enter_context(redis.Redis.from_url(redis_url))
        fleet: list[Process] = []
        for round_ in range(4):
            fleet.append(await stack.enter_async_context(process(redis_url)))
            first = 1000 * round_ + 1
            await publish(control, first, first + 999)
            await agreed(first + 999, *fleet)
            for old in fleet[:-1]:
                await old.recovery.aclose()
                await old.broker.aclose()
            del fleet[:-1]
        journal, order = fleet[-1].journal, fleet[-1].recovery.order
        found = await History(journal, order, Quiet()).find(ROOM, Query())
        assert [payload for payload, _, _ in found.publications] == [b"%d" % number for number in range(1, 4001)]


async def test_a_copy_has_no_hole(redis_url: str) -> None:
    """What a process has heard before a gap is not copied as if nothing had been missed after it."""
    async with AsyncExitStack() as stack:
        control = stack.enter_context(redis.Redis.from_url(redis_url))
        one = await stack.enter_async_context(process(redis_url))
        await publish(control, 1, 500)
        await until(lambda: one.received == numbers(1, 500))
        await cut(control, one, missed=(501, 502))
        await until(lambda: bool(one.gaps) and one.recovery.order.is_placed)
        await publish(control, 503, 505)
        await until(lambda: one.received[-1] == "505")
        two = await stack.enter_async_context(process(redis_url))
        await publish(control, 506, 506)
        await agreed(506, one, two)
        assert one.journal.kept_after > 500
        assert two.journal.kept_after + two.recovery.order.base >= one.journal.kept_after + one.recovery.order.base


async def test_a_user_without_the_rights_goes_without_copies(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is said once, and what was missed is a gap."""
    with redis.Redis.from_url(redis_url) as control:
        rights = "resetchannels &feed:* +@pubsub +@connection +info +client"
        control.execute_command("ACL", "SETUSER", "mux", "on", ">secret", *rights.split())
        url = redis_url.replace("://", "://mux:secret@")
        async with AsyncExitStack() as stack:
            one, two = [await stack.enter_async_context(process(url)) for _ in range(2)]
            await publish(control, 1, 3)
            await agreed(3, one, two)
            for number in (4, 5):
                await cut(control, one, missed=(number, number))
                await until(lambda: len(one.gaps) == number - 3)  # noqa: B023 - waited for here
            assert [gap.missed for gap in one.gaps] == [1, 1]
        said = [record.message for record in caplog.records if "does not let this user copy" in record.message]
        assert len(said) == 1, "who may not write copies does not ask for one either"


async def test_too_much_to_withhold_is_a_gap(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What came since is delivered, all of it and in order."""
    monkeypatch.setattr(withheld, "MAX_WITHHELD_BYTES", 10_000)
    monkeypatch.setattr(copies.Copies, "_offer", lambda self, talk: None)
    async with AsyncExitStack() as stack:
        control = stack.enter_context(redis.Redis.from_url(redis_url))
        one, two = [await stack.enter_async_context(process(redis_url)) for _ in range(2)]
        await publish(control, 1, 3)
        await agreed(3, one, two)
        await cut(control, one, missed=(4, 5))
        await publish(control, 6, 1000)
        await agreed(1000, one, two)
        assert len(one.gaps) == 1
        assert one.received == numbers(1, 3) + numbers(6, 1000)


async def test_connections_that_are_lost_again_and_again(redis_url: str) -> None:
    """Whatever comes of it, nothing is delivered twice or out of order, and what is missing was told."""
    async with AsyncExitStack() as stack:
        control = stack.enter_context(redis.Redis.from_url(redis_url))
        one, two = [await stack.enter_async_context(process(redis_url)) for _ in range(2)]
        for number in range(1, 300, 3):
            await publish(control, number, number + 2)
            if number % 30 == 1 and one.recovery._connection:
                control.client_kill_filter(_id=str(one.client_id()))
            await asyncio.sleep(0.005)
        await until(lambda: one.broker.is_connected)
        await publish(control, 301, 305)
        await agreed(305, one, two)
        assert two.received == numbers(1, 305)
        got = [int(number) for number in one.received]
        assert got == sorted(set(got))
        assert (len(got) == 305) == (not one.gaps)


async def test_garbage_on_the_reserved_channel_is_nobodys(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Anybody may publish there: nothing of it is believed, nothing of it is logged, and the order stays."""
    async with AsyncExitStack() as stack:
        control = stack.enter_context(redis.Redis.from_url(redis_url))
        one = await stack.enter_async_context(process(redis_url))
        epoch, server = one.recovery.order.epoch, one.recovery.order.server
        caplog.set_level(logging.WARNING)
        for payload in (
            b"",
            b"{",
            b"[]",
            b"\xff" * 600,
            b'{"server": 1}',
            b'{"server":"%b","mark":7}' % server.encode(),
            b'{"server":"%b","claim":["m","e",-1]}' % server.encode(),
            b'{"server":"%b","claim":["m","0",9007199254740993]}' % server.encode(),
            b'{"server":"%b","mark":"m"}' % server.encode(),
            b'{"server":"%b","claim":["m","0\\ndata: forged",5]}' % server.encode(),
            b'{"server":"%b","kind":"want"}' % server.encode(),
            b'{"server":"%b","kind":"sent","copy":"x","epoch":"","number":1e9,"process":""}' % server.encode(),
        ):
            control.publish(b"feed:$order", payload)
        await publish(control, 1, 3)
        await until(lambda: one.received == numbers(1, 3))
        assert one.recovery.order.epoch == epoch
        assert caplog.records == []


async def test_withheld_batches_are_checked_before_they_wait(redis_url: str) -> None:
    """A message that cannot be ends the connection, as it does at other times."""
    from mux.errors import BrokerGarbled

    async with process(redis_url) as one:
        garbled: list[Push] = [[b"pmessage", b"feed:*", ROOM]]
        with pytest.raises(BrokerGarbled):
            one.recovery._withheld.take(b"", garbled, True)


async def test_a_redis_that_does_not_say_which_it_is(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Processes on two servers could take the numbers of others for theirs: so there are none, and it is said once."""
    with redis.Redis.from_url(redis_url) as control:
        rights = "resetchannels &feed:* +@pubsub +@connection -info"
        control.execute_command("ACL", "SETUSER", "nameless", "on", ">secret", *rights.split())
        one = Process(redis_url.replace("://", "://nameless:secret@"))
        one.recovery.start(one.broker)
        await one.broker.start()
        try:
            assert one.recovery.is_warm
            await publish(control, 1, 3)
            await until(lambda: one.received == numbers(1, 3))
            await cut(control, one, missed=(4, 4))
            await until(lambda: len(one.gaps) == 1)
            await publish(control, 5, 6)
            await until(lambda: one.received == numbers(1, 3) + numbers(5, 6))
        finally:
            await one.recovery.aclose()
            await one.broker.aclose()
        assert len([record for record in caplog.records if "grant it +info" in record.message]) == 1
