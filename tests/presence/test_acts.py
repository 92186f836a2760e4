"""Acts on the clients of two processes, over a real Redis."""

from __future__ import annotations

import asyncio
from time import time

import pytest
import redis
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from mux import reasons
from mux.errors import InvalidChannel
from mux.grants.grants import Grants
from mux.grants.patterns import ALL
from mux.hub.subscriber import AnySubscriber
from mux.presence import acts as acts_module
from mux.presence.act import MAX_RENEWAL_SECONDS, Act, read_act
from mux.presence.acts import Acts
from mux.reasons import Reason
from tests.fleet.forged import question
from tests.hub.fakes import FakeClient
from tests.support.event_streams import open_stream
from tests.support.refusals import refused
from tests.support.servers import PATIENCE_SECONDS, Serving, receive, until


def acts_of(feed: Serving) -> Acts:
    """Return what acts on all processes."""
    return feed.mux._core.acts


def clients_in(feed: Serving, channel: str = "lobby") -> list[AnySubscriber]:
    """Return the clients of a process in a channel."""
    core = feed.mux._core
    return list(core.hub.router.subscribers(core.namespace.redis_channel(channel.encode())))


def belongs(feed: Serving, subject: str, channel: str = "lobby") -> None:
    """Give the clients of a process in a channel their subject."""
    for client in clients_in(feed, channel):
        client.grants = Grants(subject, ALL, ALL, time() + 60)


async def closed(websocket: ClientConnection) -> tuple[int | None, str | None]:
    """Return with what a client was closed."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        with pytest.raises(ConnectionClosed):
            while True:
                await websocket.recv()
    return websocket.close_code, websocket.close_reason


@pytest.mark.parametrize("subject", ["a\nb", "\0", "a\u00a0\u202eb", "\0" * 255])
async def test_whatever_a_token_says_its_subject_is_disconnected(two: list[Serving], subject: str) -> None:
    """With characters that are not printable, a subject could not be named, and kept its connections."""
    async with two[1].connect("a") as client:
        belongs(two[1], subject, "a")
        assert (await two[0].mux.disconnect(subject=subject)).clients == 1
        assert await closed(client) == (4403, "disconnected")


async def test_a_subject_is_disconnected_on_every_process(two: list[Serving]) -> None:
    """Whatever its clients listen to; those of others stay."""
    one, other = two
    async with one.connect("a") as first, other.connect("b") as second, other.connect("c") as stays:
        belongs(one, "ann", "a")
        belongs(other, "ann", "b")
        belongs(other, "bob", "c")
        outcome = await one.mux.disconnect(subject="ann")
        assert (outcome.clients, outcome.missing) == (2, [])
        assert [await closed(client) for client in (first, second)] == [(4403, "disconnected")] * 2
        assert len(clients_in(other, "c")) == 1
        await stays.send("here")
        await other.mux.disconnect(channel="c", code=4500, sentence="no more")
        assert await closed(stays) == (4500, "no more")
        assert two[1].mux._core.hub.refused["disconnected"] == 2


async def test_a_channel_is_emptied_on_every_process(two: list[Serving]) -> None:
    """Of clients of a subject alone, if one is named; an event stream is told in a comment."""
    one, other = two
    async with one.connect() as first, other.connect() as second, open_stream(other.port) as stream:
        await until(lambda: len(clients_in(other)) == 2)
        belongs(one, "ann")
        belongs(other, "bob")
        assert (await other.mux.disconnect(channel="lobby", subject="ann")).clients == 1
        assert await closed(first) == (4403, "disconnected")
        assert (await one.mux.disconnect(channel="lobby")).clients == 2
        assert await closed(second) == (4403, "disconnected")
        assert "4403 disconnected" in str((await stream.read_to_end()).comments)
    assert (await one.mux.disconnect(channel="lobby")).clients == 0


async def test_one_client_is_disconnected_by_its_name(two: list[Serving]) -> None:
    """It is the one that presence tells, and that was announced."""
    async with two[0].connect() as first, two[1].connect() as second:
        names = (await two[0].mux.presence("lobby")).clients
        for client in names:
            assert (await acts_of(two[0]).everywhere(Act(act="disconnect", client=client))).clients == 1
        assert [(await closed(one))[0] for one in (first, second)] == [4403, 4403]
    nobody = Act(act="disconnect", client="0f8fad5b-d9cb-469f-a165-70867728950e")
    assert (await acts_of(two[0]).everywhere(nobody)).clients == 0


async def test_some_clients_are_spared(two: list[Serving]) -> None:
    """As the one in which a user has just logged in, when all others of the user are ended."""
    async with two[0].connect() as first, two[1].connect() as second:
        belongs(two[0], "ann")
        [kept] = (await two[0].mux.presence("lobby")).clients.keys() - {
            str(client.name_in(two[1].mux._core.namespace.redis_channel(b"lobby"))) for client in clients_in(two[1])
        }
        belongs(two[1], "ann")
        act = Act(act="disconnect", subject="ann", spared=[kept])
        assert (await acts_of(two[0]).everywhere(act)).clients == 1
        assert (await closed(second))[0] == 4403
        await first.send("still here")


async def test_a_client_of_one_channel_that_is_unsubscribed_ends(two: list[Serving]) -> None:
    """It would hear nothing any more."""
    async with two[0].connect("a") as first, two[1].connect("b"):
        belongs(two[0], "ann", "a")
        belongs(two[1], "ann", "b")
        act = Act(act="unsubscribe", subject="ann", channel="a")
        assert (await acts_of(two[1]).everywhere(act)).clients == 1
        assert (await closed(first))[0] == 4403
        assert len(clients_in(two[1], "b")) == 1


async def test_grants_get_a_new_end(two: list[Serving]) -> None:
    """Those of all connections of a subject; a client without grants has none that could end."""
    async with two[0].connect("a"), two[1].connect("b"), two[1].connect("c"), two[1].connect("d"):
        belongs(two[0], "ann", "a")
        belongs(two[1], "ann", "b")
        belongs(two[1], "bob", "c")
        until_ = float(int(time()) + 600)
        assert (await acts_of(two[0]).everywhere(Act(act="refresh", subject="ann", until=until_))).clients == 2
        assert (await acts_of(two[0]).everywhere(Act(act="refresh", subject="", until=until_))).clients == 0
        grants = [clients_in(feed, name)[0].grants for feed, name in ((two[0], "a"), (two[1], "b"), (two[1], "c"))]
        assert [one is not None and one.until == until_ for one in grants] == [True, True, False]


async def test_acts_that_wait_are_done_in_one_walk(two: list[Serving], monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, the clients are looked through once for all of them."""
    spokes: list[int] = []
    hub = two[0].mux._core.hub
    spoke = hub.spoke

    def looked_through(number: int) -> list[AnySubscriber] | None:
        spokes.append(number)
        return spoke(number)

    monkeypatch.setattr(hub, "spoke", looked_through)
    clients = [FakeClient(hub).subscriber for _ in range(100)]
    for number, client in enumerate(clients):
        hub.connected(client)
        hub.router.join(client, b"feed:x")
        client.grants = Grants(str(number), ALL, ALL)
    acts = [Act(act="refresh", subject=str(number), until=1.0) for number in range(100)]
    outcomes = await asyncio.gather(*(acts_of(two[0]).everywhere(act) for act in acts))
    assert [outcome.clients for outcome in outcomes] == [1] * 100
    assert all(client.grants is not None and client.grants.until == 1.0 for client in clients)
    assert spokes.count(0) < 10
    for client in clients:
        hub.router.leave_all(client)
        hub.disconnected(client)


async def test_hundreds_of_acts_at_once_are_all_done(two: list[Serving]) -> None:
    """Of more than a process takes in a second it did the first alone, and the answer called the process missing."""
    acts = [Act(act="disconnect", subject=str(number)) for number in range(250)]
    async with two[1].connect("a") as client:
        belongs(two[1], "249", "a")
        outcomes = await asyncio.gather(*(acts_of(two[0]).everywhere(act) for act in acts))
        assert await closed(client) == (4403, "disconnected")
    assert [outcome.clients for outcome in outcomes] == [0] * 249 + [1]
    assert not any(outcome.missing for outcome in outcomes)


async def test_thousands_are_ended_a_few_in_each_turn(two: list[Serving]) -> None:
    """Others have their turn meanwhile."""
    hub = two[0].mux._core.hub
    redis_channel = two[0].mux._core.namespace.redis_channel(b"lobby")
    clients = [FakeClient(hub).subscriber for _ in range(2000)]
    for client in clients:
        hub.router.join(client, redis_channel)
    asked = asyncio.create_task(two[0].mux.disconnect(channel="lobby"))
    turns = 0
    while not asked.done():
        await asyncio.sleep(0)
        turns += 1
    assert asked.result().clients == 2000
    assert turns > 2000 * acts_module.STEPS_PER_HIT / acts_module.SLICE_STEPS
    for client in clients:
        hub.router.leave_all(client)


async def test_a_client_with_which_something_is_wrong_stops_no_act(
    two: list[Serving], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The others are ended, by this act and by those after it."""
    async with two[0].connect() as first, two[0].connect() as second:
        poisoned = clients_in(two[0])[0]
        close = poisoned.endpoint.close

        def fail(client: AnySubscriber, reason: Reason) -> None:
            if client is poisoned:
                raise ZeroDivisionError
            close(client, reason)

        monkeypatch.setattr(poisoned.endpoint, "close", fail)
        assert (await two[1].mux.disconnect(channel="lobby")).clients == 1
        await until(lambda: len(clients_in(two[0])) == 1)
        monkeypatch.undo()
        assert (await two[1].mux.disconnect(channel="lobby")).clients == 1
        assert [await closed(one) for one in (first, second)] == [(4403, "disconnected")] * 2
    assert [record.message for record in caplog.records if record.exc_info] == ["a client could not be acted on"]


@pytest.mark.parametrize(
    "act",
    [
        Act(act="disconnect"),
        Act(act="disconnect", subject="x" * 256),
        Act(act="disconnect", subject="\ud800"),
        Act(act="disconnect", client="ann"),
        Act(act="disconnect", subject="a", code=1005),
        Act(act="disconnect", subject="a", code=5000),
        Act(act="disconnect", subject="a", sentence=""),
        Act(act="disconnect", subject="a", sentence="bad\r\ndata: forged"),
        Act(act="disconnect", subject="a", sentence="é" * 62),
        Act(act="unsubscribe", subject="a"),
        Act(act="refresh", subject="a", until=time() + 2 * MAX_RENEWAL_SECONDS),
        Act(act="refresh", subject="a", until=float("nan")),
    ],
)
async def test_an_act_that_cannot_be_is_refused(two: list[Serving], act: Act) -> None:
    """Nobody is asked."""
    with pytest.raises(ValueError, match=" "):
        await acts_of(two[0]).everywhere(act)


async def test_the_app_is_told_what_it_got_wrong(two: list[Serving]) -> None:
    """An empty subject is a mistake in a program, which would end all clients without a token."""
    with pytest.raises(ValueError, match="empty"):
        await two[0].mux.disconnect(subject="")
    with pytest.raises(InvalidChannel):
        await two[0].mux.disconnect(channel="no channel")
    await acts_of(two[0]).aclose()
    with refused(reasons.LEAVING):
        await two[0].mux.disconnect(subject="ann")


WHOLE: dict[str, object] = {
    "act": "disconnect",
    "subject": "ann",
    "channel": None,
    "client": None,
    "spared": [],
    "code": 4403,
    "sentence": "x",
    "until": 0,
}


@pytest.mark.parametrize(
    "change",
    [
        {"act": "drop"},
        {"subject": None},
        {"subject": 7},
        {"channel": "$fleet"},
        {"client": ["x"]},
        {"spared": ["x"]},
        {"spared": [7]},
        {"code": "4403"},
        {"code": 1},
        {"sentence": "a\nevent: forged"},
        {"act": "refresh", "until": 1e300},
        {"act": "refresh", "until": "x"},
    ],
)
def test_an_act_that_is_forged_and_cannot_be_is_none(change: dict[str, object]) -> None:
    """What can be is what any process may ask for."""
    assert read_act(WHOLE) is not None
    assert read_act({**WHOLE, **change}) is None


async def test_a_forged_act_does_what_an_act_does(two: list[Serving], publisher: redis.Redis, prefix: str) -> None:
    """It ends a connection that may come back, and the answer goes to nobody."""
    async with two[0].connect() as client:
        await receive(client, 1)
        publisher.publish(f"{prefix}$fleet", question("act", **{**WHOLE, "subject": None, "channel": "lobby"}))
        assert await closed(client) == (4403, "x")
    async with two[0].connect() as client:
        await receive(client, 1)
