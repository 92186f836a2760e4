from __future__ import annotations

import asyncio

import pytest

from mux import intake as intake_module
from mux.errors import BrokerGarbled
from mux.hub.hub import Hub
from mux.intake import AUTO_MESSAGES, LARGE_BYTES, BatchIntake
from mux.journal.journal import Journal
from mux.wire.resp import Push
from tests.hub.fakes import FakeClient
from tests.support.servers import until

BATCH: list[Push] = [[b"pmessage", b"feed:*", b"feed:a", b"hi"]]


def journal() -> Journal:
    """Nothing was heard, and nothing is kept."""
    return Journal(max_bytes=0, max_seconds=0, talk=b"feed:$")


@pytest.fixture
def hub() -> Hub:
    """Nobody is connected."""
    return Hub(max_pending_bytes=1 << 20, max_unwritable_seconds=10, ping_seconds=25, pong_seconds=10)


def test_a_batch_is_shown_after_the_clients_have_it(hub: Hub) -> None:
    """While there is a function to show it to; without one the clients get it all the same."""
    client, intake = FakeClient(), BatchIntake(hub, journal())
    hub.router.join(client.subscriber, b"feed:a")
    seen: list[tuple[list[Push], int]] = []
    intake.after_batch = lambda messages: seen.append((messages, len(client.written)))
    intake.take(b"", BATCH, True)
    intake.after_batch = None
    intake.take(b"", BATCH, True)
    assert seen == [(BATCH, 1)]
    assert client.written == [b"hi\n", b"hi\n"]


def test_every_batch_is_timed_and_measured(hub: Hub) -> None:
    """A batch that cannot be delivered is neither."""
    intake = BatchIntake(hub, journal())
    intake.take(b"", BATCH * 3, True)
    with pytest.raises(BrokerGarbled):
        intake.take(b"", [[b"pmessage"]], True)
    assert sum(intake.batch_sizes.counts) == sum(intake.fan_out_times.counts) == 1


LARGE = b"." * LARGE_BYTES


def messages(*payloads: bytes, channel: bytes = b"feed:a") -> list[Push]:
    """Return a batch of one channel."""
    return [[b"pmessage", b"feed:*", channel, payload] for payload in payloads]


class Rig:
    """An intake, a client of each of four channels, and whether Redis was paused, each time it was said."""

    def __init__(self, hub: Hub, read_seconds: float | None = 0.0) -> None:
        self.journal = Journal(max_bytes=1 << 20, max_seconds=10, talk=b"feed:$")
        self.intake = BatchIntake(hub, self.journal, read_seconds)
        self.paused: list[bool] = []
        self.intake.pause_reading = self.paused.append
        self.clients = [FakeClient() for _ in range(4)]
        for client, name in zip(self.clients, b"abcd", strict=True):
            hub.router.join(client.subscriber, b"feed:%c" % name)

    @property
    def written(self) -> list[list[bytes]]:
        """What each client was sent, a write each."""
        return [client.written for client in self.clients]


async def test_large_reads_wait_until_a_poll_brings_no_other(hub: Hub) -> None:
    """Then each client has one write for all of them, and for the small read between them."""
    rig = Rig(hub)
    rig.intake.take(LARGE, messages(b"1"), True)
    rig.intake.take(b".", messages(b"2"), True)
    await asyncio.sleep(0)
    rig.intake.take(LARGE, messages(b"3"), True)
    await asyncio.sleep(0)
    assert rig.written[0] == []
    await asyncio.sleep(0)
    assert rig.written[0] == [b"1\n2\n3\n"]
    assert sum(rig.intake.batch_sizes.counts) == sum(rig.intake.fan_out_times.counts) == 1
    rig.intake.take(b".", messages(b"4"), True)
    assert rig.written[0][1:] == [b"4\n"]


async def test_a_poll_that_brings_little_ends_the_wait(hub: Hub) -> None:
    """Reads are small when the process keeps up, and to wait would make messages late and spare no write."""
    rig = Rig(hub)
    rig.intake.take(LARGE, messages(b"1"), True)
    await asyncio.sleep(0)
    rig.intake.take(b".", messages(b"2"), True)
    await asyncio.sleep(0)
    assert rig.written[0] == [b"1\n2\n"]


@pytest.mark.parametrize("bound", ["GATHER_SECONDS", "GATHERED_BYTES"])
async def test_the_wait_is_bounded(hub: Hub, bound: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In time and in bytes, however much more comes."""
    monkeypatch.setattr(intake_module, bound, 0)
    rig = Rig(hub)
    rig.intake.take(LARGE, messages(b"1"), True)
    assert True in rig.paused or bound == "GATHER_SECONDS"
    await asyncio.sleep(0)
    assert rig.written[0] == [b"1\n"]
    assert rig.paused[-1] is False


async def test_the_wait_grows_while_the_process_does_not_keep_up(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """From 8 ms to 30 ms in a tenth of a second; it begins anew once a poll has brought little."""
    now = 0.0
    monkeypatch.setattr(intake_module, "perf_counter", lambda: now)
    rig = Rig(hub)

    async def waited() -> int:
        """Return after how many milliseconds of large reads they are delivered."""
        nonlocal now
        before = len(rig.written[0])
        for turn in range(100):
            if len(rig.written[0]) > before:
                return turn
            rig.intake.take(LARGE, messages(b"1"), True)
            now += 0.001
            await asyncio.sleep(0)
        raise AssertionError("never delivered")

    assert [await waited() for _ in range(9)] == [8, 10, 13, 16, 20, 25, 30, 30, 30]
    rig.intake.take(LARGE, messages(b"1"), True)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert await waited() == 8


async def test_one_poll_that_brings_many_reads_does_not_hold_the_loop(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis is not read from until the next turn."""
    monkeypatch.setattr(intake_module, "SLICE_SECONDS", 0)
    rig = Rig(hub)
    rig.intake.take(LARGE, messages(b"1"), True)
    assert rig.paused == [True]
    await asyncio.sleep(0)
    assert rig.paused == [True, False]
    rig.intake.deliver_gathered()


async def test_what_was_gathered_is_delivered_in_slices(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """While Redis is not read from, so that no more is gathered than the bound."""
    rig = Rig(hub)
    for name in b"abcd":
        rig.intake.take(LARGE, messages(b"1", b"2", channel=b"feed:%c" % name), True)
    await asyncio.sleep(0)
    monkeypatch.setattr(intake_module, "SLICE_SECONDS", 1e-9)
    told = []
    for _ in range(5):
        await asyncio.sleep(0)
        told.append((sum(map(bool, rig.written)), rig.paused[-1:]))
    assert told == [(1, [True]), (2, [True]), (3, [True]), (4, [False]), (4, [False])]
    assert rig.written == [[b"1\n2\n"]] * 4


async def test_gathered_messages_have_their_numbers_at_once(hub: Hub) -> None:
    """A client that joins while they wait gets what the journal has, and none of it twice."""
    rig = Rig(hub)
    rig.intake.take(LARGE, messages(b"1", b"2"), True)
    assert (rig.journal.last, rig.written[0]) == (2, [])
    late = FakeClient()
    hub.router.join(late.subscriber, b"feed:a")
    assert (late.written, rig.written[0]) == ([], [b"1\n2\n"])
    rig.intake.deliver_gathered()
    assert (late.written, rig.written[0]) == ([], [b"1\n2\n"])


async def test_what_was_gathered_can_be_delivered_at_once(hub: Hub) -> None:
    """Before reads are withheld, for what is withheld comes after it; then nothing is left to do."""
    rig = Rig(hub)
    rig.intake.take(LARGE, messages(b"1"), True)
    rig.intake.deliver_gathered()
    rig.intake.deliver_gathered()
    await asyncio.sleep(0)
    assert (rig.written[0], rig.paused) == ([b"1\n"], [False])


async def test_redis_is_read_from_now_and_then(hub: Hub) -> None:
    """A read that comes alone is no reason to wait; after one that follows closely nothing is read for a while."""
    rig = Rig(hub, 10)
    rig.intake.take(b".", messages(b"1"), True)
    assert rig.paused == []
    rig.intake.take(b".", messages(b"2"), True)
    assert (rig.paused, rig.written[0]) == ([True], [b"1\n", b"2\n"])
    rig.intake.close()
    rig = Rig(hub, 0.001)
    while not rig.paused:
        rig.intake.take(b".", messages(b"3"), True)
    await until(lambda: rig.paused == [True, False])
    rig.intake.close()


async def test_the_process_decides_by_what_is_heard(hub: Hub) -> None:
    """It waits while nine of ten messages have no listener here, and no longer."""
    rig = Rig(hub, None)

    def waits(heard: int) -> bool:
        """Take messages of which so many of ten are heard, until it has decided; tell whether it waits from then on."""
        for _ in range(2):
            rig.paused.clear()
            for number in range(AUTO_MESSAGES):
                rig.intake.take(b".", messages(b"1", channel=b"feed:a" if number % 10 < heard else b"feed:z"), True)
        return bool(rig.paused)

    assert [waits(heard) for heard in (10, 1, 2, 0)] == [False, True, False, True]
    rig.intake.close()


async def test_what_is_waited_for_ends_with_the_process(hub: Hub) -> None:
    """The timer is stopped, and what was gathered is delivered."""
    rig = Rig(hub, 3600)
    rig.intake.take(LARGE, messages(b"1"), True)
    rig.intake.close()
    rig.intake.take(b".", messages(b"2"), True)
    rig.intake.take(b".", messages(b"3"), True)
    assert rig.written[0] == [b"1\n", b"2\n", b"3\n"]
    timer = rig.intake._timer
    assert timer is not None
    rig.intake.close()
    assert timer.cancelled()
