"""A gap is told to event streams that stay open."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack

import pytest
import redis
from websockets.asyncio.client import connect

from mux.broker.gap import Gap
from mux.endpoints import gap_news
from mux.endpoints.event_stream import EventStreamClient, EventStreamEndpoint
from tests.command.pseudo_terminal import mux, terminal
from tests.support.event_streams import Event, StreamClient, open_stream, parse
from tests.support.servers import Serving, serving, until


def cut(publisher: redis.Redis, prefix: str, feed: Serving) -> None:
    """Have Redis close the connection of a process, and take a message before it can be back."""
    recovery = feed.mux._core._recovery
    assert recovery is not None
    assert recovery._connection is not None
    with publisher.pipeline(transaction=True) as pipeline:
        pipeline.client_kill_filter(_id=str(recovery._connection.client_id))
        pipeline.publish(f"{prefix}lobby", "missed")
        pipeline.execute()


async def heard(stream: StreamClient, *messages: str) -> list[Event]:
    """Return what a stream has told, once it has got these messages."""
    await stream.until(lambda: [data for name, data in parse(stream.heard).events if name == "message"] == [*messages])
    return parse(stream.heard).events


async def test_open_event_streams_are_told_of_a_gap(redis_url: str, prefix: str, publisher: redis.Redis) -> None:
    """Before the first message behind it, whatever the version of HTTP; WebSockets get messages and nothing else."""
    async with AsyncExitStack() as stack:
        feed = await stack.enter_async_context(serving(redis_url=redis_url, prefix=prefix))
        streams = [
            await stack.enter_async_context(open_stream(feed.port, version=version)) for version in ("1.1", "1.0")
        ]
        websocket = await stack.enter_async_context(connect(feed.url()))
        await until(lambda: feed.mux._core._recovery is not None and feed.mux._core._recovery.order.is_placed)
        await feed.mux.publish("lobby", "before")
        for stream in streams:
            await heard(stream, "before")
        cut(publisher, prefix, feed)
        await until(lambda: feed.mux._core.broker.gaps == 1)
        await feed.mux.publish("lobby", "after")
        for stream in streams:
            told = await heard(stream, "before", "after")
            assert told == [("message", "before"), ("missed", '{"reason":"gap"}'), ("message", "after")]
            assert parse(stream.heard).positions[1] == parse(stream.heard).positions[0], "it has none of its own"
        assert [await websocket.recv(), await websocket.recv()] == ["before", "after"]


async def test_many_are_told_a_few_in_a_turn(feed: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    """No turn of the loop is long; the number of messages that were missed is told where it is known."""
    monkeypatch.setattr(gap_news, "CLIENTS_PER_TURN", 2)
    told: list[EventStreamClient] = []
    turns: list[int] = []
    tell_gap = EventStreamEndpoint.tell_gap

    def note(endpoint: EventStreamEndpoint, client: EventStreamClient, gap: Gap) -> None:
        told.append(client)
        tell_gap(endpoint, client, gap)

    monkeypatch.setattr(EventStreamEndpoint, "tell_gap", note)
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(open_stream(feed.port)) for _ in range(7)]
        feed.mux._core._gap_news.tell(Gap(1, 0.0, 1.0, "closed", "it was closed", missed=57))
        while len(told) < len(streams):
            await asyncio.sleep(0)
            turns.append(len(told))
        assert turns == [2, 4, 6, 7]
        for stream in streams:
            (event,) = await stream.events(1)
            assert event.name == "missed"
            assert json.loads(event.data) == {"reason": "gap", "missed": 57}


async def test_tail_tells_of_a_gap_and_goes_on(feed: Serving) -> None:
    """On standard error, for standard output has the messages."""
    with terminal(*mux("tail", "lobby", "--sse", "--url", f"http://127.0.0.1:{feed.port}")) as shown:
        await until(lambda: len(feed.mux._core.hub) == 1)
        feed.mux._core._after_gap(Gap(1, 0.0, 1.0, "closed", "it was closed", missed=2))
        await asyncio.to_thread(shown.until_shown, "mux: the server missed 2 messages of all channels")
        await feed.mux.publish("lobby", "after")
        await asyncio.to_thread(shown.until_shown, "after")
        shown.type(b"\x03")
        assert await asyncio.to_thread(shown.ended) == 130
