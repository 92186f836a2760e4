"""SDK clients when messages may have been missed, and when much was."""

from __future__ import annotations

import asyncio

import pytest
import redis

from mux import CommandFailed, RpcCall
from mux.errors import InvalidSetting
from mux.grants.grants import Action
from tests.support.sdk import sdk_client, sdk_socket
from tests.support.servers import serving, until


async def test_a_gap_ends_subscriptions(redis_url: str, prefix: str, publisher: redis.Redis) -> None:
    """The client subscribes anew with the last position that was true, and is told that it was not recovered."""
    async with serving(redis_url=redis_url, prefix=prefix, sdk=True) as served, sdk_client(served.port, "a") as client:
        publisher.publish(f"{prefix}a", "1")
        (first,) = await client.pushes("pub", 1)
        epoch = client.messages[1]["subscribe"]["epoch"]
        recovery = served.mux._core._recovery
        assert recovery is not None
        assert recovery._connection is not None
        with publisher.pipeline(transaction=True) as pipeline:
            pipeline.client_kill_filter(_id=str(recovery._connection.client_id))
            pipeline.publish(f"{prefix}a", "2")
            pipeline.execute()
        (ended,) = await client.pushes("unsubscribe", 1)
        assert (ended["channel"], ended["code"]) == ("a", 2500)
        assert ended["reason"]
        position = {"recover": True, "offset": first["offset"], "epoch": epoch}
        refused, again = await client.ask(
            {"subscribe": {"channel": "a", **position, "flag": 2}}, {"subscribe": {"channel": "a", **position}}
        )
        assert refused["error"]["code"] == 112
        assert again["subscribe"]["was_recovering"] is True
        assert "recovered" not in again["subscribe"]
        publisher.publish(f"{prefix}a", "3")
        assert [push["data"] for push in await client.pushes("pub", 2)] == [1, 3]


async def test_much_is_given_as_the_client_takes_it(redis_url: str, prefix: str, publisher: redis.Redis) -> None:
    """More than may wait for a client follows the reply, in order and once, with what comes meanwhile."""
    async with serving(redis_url=redis_url, prefix=prefix, sdk=True) as served, sdk_client(served.port, "a") as client:
        publisher.publish(f"{prefix}a", '"first"')
        (first,) = await client.pushes("pub", 1)
        epoch = client.messages[1]["subscribe"]["epoch"]
        await client.ask({"unsubscribe": {"channel": "a"}})
        async with sdk_client(served.port, "a") as other:
            for number in range(400):
                publisher.publish(f"{prefix}a", f'["{"x" * 2000}",{number}]')
            await other.pushes("pub", 400)
        asked = {"channel": "a", "recover": True, "offset": first["offset"], "epoch": epoch}
        (number,) = await client.send({"subscribe": asked})
        publisher.publish(f"{prefix}a", '["",400]')
        reply = (await client.reply(number))["subscribe"]
        assert (reply["recovered"], reply["offset"]) == (True, first["offset"])
        assert "publications" not in reply
        pushes = (await client.pushes("pub", 402))[1:]
        assert [push["data"][1] for push in pushes] == list(range(401))
        assert [push["offset"] for push in pushes] == sorted({push["offset"] for push in pushes})
        await client.ask({"publish": {"channel": "a", "data": ["", 401]}})
        assert (await client.pushes("pub", 403))[-1]["data"][1] == 401


async def test_without_a_journal_there_are_no_positions(redis_url: str, prefix: str, publisher: redis.Redis) -> None:
    """The replies say so, and whoever wants to go on is told that it cannot."""
    async with (
        serving(redis_url=redis_url, prefix=prefix, sdk=True, journal_bytes=0) as served,
        sdk_client(served.port) as client,
    ):
        first, again, past = await client.ask(
            {"subscribe": {"channel": "a"}},
            {"subscribe": {"channel": "b", "recover": True, "offset": 1, "epoch": "x"}},
            {"history": {"channel": "a", "limit": 1}},
        )
        assert (first["subscribe"], again["subscribe"]) == ({}, {"was_recovering": True})
        assert past["error"]["code"] == 108
        publisher.publish(f"{prefix}a", "1")
        assert await client.pushes("pub", 1) == [{"channel": "a", "data": 1}]
        publisher.client_kill_filter(skipme=True, _type="pubsub")
        assert {push["channel"] for push in await client.pushes("unsubscribe", 2)} == {"a", "b"}


async def test_an_app_decides(redis_url: str, prefix: str) -> None:
    """Its hooks are asked for every channel, and its functions are called by name."""
    async with serving(redis_url=redis_url, prefix=prefix, sdk=True) as served:
        mux = served.mux

        @mux.authorize
        async def authorize(request: object, channel: str, action: str) -> bool:
            return (channel == "open" and action == Action.SUBSCRIBE.value) or channel == "both"

        @mux.on_message
        def on_message(message: object) -> str | None:
            return None

        @mux.rpc("add")
        async def add(call: RpcCall) -> object:
            return sum(call.data)

        @mux.rpc("fail")
        def fail(call: RpcCall) -> object:
            raise ZeroDivisionError

        @mux.rpc("refuse")
        def refuse(call: RpcCall) -> object:
            raise CommandFailed(450)

        with pytest.raises(InvalidSetting, match="another function"):
            mux.rpc("add")(fail)
        async with sdk_socket(served.port) as client:
            replies = await client.ask(
                {"connect": {}},
                {"subscribe": {"channel": "open"}},
                {"subscribe": {"channel": "closed"}},
                {"publish": {"channel": "open", "data": 1}},
                {"publish": {"channel": "both", "data": 1}},
                {"history": {"channel": "closed"}},
                {"rpc": {"method": "add", "data": [1, 2]}},
                {"rpc": {"method": "fail"}},
                {"rpc": {"method": "none"}},
                {"rpc": {"method": "refuse"}},
            )
            codes = [reply.get("error", {}).get("code") for reply in replies]
            assert codes == [None, None, 103, 103, None, 103, None, 100, 108, 450]
            assert replies[6]["rpc"] == {"data": 3}


async def test_a_drain_tells_clients_to_come_back(redis_url: str, prefix: str) -> None:
    """Those in no channel as well."""
    async with (
        serving(redis_url=redis_url, prefix=prefix, sdk=True, drain_seconds=0) as served,
        sdk_client(served.port, "a") as one,
        sdk_client(served.port) as other,
    ):
        await until(lambda: len(served.mux._core.hub) == 2)
        draining = asyncio.create_task(served.mux.drain())
        assert [await one.closed(), await other.closed()] == [(3001, "the server is going away")] * 2
        await draining
