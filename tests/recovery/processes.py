"""What each process of a fleet has of the journal and the order, over real sockets, in one event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import redis

from mux.broker.broker import Broker
from mux.broker.gap import Gap
from mux.broker.holding import Holding
from mux.broker.location import parse_location
from mux.hub.hub import Hub
from mux.intake import BatchIntake
from mux.journal.journal import Journal
from mux.journal.quiet import Quiet
from mux.recovery.recovery import Recovery
from mux.wire.channel import Namespace
from tests.hub.fakes import FakeClient
from tests.support.servers import until

ROOM = b"feed:room"
"""The Redis channel that the client of every process listens to."""


class Process:
    """One process: a connection, a journal, a place in the order, and one client."""

    def __init__(self, url: str, *, journal_bytes: int = 2**22, prefix: str = "feed:") -> None:
        namespace = Namespace(prefix)
        self.hub = Hub(max_pending_bytes=1 << 26, max_unwritable_seconds=10, ping_seconds=25, pong_seconds=10)
        self.journal = Journal(max_bytes=journal_bytes, max_seconds=3600, talk=namespace.redis_channel(b"$"))
        self.intake = BatchIntake(self.hub, self.journal)
        self.recovery = Recovery(self.intake, self.journal, self.hub.router, namespace, Quiet(), rank=lambda mark: 0)
        self.gaps: list[Gap] = []
        self.broker = Broker(
            parse_location(url),
            namespace.pattern,
            probe_prefix=namespace.redis_channel(b"$probe:"),
            probe_seconds=5,
            holding=Holding(max_bytes=2**20, max_seconds=5),
            on_read=self.intake.take,
            on_writable=lambda: None,
            on_gap=self.gaps.append,
            recovery=self.recovery,
        )
        self.client = FakeClient()
        self.hub.router.join(self.client.subscriber, ROOM)

    @property
    def received(self) -> list[str]:
        """What the client was sent."""
        return b"".join(self.client.written).decode().split()

    @property
    def position(self) -> tuple[str, int]:
        """The epoch and number of the last message that was delivered here."""
        return self.recovery.order.epoch, self.recovery.order.base + self.journal.last

    def client_id(self) -> int:
        """What Redis calls the connection."""
        connection = self.recovery._connection
        assert connection is not None
        return connection.client_id


@asynccontextmanager
async def process(url: str, **options: object) -> AsyncIterator[Process]:
    """Run a process until the block ends; it has its place when the block begins."""
    one = Process(url, **options)  # type: ignore[arg-type]
    one.recovery.start(one.broker)
    await one.broker.start()
    try:
        await until(lambda: one.recovery.order.is_placed and one.recovery.is_warm)
        yield one
    finally:
        await one.recovery.aclose()
        await one.broker.aclose()


async def publish(control: redis.Redis, first: int, last: int, channel: bytes = ROOM) -> None:
    """Publish numbers as another client of Redis does."""
    with control.pipeline(transaction=False) as pipeline:
        for number in range(first, last + 1):
            pipeline.publish(channel, b"%d" % number)
        pipeline.execute()


def numbers(first: int, last: int) -> list[str]:
    """Return what a client gets when publish() was called."""
    return [str(number) for number in range(first, last + 1)]


async def cut(control: redis.Redis, *victims: Process, missed: tuple[int, int] | None = None) -> None:
    """Have Redis close the connections of processes, and take messages before any of them can be back."""
    with control.pipeline(transaction=True) as pipeline:
        for victim in victims:
            pipeline.client_kill_filter(_id=str(victim.client_id()))
        for number in range(missed[0], missed[1] + 1) if missed else ():
            pipeline.publish(ROOM, b"%d" % number)
        pipeline.execute()
    await until(lambda: all(victim.broker.reconnects for victim in victims))


async def agreed(last: int, *processes: Process) -> None:
    """Wait until the clients of all have got the last message, and all say that it has the same position."""
    await until(lambda: all(one.received[-1:] == [str(last)] for one in processes))
    await until(lambda: len({one.position for one in processes}) == 1 and processes[0].recovery.order.is_placed)
