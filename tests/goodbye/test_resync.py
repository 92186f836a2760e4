"""What happens to clients after a gap."""

from __future__ import annotations

import asyncio

import pytest
import redis
from websockets.exceptions import ConnectionClosed

from mux import Gap
from tests.support.servers import PATIENCE_SECONDS, receive, serving, until


async def test_clients_are_kept_and_the_app_is_told(
    redis_url: str, prefix: str, publisher: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """Callbacks get a gap, functions and coroutines alike; one that fails is logged, one that does not end is ended."""
    async with serving(redis_url=redis_url, prefix=prefix) as feed, feed.connect() as client:
        gaps: list[Gap] = []

        @feed.mux.on_gap
        def fail(gap: Gap) -> None:
            raise ZeroDivisionError

        @feed.mux.on_gap
        async def fail_later(gap: Gap) -> None:
            await feed.mux.publish("gaps", f"{gap.number}")
            raise ZeroDivisionError

        @feed.mux.on_gap
        async def wait_for_ever(gap: Gap) -> None:
            await asyncio.Event().wait()

        feed.mux.on_gap(gaps.append)
        async with feed.connect("gaps") as told:
            publisher.client_kill_filter(skipme=True, _type="pubsub")
            await until(lambda: gaps)
            assert await receive(told, 1) == ["1"]
        await client.send("still here")
        assert await receive(client, 1) == ["still here"]
        assert gaps[0].seconds > 0
    assert [record.message for record in caplog.records if record.exc_info] == ["a callback of on_gap failed"] * 2


async def test_a_round_that_fails_is_logged(
    redis_url: str, prefix: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody looked at how its task ended, so that clients who were not told could not be known of."""
    async with serving(redis_url=redis_url, prefix=prefix, drain_seconds=0) as feed, feed.connect():
        (client,) = feed.mux._core.hub.open_connections()
        with monkeypatch.context() as broken:
            broken.setattr(client.endpoint, "close", None)
            feed.mux._core._goodbyes.resync()
            await until(lambda: caplog.records)
    assert "not every client was told" in caplog.records[0].message


async def test_clients_are_closed_to_read_anew(redis_url: str, prefix: str, publisher: redis.Redis) -> None:
    """With on_gap=close everybody gets 1012, and a second gap in the middle of it does not stop it."""
    async with serving(redis_url=redis_url, prefix=prefix, drain_seconds=0.5, on_gap="close") as feed:
        clients = [await feed.connect() for _ in range(20)]
        for number in (1, 2):
            publisher.client_kill_filter(skipme=True, _type="pubsub")
            await until(lambda number=number: feed.mux._core.broker.gaps == number)  # type: ignore[misc]
        for client in clients:
            with pytest.raises(ConnectionClosed) as closed:
                await asyncio.wait_for(client.recv(), PATIENCE_SECONDS)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
        async with feed.connect() as newcomer:
            await newcomer.send("anew")
            assert await receive(newcomer, 1) == ["anew"]
