"""SDK clients on a real server: what they send, and what they are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
import redis
from websockets.exceptions import ConnectionClosed

from mux.endpoints.sdk.session import SdkSession
from tests.support.event_streams import open_stream
from tests.support.sdk import SdkSocket, sdk_client, sdk_socket
from tests.support.servers import Serving, receive, serving

CONNECT: dict[str, Any] = {"connect": {}}


def subscribe(channel: str, **more: Any) -> dict[str, Any]:
    """Return the command to subscribe."""
    return {"subscribe": {"channel": channel, **more}}


@pytest.fixture(scope="module")
async def served(redis_url: str) -> AsyncIterator[Serving]:
    """Return a server that the tests of this module share."""
    async with serving(redis_url=redis_url, prefix="sdk:", sdk=True, max_message_bytes=4096) as served:
        yield served


@pytest.fixture
async def client(served: Serving) -> AsyncIterator[SdkSocket]:
    """Return a client that has connected."""
    async with sdk_client(served.port) as client:
        yield client


async def test_a_client_connects_and_subscribes_in_one_frame(served: Serving) -> None:
    """As the JavaScript SDK does; it learns its id, and where each channel is."""
    async with sdk_socket(served.port) as client:
        connected, subscribed, other = await client.ask(CONNECT, subscribe("one"), subscribe("two"))
        assert connected["connect"]["client"]
        assert connected["connect"]["version"].startswith("mux ")
        assert (connected["connect"]["ping"], connected["connect"]["pong"]) == (25, True)
        for reply in (subscribed, other):
            assert reply["subscribe"]["recoverable"] is reply["subscribe"]["positioned"] is True
            assert reply["subscribe"]["epoch"]


async def test_everybody_hears_the_same_order(served: Serving, publisher: redis.Redis) -> None:
    """Plain sockets, event streams, SDK clients, POST and whoever publishes in Redis share a channel."""
    async with (
        sdk_client(served.port, "mixed") as sdk,
        served.connect("mixed") as plain,
        open_stream(served.port, "mixed") as stream,
    ):
        await sdk.ask({"publish": {"channel": "mixed", "data": {"from": "sdk"}}})
        await plain.send('{"from": "plain"}')
        await receive(plain, 2)
        publisher.publish("sdk:mixed", '{"from": "redis"}')
        heard = ['{"from":"sdk"}', '{"from": "plain"}', '{"from": "redis"}']
        assert await receive(plain, 1) == heard[2:]
        assert [event.data for event in await stream.events(3)] == heard
        pushes = await sdk.pushes("pub", 3)
        assert [push["data"] for push in pushes] == [orjson.loads(one) for one in heard]
        offsets = [push["offset"] for push in pushes]
        assert offsets == sorted(set(offsets))


@pytest.mark.parametrize(
    ("payload", "raw"),
    [
        (b'{"a":  1}', '{"a":  1}'),
        (b'{"a":\r\n 1}', '{"a": 1}'),
        (b"42", "42"),
        (b"hello", '"hello"'),
        (b"line\nbreak", r'"line\nbreak"'),
        (b"", '""'),
        (b"\xff\x00", '{"b64":"/wA="}'),
        (rb'"\ud83d"', r'"\ufffd"'),
        (b"NaN", '"NaN"'),
    ],
)
async def test_whatever_is_published_arrives_as_json(
    served: Serving, publisher: redis.Redis, payload: bytes, raw: str
) -> None:
    """JSON as it is, other text as a string, and bytes as base64."""
    async with sdk_client(served.port, "anything") as client:
        publisher.publish("sdk:anything", payload)
        await client.pushes("pub", 1)
        assert f'"data":{raw},"offset":' in client.frames[-1]


async def test_a_client_goes_on_where_it_was(served: Serving, publisher: redis.Redis) -> None:
    """What came meanwhile is in the reply, in order and once, and what follows is pushed."""
    async with sdk_client(served.port, "past") as client:
        publisher.publish("sdk:past", "0")
        (first,) = await client.pushes("pub", 1)
        epoch = client.messages[1]["subscribe"]["epoch"]
        await client.ask({"unsubscribe": {"channel": "past"}})
        for number in range(1, 4):
            publisher.publish("sdk:past", number)
        async with sdk_client(served.port, "past") as other:
            position = {"recover": True, "offset": first["offset"], "epoch": epoch}
            (reply,) = await client.ask(subscribe("past", **position))
            found = reply["subscribe"]
            assert (found["was_recovering"], found["recovered"], found["offset"]) == (True, True, first["offset"])
            assert [one["data"] for one in found["publications"]] == [1, 2, 3]
            publisher.publish("sdk:past", "4")
            assert (await client.pushes("pub", 2))[1]["data"] == 4
            await other.pushes("pub", 1)


@pytest.mark.parametrize("position", [{"epoch": "_", "offset": 1}, {"epoch": "other", "offset": 1}, {"offset": -1}])
async def test_a_position_that_cannot_be_resumed(client: SdkSocket, position: dict[str, Any]) -> None:
    """The client is told so, and where it is now; or with the flag for it, is not let in."""
    asked = {"recover": True, **position}
    refused, reply = await client.ask(subscribe("lost", flag=3, **asked), subscribe("lost", **asked))
    assert refused["error"] == {"code": 112, "message": "unrecoverable position"}
    assert reply["subscribe"]["was_recovering"] is True
    assert "recovered" not in reply["subscribe"]
    assert reply["subscribe"]["epoch"]


async def test_joins_and_leaves_are_told_to_who_asks(redis_url: str, prefix: str) -> None:
    """To others nothing; a client hears of its own join after the reply."""
    async with (
        serving(redis_url=redis_url, prefix=prefix, sdk=True, announce=True) as served,
        sdk_client(served.port, "who") as quiet,
        sdk_client(served.port) as asking,
    ):
        await quiet.ask({"publish": {"channel": "who", "data": 0}})
        await quiet.pushes("pub", 1)  # so its own join has passed
        await asking.ask(subscribe("who", join_leave=True))
        me = asking.messages[0]["connect"]["client"]
        (join,) = await asking.pushes("join", 1)
        assert join["info"] == {"user": "", "client": me}
        async with sdk_client(served.port, "who") as other:
            its = other.messages[0]["connect"]["client"]
            assert (await asking.pushes("join", 2))[1]["info"]["client"] == its
        assert (await asking.pushes("leave", 1))[0]["info"]["client"] == its
        await quiet.ask({"publish": {"channel": "who", "data": 1}})
        await quiet.pushes("pub", 2)
        assert not [message for message in quiet.messages if "join" in message.get("push", {})]
        (presence,) = await quiet.ask({"presence": {"channel": "who"}})
        assert presence["presence"]["presence"][me] == {"user": "", "client": me}
        (stats,) = await quiet.ask({"presence_stats": {"channel": "who"}})
        assert stats["presence_stats"] == {"num_clients": 2, "num_users": 1}


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "\n",
        "[]",
        "1",
        "{",
        '{"id":7}',
        '{"id":7,"ping":{}}',
        '{"id":7,"publish":null}',
        '{"id":7,"other":{}}',
        '{"subscribe":{"channel":"a"}}',
        '{"id":0,"subscribe":{"channel":"a"}}',
        '{"id":4294967296,"subscribe":{"channel":"a"}}',
        '{"id":7,"subscribe":{"channel":""}}',
        '{"id":7,"subscribe":{"channel":1}}',
        '{"id":7,"subscribe":\n{"channel":"a"}}',
        '{"id":7,"connect":{}}',
        '{"id":7,"refresh":{}}',
        "{}",
    ],
)
async def test_a_frame_that_cannot_be_closes_the_client(client: SdkSocket, frame: str) -> None:
    """What came before it is answered."""
    before = '{"id":9,"unsubscribe":{"channel":"x"}}'
    await client.socket.send(frame if frame in ("", "\n") else f"{before}\n{frame}")
    assert await client.closed() == (3501, "bad request")
    assert frame in ("", "\n") or client.messages[-1] == {"id": 9, "unsubscribe": {}}


@pytest.mark.parametrize("frame", ['{"id":1,"subscribe":{"channel":"a"}}', '{"send":{"data":1}}', "{}"])
async def test_connect_comes_first(served: Serving, frame: str) -> None:
    """Anything else closes the client."""
    async with sdk_socket(served.port) as client:
        await client.socket.send(frame)
        assert await client.closed() == (3501, "bad request")


@pytest.mark.parametrize(
    ("frame", "answered"),
    [
        ('{"id":7,"unsubscribe":{"channel":"a"}}\n', [7]),
        ('{"id":7,"unsubscribe":{"channel":"a"}}\r\n{"id":8,"unsubscribe":{"channel":"a"}}', [7, 8]),
        ('{"id":7,"unsubscribe":{"channel":"a"}} {"id":8,"unsubscribe":{"channel":"a"}}', [7]),
        ('{"id":7,"unsubscribe":{"channel":"a"}}{"id":8}', [7]),
        ('{"unsubscribe":{"channel":"a"},"more":[1],"id":7}', [7]),
        ('{"id":7,"publish":null,"unsubscribe":{"channel":"a"}}', [7]),
        ('{"id":7,"rpc":{"method":"x"},"unsubscribe":{"channel":"a"}}', [7]),
        (b'{"id":7,"unsubscribe":{"channel":"a"}}', [7]),
    ],
)
async def test_odd_frames_that_are_answered(client: SdkSocket, frame: str | bytes, answered: list[int]) -> None:
    """Line ends, a second object, unknown fields, null, two methods and binary frames are as the protocol has them."""
    await client.socket.send(frame)
    await client.reply(answered[-1])
    (end,) = await client.ask({"unsubscribe": {"channel": "b"}})
    numbers = [message["id"] for message in client.messages[1:]]
    assert numbers == [*answered, end["id"]]
    assert all("unsubscribe" in message for message in client.messages[1:])


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (subscribe("a b"), 107),
        (subscribe("x" * 256), 107),
        (subscribe("$x"), 107),
        (subscribe("a", tf={}), 107),
        ({"publish": {"channel": "a"}}, 107),
        ({"history": {"channel": "a", "reverse": True, "since": {"epoch": "", "offset": 0}}}, 107),
        ({"history": {"channel": "a", "since": {"epoch": "other", "offset": 5}}}, 112),
        ({"rpc": {"method": "none"}}, 108),
    ],
)
async def test_an_error_ends_nothing(client: SdkSocket, command: dict[str, Any], code: int) -> None:
    """The rest of the frame is handled."""
    refused, done = await client.ask(command, {"unsubscribe": {"channel": "a"}})
    assert refused["error"]["code"] == code
    assert refused["error"]["message"]
    assert done["unsubscribe"] == {}


async def test_a_channel_is_subscribed_to_once(client: SdkSocket) -> None:
    """Unsubscribing works also where there is nothing to end."""
    replies = await client.ask(
        subscribe("once"), subscribe("once"), *({"unsubscribe": {"channel": "once"}},) * 2, subscribe("once")
    )
    assert [reply.get("error", {}).get("code") for reply in replies] == [None, 105, None, None, None]


async def test_send_has_no_taker(client: SdkSocket) -> None:
    """The client is closed for good."""
    await client.socket.send('{"send":{"data":1}}')
    assert (await client.closed())[0] == 3508


async def test_a_long_frame_is_refused(client: SdkSocket) -> None:
    """As any message over the limit."""
    with pytest.raises(ConnectionClosed) as ended:
        await client.socket.send(b" " * 5000)
        await client.read()
    assert ended.value.rcvd is not None
    assert ended.value.rcvd.code == 1009


async def test_history_comes_in_pages(client: SdkSocket, publisher: redis.Redis) -> None:
    """Forwards after an offset, backwards from the end, and nothing but the position without a limit."""
    await client.ask(subscribe("pages"))
    for number in range(5):
        publisher.publish("sdk:pages", number)
    offsets = [push["offset"] for push in await client.pushes("pub", 5)]

    async def page(**asked: Any) -> dict[str, Any]:
        (reply,) = await client.ask({"history": {"channel": "pages", **asked}})
        found: dict[str, Any] = reply["history"]
        assert found["offset"] == offsets[-1]
        return found

    empty = await page()
    assert empty["publications"] == []
    since = {"epoch": empty["epoch"], "offset": offsets[1]}
    assert [one["data"] for one in (await page(limit=2, since=since))["publications"]] == [2, 3]
    assert [one["data"] for one in (await page(limit=2, reverse=True))["publications"]] == [4, 3]
    assert [one["data"] for one in (await page(limit=-1))["publications"]] == [0, 1, 2, 3, 4]


async def test_a_thousand_commands_in_one_frame(redis_url: str, prefix: str) -> None:
    """They are handled in slices, in order, and one channel too many is refused."""
    async with (
        serving(redis_url=redis_url, prefix=prefix, sdk=True, max_channels_per_connection=999) as served,
        sdk_socket(served.port) as client,
    ):
        replies = await client.ask(CONNECT, *(subscribe(f"c{number}") for number in range(1000)))
        assert [message["id"] for message in client.messages] == list(range(1, 1002))
        assert [reply["error"]["code"] for reply in replies if "error" in reply] == [106]
        assert "error" in replies[-1]


async def test_subprotocols(served: Serving) -> None:
    """JSON is agreed to, others are not, and Protobuf is closed for good."""
    async with sdk_socket(served.port, subprotocols=["centrifuge-json"]) as client:
        assert client.socket.subprotocol == "centrifuge-json"
    async with sdk_socket(served.port, subprotocols=["other"]) as client:
        assert client.socket.subprotocol is None
        await client.ask(CONNECT)
    async with sdk_socket(served.port, subprotocols=["centrifuge-protobuf"]) as client:
        assert (await client.closed())[0] == 3506
    async with sdk_socket(served.port, query="?cf_protocol=protobuf") as client:
        assert (await client.closed())[0] == 3506


async def test_pings(redis_url: str, prefix: str) -> None:
    """They come on time also to a client that talks; one that does not answer is closed, and may come back."""
    async with serving(redis_url=redis_url, prefix=prefix, sdk=True, ping_seconds=0.4, pong_seconds=0.3) as served:
        async with sdk_client(served.port) as client:
            for _ in range(3):
                pings = client.pings
                async with asyncio.timeout(10):
                    while client.pings == pings:
                        await client.ask({"unsubscribe": {"channel": "a"}})
                await client.socket.send("{}")
        async with sdk_client(served.port) as client:
            assert await client.closed() == (3012, "no pong")
        async with sdk_client(served.port) as client:
            while not client.pings:
                await client.read()
            await client.socket.send("{}\n{}")
            assert (await client.closed())[0] == 3501


async def test_who_does_not_connect_is_closed(redis_url: str, prefix: str) -> None:
    """After the time for a handshake."""
    async with (
        serving(redis_url=redis_url, prefix=prefix, sdk=True, handshake_seconds=0.2) as served,
        sdk_socket(served.port) as client,
    ):
        assert (await client.closed())[0] == 3502


async def test_a_wildcard_is_one_subscription_to_many_channels(served: Serving, publisher: redis.Redis) -> None:
    """Each message names its channel where the app sees it; offsets grow over all of them, and it resumes by one."""
    async with sdk_client(served.port, "wild.*", "wild.a") as client, served.connect("wild.b") as plain:
        epoch = client.messages[1]["subscribe"]["epoch"]
        with publisher.pipeline(transaction=False) as pipeline:
            for number, name in enumerate(["wild.a", "wild.b", "wild", "wild.a"]):
                pipeline.publish(f"sdk:{name}", number)
            pipeline.execute()
        assert await receive(plain, 1) == ["1"]
        await client.pushes("pub", 5)
        pushes = [one["push"] for one in client.messages if "pub" in one.get("push", {})]
        wild = [push["pub"] for push in pushes if push["channel"] == "wild.*"]
        assert [(pub["data"], pub["channel"], pub["tags"]) for pub in wild] == [
            (number, name, {"channel": name}) for number, name in ((0, "wild.a"), (1, "wild.b"), (3, "wild.a"))
        ]
        assert [push["pub"]["data"] for push in pushes if push["channel"] == "wild.a"] == [0, 3]
        offsets = [pub["offset"] for pub in wild]
        assert offsets == sorted(set(offsets))
        position = {"recover": True, "offset": offsets[0], "epoch": epoch}
        _, reply, asked = await client.ask(
            {"unsubscribe": {"channel": "wild.*"}},
            subscribe("wild.*", join_leave=True, **position),
            {"history": {"channel": "wild.*", "limit": 1, "reverse": True}},
        )
        assert reply["subscribe"]["recovered"] is True
        assert reply["subscribe"]["publications"] == wild[1:]
        assert asked["history"]["publications"] == wild[2:]
        publish, presence = await client.ask(
            {"publish": {"channel": "wild.*", "data": 1}}, {"presence": {"channel": "wild.*"}}
        )
        assert (publish["error"]["code"], presence["error"]["code"]) == (107, 107)


async def test_a_subscription_may_begin_with_the_latest_messages(redis_url: str, prefix: str) -> None:
    """They are in the reply, without announcements; what comes follows."""
    async with serving(redis_url=redis_url, prefix=prefix, sdk=True, announce=True) as site:
        for n in range(1, 4):
            await site.mux.publish("lobby", n)
        async with sdk_client(site.port, "lobby"), sdk_client(site.port) as client:
            wanted = {"channel": "lobby", "data": {"mux": {"last": 2}}}
            (reply,) = await client.ask({"subscribe": wanted})
            assert [one["data"] for one in reply["subscribe"]["publications"]] == [2, 3]
            assert reply["subscribe"]["offset"] >= reply["subscribe"]["publications"][-1]["offset"]
            await site.mux.publish("lobby", 4)
            assert [one["data"] for one in await client.pushes("pub", 1)] == [4]


@pytest.mark.parametrize("data", [{"mux": {"last": -1}}, {"mux": 1}, {"last": 1}, "mux", None])
async def test_data_of_the_app_are_no_wish(served: Serving, data: object) -> None:
    """They are left alone."""
    await served.mux.publish("much", 1)
    async with sdk_client(served.port) as client:
        (reply,) = await client.ask({"subscribe": {"channel": "much", "data": data}})
        assert "publications" not in reply["subscribe"]


async def test_what_is_much_follows_and_the_reply_says_so(served: Serving) -> None:
    """Whoever counts on having everything up to an offset knows that it has not."""
    async with sdk_client(served.port) as client:
        (reply,) = await client.ask({"subscribe": {"channel": "much"}})
        position = {"recover": True, **{name: reply["subscribe"][name] for name in ("epoch", "offset")}}
        await client.ask({"unsubscribe": {"channel": "much"}})
        for _ in range(100):
            await served.mux.publish("much", "x" * 4000)
        (reply,) = await client.ask({"subscribe": {"channel": "much", **position}})
        assert reply["subscribe"]["mux"] == {"more": True}
        assert reply["subscribe"]["recovered"]
        assert len(await client.pushes("pub", 100)) == 100


async def test_a_client_that_wants_notice_is_served_until_it_goes(redis_url: str, prefix: str) -> None:
    """It hears that the server leaves, and what comes; another client is closed."""
    async with serving(redis_url=redis_url, prefix=prefix, sdk=True, drain_seconds=0) as site:
        async with sdk_socket(site.port) as client, sdk_client(site.port) as other:
            connecting = {"connect": {"data": {"mux": {"notice": True}}}}
            await client.ask(connecting, {"subscribe": {"channel": "lobby"}})
            draining = asyncio.create_task(site.mux._core.drain())
            (told,) = await client.until(lambda message: "disconnect" in message.get("push", {}))
            assert told == {"push": {"disconnect": {"code": 3001, "reason": "the server is going away"}}}
            assert await other.closed() == (3001, "the server is going away")
            await site.mux.publish("lobby", 1)
            assert [one["data"] for one in await client.pushes("pub", 1)] == [1]
        await draining


async def test_too_many_commands_are_not_done(redis_url: str, prefix: str) -> None:
    """The client may try again; unsubscribing is always done, and `send`, which has no reply, closes the client."""
    limits: dict[str, Any] = {"max_messages_per_second": 0.01, "max_messages_burst": 3}
    async with (
        serving(redis_url=redis_url, prefix=prefix, sdk=True, **limits) as served,
        sdk_client(served.port, "a") as client,
    ):
        replies = await client.ask(
            *(subscribe(channel) for channel in "bcd"), *({"unsubscribe": {"channel": channel}} for channel in "abc")
        )
        codes = [reply.get("error", {}).get("code") for reply in replies]
        assert codes == [None, 111, 111, None, None, None]
        assert replies[1]["error"] == {"code": 111, "message": "too many requests", "temporary": True}
        await client.socket.send('{"send":{}}')
        assert await client.closed() == (3013, "too many messages")


async def test_a_client_at_rest_keeps_no_parser(served: Serving, client: SdkSocket) -> None:
    """Most clients only answer pings, and a parser takes as much memory as the rest of them."""
    await client.ask(subscribe("rest"))
    sessions = [one.session for one in served.mux._core.hub.open_connections() if isinstance(one.session, SdkSession)]
    assert sessions
    assert [session.parser for session in sessions] == [None] * len(sessions)
