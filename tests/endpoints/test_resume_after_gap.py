"""When every process has lost its connection at once nobody knows what passed, and no client is told half of it."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
import redis

from mux.broker.gap import Gap
from tests.support.resuming import Resumer, following
from tests.support.servers import Serving, serving, until


def client_id(feed: Serving) -> str:
    """Return what Redis calls the connection of a process."""
    recovery = feed.mux._core._recovery
    assert recovery is not None
    assert recovery._connection is not None
    return str(recovery._connection.client_id)


@pytest.mark.parametrize("away", [False, True], ids=["there", "away"])
async def test_all_connections_are_cut(redis_url: str, prefix: str, publisher: redis.Redis, away: bool) -> None:
    """A client that was there comes back for the gap, one that was away comes later; neither resumes half of it."""
    channel = f"{prefix}lobby"
    gaps: list[Gap] = []
    async with AsyncExitStack() as stack:
        fleet = [
            await stack.enter_async_context(serving(redis_url=redis_url, prefix=prefix, on_gap="close"))
            for _ in range(2)
        ]
        clients = [Resumer(feed.url(scheme="http")) for feed in fleet]
        for feed in fleet:
            feed.mux.on_gap(gaps.append)
            recovery = feed.mux._core._recovery
            assert recovery is not None
            await until(lambda: recovery.order.is_placed)  # noqa: B023 - waited for here
        async with following(*clients):
            await until(lambda: all(len(feed.mux._core.hub) == 1 for feed in fleet))
            for number in range(1, 6):
                publisher.publish(channel, str(number))
            for client in clients:
                await client.until(5)
            if not away:
                cut(publisher, channel, fleet)
                await until(lambda: all(client.missed for client in clients))
        if away:
            cut(publisher, channel, fleet)
            await until(lambda: len(gaps) == len(fleet))
        async with following(*clients):
            await until(lambda: all(client.missed for client in clients))
            for number in range(8, 11):
                publisher.publish(channel, str(number))
            for client in clients:
                await client.until(10)
    assert len(gaps) == len(fleet)
    assert all(gap.missed is None for gap in gaps)
    for client in clients:
        assert set(client.missed) <= {"other_epoch", "no_order"}
        assert client.heard == [1, 2, 3, 4, 5, 8, 9, 10], "of what was missed nothing is told, as not all is known"


def cut(publisher: redis.Redis, channel: str, fleet: list[Serving]) -> None:
    """Have Redis close every connection, and take two messages before any of them can be back."""
    with publisher.pipeline(transaction=True) as pipeline:
        for feed in fleet:
            pipeline.client_kill_filter(_id=client_id(feed))
        for number in (6, 7):
            pipeline.publish(channel, str(number))
        pipeline.execute()
