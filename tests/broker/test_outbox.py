"""What is published while Redis keeps up, does not keep up, is away, or is not there yet."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest
import redis

from mux.broker import broker as broker_module
from mux.broker.connection import MAX_UNANSWERED_BYTES
from mux.broker.gap import Gap
from mux.broker.holding import CONNECTED_BYTES, Command, Holding
from mux.errors import BrokerBusy, BrokerError, BrokerLost, BrokerRefused, BrokerUnavailable
from mux.serve.embedded import embedded_server
from mux.wire.resp import Reply
from tests.broker.test_broker import broker_on, make_broker, scripted_redis
from tests.chaos.traffic import post
from tests.support.servers import serving, until

LARGE = b"x" * 65_000


@pytest.fixture
def own_redis() -> Iterator[str]:
    """Return the URL of a Valkey that a test may break."""
    with embedded_server() as url:
        yield url


async def test_large_messages_are_paced_so_that_redis_closes_nobody(own_redis: str) -> None:
    """Fifty clients that published 64 KB messages had 64 MB on their way; Redis closes a subscriber over 32."""
    gaps: list[Gap] = []
    with redis.Redis.from_url(own_redis) as control:
        control.config_set("client-output-buffer-limit", "pubsub 8388608 4194304 1")
        async with broker_on(own_redis, gaps=gaps) as (broker, heard):
            await asyncio.gather(*(broker.outbox.publish(b"feed:x", LARGE, is_patient=True) for _ in range(400)))
            await heard.wait_for(400)
    assert gaps == []


async def test_who_sends_is_told_only_when_redis_does_not_take_it(own_redis: str) -> None:
    """Nearly every message of a client is taken, and nobody is called for it."""
    refused: list[tuple[object, BrokerError]] = []
    with redis.Redis.from_url(own_redis) as control:
        async with broker_on(own_redis) as (broker, heard):
            broker.outbox.on_refused = lambda sender, error: refused.append((sender, error))
            broker.outbox.send_from("one", b"feed:x", b"hello")
            await heard.wait_for(1)
            await until(lambda: broker.outbox.published == 1)
            assert refused == []
            control.acl_setuser("default", enabled=True, nopass=True, commands=["+@all", "-publish"], channels=["*"])
            broker.outbox.send_from("other", b"feed:x", b"hello")
            await until(lambda: refused)
    [(sender, error)] = refused
    assert sender == "other"
    assert isinstance(error, BrokerRefused)
    assert broker.outbox.refused == {"redis_refused": 1}


async def test_what_was_held_is_sent_paced_and_in_order(own_redis: str) -> None:
    """All at once it filled the output buffer, and the new connection was closed as soon as it was made."""
    gaps: list[Gap] = []
    with redis.Redis.from_url(own_redis) as control:
        control.config_set("client-output-buffer-limit", "pubsub 8388608 4194304 1")
        pid = int(control.info("server")["process_id"])
        bound = 1000 * len(LARGE)
        async with broker_on(own_redis, gaps=gaps, max_held_seconds=60, max_held_bytes=bound) as (broker, heard):
            os.kill(pid, signal.SIGSTOP)
            assert broker._connection is not None
            broker._connection.abort()
            await until(lambda: not broker.is_connected)
            publishing = [asyncio.create_task(broker.outbox.publish(b"feed:x", b"%d " % n + LARGE)) for n in range(400)]
            await asyncio.sleep(0)
            os.kill(pid, signal.SIGCONT)
            await asyncio.gather(*publishing)
            await heard.wait_for(400)
            assert [int(payload.split()[0]) for _, payload in heard.messages] == list(range(400))
    assert len(gaps) == 1


async def test_bytes_that_wait_for_a_slow_redis_are_bounded(own_redis: str) -> None:
    """A sender over the bound is told at once that nothing was sent; the queue had no end while Redis was there."""
    with redis.Redis.from_url(own_redis) as control:
        pid = int(control.info("server")["process_id"])
        async with broker_on(own_redis) as (broker, heard):
            os.kill(pid, signal.SIGSTOP)
            replies: list[Reply] = []
            for _ in range(400):
                broker.outbox.send(b"feed:x", LARGE, replies.append)
                await asyncio.sleep(0)
            refused = len(replies)
            assert {type(reply) for reply in replies} == {BrokerUnavailable}
            assert not broker.outbox.is_writable
            assert broker.outbox._holding.bytes <= CONNECTED_BYTES
            patient = asyncio.create_task(broker.outbox.publish(b"feed:x", b"patient", is_patient=True))
            broker.outbox.announce(b"feed:x", b"announcement")
            broker.outbox.send_aside(b"feed:x", b"aside")
            os.kill(pid, signal.SIGCONT)
            await patient
            await until(lambda: len(replies) == 400)
            assert broker.outbox.refused == {"redis_unavailable": refused, "announcement": 1}
            assert len(await heard.wait_for(400 - refused + 1)) == 400 - refused + 1
            assert heard.messages[-1] == (b"feed:x", b"patient")


async def test_posts_over_the_bound_are_answered_503_while_redis_does_not_keep_up(own_redis: str) -> None:
    """Every body was kept for as long as Redis took nothing, however many there were."""
    with redis.Redis.from_url(own_redis) as control:
        pid = int(control.info("server")["process_id"])
        async with serving(redis_url=own_redis) as feed:
            os.kill(pid, signal.SIGSTOP)
            posts = [asyncio.create_task(post(feed.port, "lobby", LARGE)) for _ in range(150)]
            taken = (CONNECTED_BYTES + MAX_UNANSWERED_BYTES) // len(LARGE) + 2
            await until(lambda: sum(one.done() for one in posts) >= 150 - taken)
            assert feed.mux._core.broker.outbox._holding.bytes <= CONNECTED_BYTES
            os.kill(pid, signal.SIGCONT)
            statuses = await asyncio.gather(*posts)
            assert set(statuses) == {204, 503}
            assert statuses.count(204) <= taken


async def test_a_long_queue_is_taken_from_one_by_one(own_redis: str) -> None:
    """What was left was copied at each answer: with 12,000 messages 36 million places of a list."""
    looked_at = 0

    class Counting(Holding):
        def take(self, max_commands: int, max_bytes: int) -> list[Command]:
            nonlocal looked_at
            taken = super().take(max_commands, max_bytes)
            looked_at += 1 + len(taken)
            return taken

    async with broker_on(own_redis) as (broker, heard):
        broker.outbox._holding = Counting(max_bytes=2**23, max_seconds=0)
        await asyncio.gather(*(broker.outbox.publish(b"feed:x", b"") for _ in range(12_000)))
        await heard.wait_for(12_000)
        assert looked_at < 3 * 12_000


async def test_announcements_are_dropped_and_counted_while_redis_is_away(free_port: int) -> None:
    """Held, those of a storm of reconnects filled the holding, and every client that published was closed."""
    async with broker_on(f"redis://127.0.0.1:{free_port}", max_held_seconds=60, max_held_bytes=1000) as (broker, _):
        for _ in range(100):
            broker.outbox.announce(b"feed:x", b"Client has joined")
        held = asyncio.create_task(broker.outbox.publish(b"feed:x", b"x" * 500))
        await asyncio.sleep(0)
        assert not held.done()
        assert broker.outbox.refused == {"announcement": 100}
        held.cancel()


@pytest.mark.parametrize("max_held_seconds", [0, 60])
async def test_what_meets_a_lost_connection_is_not_said_to_be_sent(own_redis: str, max_held_seconds: float) -> None:
    """A connection that is about to end takes nothing: what was not sent is held, or said not to be."""
    async with broker_on(own_redis, max_held_seconds=max_held_seconds) as (broker, heard):
        assert broker._connection is not None
        broker._connection.abort()
        result = (await asyncio.gather(broker.outbox.publish(b"feed:x", b"late"), return_exceptions=True))[0]
        if max_held_seconds:
            assert result is None
            assert await heard.wait_for(1) == [(b"feed:x", b"late")]
        else:
            assert isinstance(result, BrokerUnavailable)


@pytest.mark.parametrize(("seconds", "words"), [(0, "no connection"), (0.05, r"within 0\.05 s")])
async def test_a_publish_that_was_given_up_is_not_sent_later(
    own_redis: str, monkeypatch: pytest.MonkeyPatch, seconds: float, words: str
) -> None:
    """While Redis was away it waited 5 s, and when it was cancelled the message was sent all the same."""
    async with broker_on(own_redis, max_held_seconds=60) as (broker, heard):
        assert broker._connection is not None
        broker._connection.abort()
        cancelled = asyncio.create_task(broker.outbox.publish(b"feed:x", b"cancelled"))
        await asyncio.sleep(0)
        cancelled.cancel()
        monkeypatch.setattr(broker, "_open", _never)
        await until(lambda: not broker.is_connected)
        with pytest.raises(BrokerUnavailable, match=words):
            await broker.outbox.publish(b"feed:x", b"given up", timeout_seconds=seconds)
        monkeypatch.undo()
        await broker.outbox.publish(b"feed:x", b"meant")
        assert await heard.wait_for(1) == [(b"feed:x", b"meant")]


async def _never() -> None:
    raise BrokerUnavailable("away")


async def test_a_publish_that_was_sent_and_not_answered_in_time_is_said_to_be_uncertain(own_redis: str) -> None:
    """Redis may have it."""
    with redis.Redis.from_url(own_redis) as control:
        pid = int(control.info("server")["process_id"])
        async with broker_on(own_redis) as (broker, heard):
            await broker.outbox.publish(b"feed:x", b"now", timeout_seconds=0)
            os.kill(pid, signal.SIGSTOP)
            with pytest.raises(BrokerLost, match="may be published"):
                await broker.outbox.publish(b"feed:x", b"who knows", timeout_seconds=0.05)
            os.kill(pid, signal.SIGCONT)
            await heard.wait_for(2)


async def test_nothing_is_published_before_the_start_and_after_the_end(redis_url: str) -> None:
    """It once waited for a connection that nobody was making."""
    broker = make_broker(redis_url, max_held_seconds=60)
    with pytest.raises(BrokerUnavailable, match="not started"):
        await broker.outbox.publish(b"feed:x", b"early")
    await broker.start()
    await broker.aclose()
    with pytest.raises(BrokerUnavailable, match="ended"):
        await broker.outbox.publish(b"feed:x", b"late", timeout_seconds=0)


async def test_what_redis_does_not_take_for_now_may_be_sent_again(own_redis: str) -> None:
    """A script that runs for long, a server that loads: nobody has to do anything about it, so it is no refusal."""
    with redis.Redis.from_url(own_redis) as control, redis.Redis.from_url(own_redis) as other:
        control.config_set("busy-reply-threshold", 1)
        async with broker_on(own_redis) as (broker, _):
            script = asyncio.create_task(asyncio.to_thread(_run, other, "while true do end"))
            busy = None
            while not isinstance(busy, BrokerBusy):
                busy = (await asyncio.gather(broker.outbox.publish(b"feed:x", b"hi"), return_exceptions=True))[0]
            control.script_kill()
            await script
            await broker.outbox.publish(b"feed:x", b"hi")


def _run(control: redis.Redis, script: str) -> None:
    with pytest.raises(redis.ResponseError):
        control.eval(script, 0)


async def test_garbage_in_place_of_the_subscription_is_tried_again() -> None:
    """It cancelled the future that was awaited, so that the task that keeps us connected counted as cancelled."""
    async with scripted_redis(subscribed=b"?!\r\n") as url, broker_on(url) as (broker, _):
        await until(lambda: broker.is_connected)


@pytest.mark.parametrize("how", ["cancelled", "failed"])
async def test_whatever_ends_the_task_that_connects_is_a_failure(
    own_redis: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """It is logged, readiness goes down, and it begins anew; a cancellation once passed without a word."""
    monkeypatch.setattr(broker_module, "LAST_RETRY_SECONDS", 0.05)
    gaps: list[Gap] = []
    async with broker_on(own_redis, gaps=gaps) as (broker, heard):
        assert broker._task is not None
        assert broker._connection is not None
        if how == "cancelled":
            broker._task.cancel()
        else:
            monkeypatch.setattr(broker, "_open", lambda: 1 / 0)
            broker._connection.abort()
        await until(lambda: any(record.levelname == "CRITICAL" for record in caplog.records))
        assert not broker.is_connected
        monkeypatch.undo()
        await until(lambda: gaps and broker.is_connected)
        broker.outbox.send(b"feed:x", b"back", lambda reply: None)
        assert await heard.wait_for(1) == [(b"feed:x", b"back")]
