"""The SDKs of others, unmodified, against `mux serve` with two workers: what each does when nothing breaks."""

from __future__ import annotations

import itertools
import json
import time

import pytest
from redis.asyncio import Redis

from tests.sdk.conftest import Rig
from tests.sdk.driver import Driver, Refusal
from tests.support.servers import receive
from tests.support.tokens import secret_token

_numbers = itertools.count()

MANY = 300


@pytest.fixture
def channel() -> str:
    """Return a channel of no other test."""
    return f"talk:{next(_numbers)}"


async def publish(publisher: Redis, channel: str, *payloads: str | bytes) -> None:
    """Publish as any client of Redis does."""
    pipeline = publisher.pipeline(transaction=False)
    for payload in payloads:
        pipeline.publish(f"feed:{channel}", payload)
    await pipeline.execute()


async def test_three_hundred_channels_on_one_socket(rig: Rig, driver: Driver, channel: str) -> None:
    """Each is subscribed once, and hears its own message and no other."""
    client = driver.client(rig.port)
    channels = [f"{channel}:{number}" for number in range(MANY)]
    client.tell("subscribe", *channels)
    subscribed = await client.until("subscribed", MANY)
    assert sorted(event["channel"] for event in subscribed) == sorted(channels)
    pipeline = rig.publisher.pipeline(transaction=False)
    for name in channels:
        pipeline.publish(f"feed:{name}", json.dumps({"of": name}))
    await pipeline.execute()
    heard = await client.until("publication", MANY)
    assert {event["channel"]: event["data"] for event in heard} == {name: {"of": name} for name in channels}
    assert len(heard) == MANY
    assert len(client.found("connected")) == 1


async def test_everybody_hears_what_anybody_publishes(rig: Rig, driver: Driver, channel: str) -> None:
    """An SDK, a plain WebSocket and a raw PUBLISH are heard by each other in one order."""
    client = driver.client(rig.port)
    await client.subscribe(channel)
    async with rig.server.connect(channel) as plain:
        assert "has joined" in str((await receive(plain, 1))[0])
        await client.ask("publish", channel, items=[{"n": n, "umlaut": "ü"} for n in range(50)])
        await plain.send('{"n":50}')
        texts = await receive(plain, 51)
        await publish(rig.publisher, channel, '{\n  "n": 51\n}')
        texts += await receive(plain, 1)
        heard = await client.data(channel, 52)
    assert [json.loads(text) for text in texts] == heard
    assert [message["n"] for message in heard] == list(range(52))
    assert heard[0] == {"n": 0, "umlaut": "ü"}


async def test_what_is_no_json_disconnects_nobody(rig: Rig, driver: Driver, channel: str) -> None:
    """Text arrives as a string, and bytes as base64 under a name."""
    client = driver.client(rig.port)
    await client.subscribe(channel)
    await publish(rig.publisher, channel, "plain\ntext", b"\xff\x00", '{"broken": ', "1e999", "last")
    heard = await client.data(channel, 5)
    assert heard[0] == "plain\ntext"
    assert heard[1] == {"b64": "/wA="}
    assert heard[2] == '{"broken": '
    assert heard[4] == "last"
    assert not client.found("disconnected")


async def test_presence_joins_and_leaves(rig: Rig, driver: Driver, channel: str) -> None:
    """Who is there is the same for all workers, and whoever asks for it is told who comes and goes."""
    token = secret_token("ada", subscribe=("*",), publish=("*",))
    first = driver.client(rig.port, token=token)
    await first.subscribe(channel, joinLeave=True)
    (own,) = await first.until("join", channel=channel)
    second = driver.client(rig.port)
    await second.subscribe(channel)
    _, joined = await first.until("join", 2, channel=channel)
    people = await second.ask("presence", channel)
    assert {person["client"] for person in people.values()} == {own["info"]["client"], joined["info"]["client"]}
    assert sorted(person["user"] for person in people.values()) == ["", "ada"]
    assert await first.ask("presenceStats", channel) == 2
    second.tell("disconnect")
    (left,) = await first.until("leave", channel=channel)
    assert left["info"]["client"] == joined["info"]["client"]


async def test_history(rig: Rig, driver: Driver, channel: str) -> None:
    """It begins with the oldest, or the newest, and its last offset is the channel's position."""
    client = driver.client(rig.port)
    await client.subscribe(channel, recoverable=True)
    await client.ask("publish", channel, items=list(range(5)))
    await client.data(channel, 5)
    every = await client.ask("history", channel, limit=-1)
    assert [found["data"] for found in every["publications"]] == [0, 1, 2, 3, 4]
    offsets = [found["offset"] for found in every["publications"]]
    assert offsets == sorted(set(offsets))
    newest = await client.ask("history", channel, limit=2, reverse=True)
    assert [found["data"] for found in newest["publications"]] == [4, 3]
    assert (await client.ask("history", channel, limit=0))["publications"] == []


async def test_unsubscribe_in_flight(rig: Rig, driver: Driver, channel: str) -> None:
    """Leaving before the subscription is answered leaves, and coming back ends with one subscription."""
    client = driver.client(rig.port)
    await client.until("connected")
    for count in range(1, 4):
        client.tell("subscribe", channel)
        client.tell("unsubscribe", channel)
        await client.until("unsubscribed", count)
        # A question comes behind them in the order of the connection. Without it the SDK of Go would take the first
        # subscription for the next one, whatever the server does.
        await client.ask("publish", f"{channel}:other", items=["to nobody"])
    before = len(client.found("subscribed"))
    client.tell("subscribe", channel)
    await client.until("subscribed", before + 1)
    await client.ask("publish", channel, items=["first", "last"])
    assert await client.data(channel, 2) == ["first", "last"]
    assert len(client.found("connected")) == 1


async def test_garbage_for_a_token_is_final(rig: Rig, driver: Driver) -> None:
    """The SDK does not come back with it."""
    client = driver.client(rig.port, token="garbage")
    (event,) = await client.until("disconnected")
    assert event["code"] == 3500


async def test_a_token_that_is_over_is_replaced(rig: Rig, driver: Driver, channel: str) -> None:
    """The SDK asks the application for another, and is let in with it."""
    good = secret_token("ada", subscribe=("*",), publish=("*",))
    client = driver.client(rig.port, token=secret_token(exp=int(time.time()) - 60), renew=[good])
    await client.until("renews")
    await client.until("connected")
    await client.subscribe(channel)


async def test_a_token_is_refreshed_on_the_same_connection(rig: Rig, driver: Driver, channel: str) -> None:
    """It is asked for when the first ends, and nothing is interrupted."""
    grants = {"subscribe": ("*",), "publish": ("*",)}
    brief = secret_token("ada", **grants, exp=int(time.time()) + 2)
    client = driver.client(rig.port, token=brief, renew=[secret_token("ada", **grants)])
    await client.subscribe(channel)
    await client.until("renews")
    await client.ask("publish", channel, items=["after"])
    assert await client.data(channel, 1) == ["after"]
    assert len(client.found("connected")) == 1
    assert not client.found("disconnected")


async def test_what_a_token_does_not_grant_is_refused(rig: Rig, driver: Driver, channel: str) -> None:
    """A subscription token for another channel, or a name that cannot be, ends that subscription alone."""
    client = driver.client(rig.port, token=secret_token("ada", subscribe=(channel,)))
    client.tell("subscribe", "$reserved")
    await client.until("unsubscribed", channel="$reserved")
    with pytest.raises(Refusal):
        await client.ask("publish", "$reserved", items=[1])
    await client.subscribe(channel)
