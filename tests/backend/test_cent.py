"""Every call of a server library of others, unmodified, against two processes on a real Redis."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from time import monotonic, time

import pytest
import redis
from cent import (
    AsyncClient,
    BatchRequest,
    BroadcastRequest,
    CentApiResponseError,
    CentUnauthorizedError,
    ChannelsRequest,
    Client,
    Disconnect,
    DisconnectRequest,
    HistoryRemoveRequest,
    HistoryRequest,
    InfoRequest,
    PresenceRequest,
    PresenceStatsRequest,
    PublishRequest,
    RefreshRequest,
    StreamPosition,
    SubscribeRequest,
    UnsubscribeRequest,
)
from websockets.exceptions import ConnectionClosed

from mux.grants.grants import Grants
from mux.grants.patterns import ALL
from tests.backend.conftest import KEY, client_of
from tests.support.servers import PATIENCE_SECONDS, Serving, mux_serve, receive, serving


def belongs(feed: Serving, subject: str, channel: str = "lobby") -> None:
    """Give the clients of a process a token's grants, as if they had come with one."""
    core = feed.mux._core
    for client in core.hub.router.subscribers(core.namespace.redis_channel(channel.encode())):
        client.grants = Grants(subject, ALL, ALL, time() + 3600)


def publish(channel: str, data: object, **more: object) -> PublishRequest:
    """Return a command."""
    return PublishRequest.model_validate({"channel": channel, "data": data, **more})


async def test_everybody_hears_what_is_published(two: list[Serving], clients: list[AsyncClient]) -> None:
    """JSON arrives as compact text, base64 as binary; an offset is the message's own, the same on every process."""
    async with two[0].connect() as one, two[1].connect() as other:
        results = [await clients[0].publish(publish("lobby", {"a": [1, " b "]}))]
        raw = PublishRequest(channel="lobby", data=None, b64data=b64encode(b"\x00\xff").decode())
        results.append(await clients[1].publish(raw))
        for websocket in one, other:
            assert await receive(websocket, 2) == ['{"a":[1," b "]}', b"\x00\xff"]
    found = await clients[0].history(HistoryRequest(channel="lobby", limit=-1))
    assert [(result.offset, result.epoch) for result in results] == [
        (publication.offset, found.epoch) for publication in found.publications
    ]
    assert results[0].offset < results[1].offset == found.offset
    assert found.publications[0].data == {"a": [1, " b "]}


async def test_the_synchronous_client(two: list[Serving]) -> None:
    """It speaks the same."""

    def ask() -> int:
        with Client(f"http://127.0.0.1:{two[0].port}/api", KEY) as client:
            return client.publish(publish("lobby", "hi")).offset

    assert await asyncio.to_thread(ask) > 0


async def test_broadcast(two: list[Serving], clients: list[AsyncClient]) -> None:
    """Each channel has an answer of its own, in order; a mistake in one is not one in the others."""
    async with two[0].connect("a") as a, two[1].connect("b") as b:
        found = await clients[0].broadcast(BroadcastRequest(channels=["a", "no name", "b"], data=1))
        assert await receive(a, 1) == await receive(b, 1) == ["1"]
    first, second, third = found.responses
    assert first.result is not None
    assert third.result is not None
    assert first.result.offset != third.result.offset
    assert second.error is not None
    assert second.error.code == 107


async def test_history_in_pages(clients: list[AsyncClient]) -> None:
    """From the beginning, after a position, and backwards; both processes tell the same."""
    for number in range(5):
        await clients[number % 2].publish(publish("orders", number))
        await clients[0].publish(publish("others", number))

    async def ask(client: AsyncClient, **asked: object) -> tuple[list[object], int, str]:
        found = await client.history(HistoryRequest.model_validate({"channel": "orders", **asked}))
        offset = found.publications[-1].offset if found.publications else found.offset
        return [publication.data for publication in found.publications], offset, found.epoch

    data, second, epoch = await ask(clients[0], limit=2)
    assert data == [0, 1]
    since = StreamPosition(offset=second, epoch=epoch)
    for client in clients:
        assert (await ask(client, limit=-1, since=since))[0] == [2, 3, 4]
        assert (await ask(client, limit=2, reverse=True))[0] == [4, 3]
        assert (await ask(client, limit=2, since=since, reverse=True))[0] == [0]
        assert (await ask(client))[0] == []
    last = (await ask(clients[0], limit=-1))[1]
    assert await ask(clients[1]) == ([], last, epoch)
    for wrong in {"offset": last, "epoch": "other"}, {"offset": 2**53 - 1, "epoch": epoch}:
        with pytest.raises(CentApiResponseError) as refused:
            await ask(clients[0], limit=1, since=wrong)
        assert refused.value.code == 112


async def test_channels_and_info(two: list[Serving], clients: list[AsyncClient]) -> None:
    """Both are of the whole fleet."""
    async with two[0].connect("chat:1"), two[1].connect("chat:1"), two[1].connect("chat:2"), two[1].connect("news"):
        found = await clients[0].channels(ChannelsRequest(pattern="chat:*"))
        assert {name: channel.num_clients for name, channel in found.channels.items()} == {"chat:1": 2, "chat:2": 1}
        assert (await clients[0].channels(ChannelsRequest(pattern="*s"))).channels.keys() == {"news"}
        assert (await clients[1].channels(ChannelsRequest())).channels.keys() == {"chat:1", "chat:2", "news"}
        nodes = (await clients[0].info(InfoRequest())).nodes
        assert sorted(node.num_clients for node in nodes) == [1, 3]
        assert len({node.uid for node in nodes}) == 2


async def test_presence(two: list[Serving], clients: list[AsyncClient]) -> None:
    """Clients of both processes are told, with their users; numbers have no names."""
    async with two[0].connect(), two[1].connect():
        belongs(two[0], "ann")
        found = (await clients[1].presence(PresenceRequest(channel="lobby"))).presence
        assert sorted(client.user for client in found.values()) == ["", "ann"]
        assert all(name == client.client for name, client in found.items())
        numbers = await clients[1].presence_stats(PresenceStatsRequest(channel="lobby"))
        assert (numbers.num_clients, numbers.num_users) == (2, 2)


async def test_a_user_is_disconnected_everywhere(two: list[Serving], clients: list[AsyncClient]) -> None:
    """All clients of the user, with the code and reason that were given, and nobody else."""
    async with two[0].connect() as ann, two[1].connect("news") as ann_too, two[1].connect() as bob:
        belongs(two[0], "ann")
        belongs(two[1], "ann", "news")
        belongs(two[1], "bob")
        request = DisconnectRequest(user="ann", disconnect=Disconnect(code=4501, reason="enough"))
        await clients[0].disconnect(request)
        for websocket in ann, ann_too:
            with pytest.raises(ConnectionClosed) as closed:
                await asyncio.wait_for(websocket.recv(), PATIENCE_SECONDS)
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4501, "enough")
        await clients[0].publish(publish("lobby", 1))
        assert await receive(bob, 1) == ["1"]
        await clients[0].disconnect(DisconnectRequest(user="nobody"))


async def test_a_user_is_unsubscribed_and_refreshed(two: list[Serving], clients: list[AsyncClient]) -> None:
    """A connection has one channel, so without it the connection ends; an expired one ends with 4401."""
    async with two[0].connect() as lobby, two[1].connect("news") as news:
        belongs(two[0], "ann")
        belongs(two[1], "ann", "news")
        await clients[1].refresh(RefreshRequest(user="ann", expire_at=int(time()) + 60))
        await clients[1].subscribe(SubscribeRequest(user="ann", channel="lobby"))  # it is no SDK client
        await clients[1].unsubscribe(UnsubscribeRequest(user="ann", channel="lobby"))
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(lobby.recv(), PATIENCE_SECONDS)
        await clients[0].refresh(RefreshRequest(user="ann", expired=True))
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(news.recv(), PATIENCE_SECONDS)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4401


async def test_what_is_not_there_is_said(clients: list[AsyncClient]) -> None:
    """Removing messages is not available."""
    client = clients[0]
    for refused in (
        client.history_remove(HistoryRemoveRequest(channel="lobby")),
        client.publish(publish("lobby", 1, tags={"a": "b"})),
        client.disconnect(DisconnectRequest(user="ann", session="s")),
        client.disconnect(DisconnectRequest(user="ann", whitelist=["a"])),
    ):
        with pytest.raises(CentApiResponseError) as error:
            await refused
        assert error.value.code == 108
        assert error.value.message.startswith("not available: ")


@pytest.mark.parametrize("parallel", [False, True])
async def test_batch(two: list[Serving], clients: list[AsyncClient], parallel: bool) -> None:
    """The answers are in the order of the commands."""
    commands = [publish("lobby", 1), PresenceStatsRequest(channel="lobby"), BroadcastRequest(channels=["b"], data=2)]
    async with two[1].connect() as websocket:
        found = await clients[0].batch(BatchRequest(requests=commands, parallel=parallel))
        assert await receive(websocket, 1) == ["1"]
    assert [type(reply).__name__ for reply in found.replies] == [
        "PublishResult",
        "PresenceStatsResult",
        "BroadcastResult",
    ]


async def test_an_idempotency_key_publishes_once(two: list[Serving], clients: list[AsyncClient]) -> None:
    """However often it is asked for at the same time, on whichever process; another channel is another message."""
    async with two[0].connect() as websocket:
        asked = publish("lobby", 1, idempotency_key="k")
        results = await asyncio.gather(*[client.publish(asked) for client in clients * 5])
        assert len({(result.offset, result.epoch) for result in results}) == 1
        other = await clients[1].publish(publish("other", 1, idempotency_key="k"))
        assert other.offset != results[0].offset
        await clients[0].publish(publish("lobby", 2))
        assert await receive(websocket, 2) == ["1", "2"]


async def test_a_message_that_could_not_be_published_may_be_tried_again(clients: list[AsyncClient]) -> None:
    """Its key is given back."""
    with pytest.raises(CentApiResponseError):
        await clients[0].publish(publish("a", "x" * 70_000, idempotency_key="k"))
    assert (await clients[1].publish(publish("a", 1, idempotency_key="k"))).offset


def test_workers_are_one_server(redis_url: str, prefix: str) -> None:
    """Whichever of two workers is asked: a key publishes once, and every worker is told of."""
    with mux_serve("--workers", "2", "--redis-url", redis_url, "--prefix", prefix, env={"MUX_API_KEY": KEY}) as server:
        offsets, uids = set[int](), set[str]()
        until = monotonic() + PATIENCE_SECONDS  # the second worker may be late
        asked = 0
        while asked < 12 or (len(uids) < 2 and monotonic() < until):
            asked += 1
            with Client(f"http://127.0.0.1:{server.port}/api", KEY) as client:
                offsets.add(client.publish(publish("lobby", 1, idempotency_key="k")).offset)
                uids |= {node.uid for node in client.info(InfoRequest()).nodes}
                found = client.history(HistoryRequest(channel="lobby", limit=-1))
                assert [publication.offset for publication in found.publications] == list(offsets)
        assert (len(offsets), len(uids)) == (1, 2)


async def test_keys_are_changed_one_after_the_other(two: list[Serving]) -> None:
    """Each of several keys will do, and no other."""
    for key, is_right in (KEY, True), ("another-api-key", True), ("another-api-keys", False):
        client = client_of(two[0], key)
        if is_right:
            await client.info(InfoRequest())
        else:
            with pytest.raises(CentUnauthorizedError):
                await client.info(InfoRequest())
        await client.close()


async def test_one_client_of_a_user_is_disconnected(two: list[Serving], clients: list[AsyncClient]) -> None:
    """By its name in a channel, as presence tells it."""
    async with two[0].connect() as one, two[1].connect() as other:
        names = list((await clients[0].presence(PresenceRequest(channel="lobby"))).presence)
        await clients[0].disconnect(DisconnectRequest(user="", client=names[0]))
        gone = [asyncio.ensure_future(websocket.wait_closed()) for websocket in (one, other)]
        done, waiting = await asyncio.wait(gone, timeout=PATIENCE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        assert len(done) == 1
        left = await clients[1].presence(PresenceRequest(channel="lobby"))
        assert list(left.presence) == names[1:]
        for task in waiting:
            task.cancel()


async def test_a_page_has_bounds(
    clients: list[AsyncClient], prefix: str, publisher: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In messages and in bytes, but for the first; the next page begins at its last offset. Text is a JSON string."""
    monkeypatch.setattr("mux.backend.past.MAX_PUBLICATIONS", 3)
    monkeypatch.setattr("mux.backend.past.PAGE_BYTES", 20)
    monkeypatch.setattr("mux.backend.past.TOLD_AT_ONCE", 2)
    for text in "a", "b", "c", "d" * 30, "e":
        publisher.publish(f"{prefix}lobby", text)
    await clients[0].publish(publish("lobby", 1))
    pages: list[list[object]] = []
    since = None
    while not pages or pages[-1]:
        asked = {"channel": "lobby", "limit": -1, "since": since}
        found = await clients[0].history(HistoryRequest.model_validate(asked))
        pages.append([publication.data for publication in found.publications])
        if found.publications:
            since = StreamPosition(offset=found.publications[-1].offset, epoch=found.epoch)
    assert pages == [["a", "b", "c"], ["d" * 30], ["e", 1], []]
    assert since is not None
    assert found.offset == since.offset


async def test_redis_is_away(free_port: int) -> None:
    """Errors say so; nothing was published, and what a channel had cannot be told without an order of messages."""
    async with serving(redis_url=f"redis://127.0.0.1:{free_port}", max_held_seconds=0, api_key=(KEY,)) as feed:
        client = client_of(feed)
        for refused in (
            client.publish(publish("lobby", 1)),
            client.publish(publish("lobby", 1, idempotency_key="k")),
            client.history(HistoryRequest(channel="lobby", limit=1)),
        ):
            with pytest.raises(CentApiResponseError) as error:
                await refused
            assert error.value.code == 100
        with pytest.raises(CentApiResponseError, match="no connection to Redis now"):
            await client.publish(publish("lobby", 1))
        await client.close()


async def test_redis_refuses(redis_url: str, prefix: str, publisher: redis.Redis) -> None:
    """Whatever right the user of Redis has not, the error names it."""
    rights = {"enabled": True, "passwords": ["+pw"], "channels": ["*"], "keys": ["*"]}
    publisher.acl_setuser("backend", commands=["+@all", "-get"], **rights)  # type: ignore[arg-type]
    url = f"{redis_url}?username=backend&password=pw"
    async with serving(redis_url=url, prefix=prefix, api_key=(KEY,)) as feed:
        client = client_of(feed)
        await client.publish(publish("lobby", 1, idempotency_key="k"))
        with pytest.raises(CentApiResponseError, match=r"NOPERM.*get") as error:
            await client.publish(publish("lobby", 1, idempotency_key="k"))
        assert error.value.code == 100
        await client.close()


async def test_without_a_journal(redis_url: str, prefix: str) -> None:
    """Messages have no positions, and a channel has no history."""
    async with serving(redis_url=redis_url, prefix=prefix, journal_bytes=0, api_key=(KEY,)) as feed:
        client = client_of(feed)
        result = await client.publish(publish("lobby", 1))
        assert (result.offset, result.epoch) == (0, "")
        with pytest.raises(CentApiResponseError) as error:
            await client.history(HistoryRequest(channel="lobby", limit=1))
        assert error.value.code == 108
        await client.close()


async def test_announcements_are_no_messages(redis_url: str, prefix: str) -> None:
    """However many clients come and go after the latest message, it is found."""
    async with serving(redis_url=redis_url, prefix=prefix, announce=True, api_key=(KEY,)) as feed:
        client = client_of(feed)
        first = await client.publish(publish("lobby", 1))
        for _ in range(12):
            async with feed.connect() as websocket:
                await receive(websocket, 1)
        for asked in {"limit": 1, "reverse": True}, {"limit": 5}, {}:
            found = await client.history(HistoryRequest.model_validate({"channel": "lobby", **asked}))
            assert found.offset == first.offset
            assert [publication.data for publication in found.publications] == [1] * bool(asked)
        await client.close()
