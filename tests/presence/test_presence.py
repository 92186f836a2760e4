"""Who is in a channel, asked of two processes over a real Redis."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterable

import pytest
import redis
from websockets.exceptions import ConnectionClosed

from mux import reasons
from mux.broker.parcels import Parcels
from mux.errors import InvalidChannel
from mux.fleet import searches
from mux.fleet.messages import Identity
from mux.grants.grants import Grants
from mux.grants.patterns import ALL
from mux.hub.subscriber import AnySubscriber
from mux.presence import presence as presence_module
from mux.presence.presence import INLINE_BYTES, SLICE, Presence
from mux.presence.roster import HEAD_BYTES, MAX_CLIENTS
from tests.hub.fakes import FakeClient
from tests.support.refusals import refused
from tests.support.servers import PATIENCE_SECONDS, Serving, mux_serve, receive, serving, until


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process on a busy machine answers too, if later."""
    monkeypatch.setattr(presence_module, "ANSWER_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(searches, "MAX_DEBT_SECONDS", PATIENCE_SECONDS)


def name(clients: Iterable[AnySubscriber], subjects: Iterable[str]) -> None:
    """Give clients their subjects."""
    for client, subject in zip(clients, subjects, strict=True):
        client.grants = Grants(subject, ALL, ALL)


def presence_of(feed: Serving) -> Presence:
    """Return the presence of a process."""
    return feed.mux._core.presence


def fill(feed: Serving, count: int, channel: str = "lobby") -> list[AnySubscriber]:
    """Give a process clients without sockets in a channel."""
    core = feed.mux._core
    clients = [FakeClient().subscriber for _ in range(count)]
    for client in clients:
        core.hub.router.join(client, core.namespace.redis_channel(channel.encode()))
    return clients


def empty(feed: Serving, clients: list[AnySubscriber]) -> None:
    """Take such clients away."""
    for client in clients:
        feed.mux._core.hub.router.leave_all(client)


async def test_who_is_in_a_channel_of_two_processes(two: list[Serving]) -> None:
    """The names are those that are announced; a client in another channel is not there."""
    one, other = two
    async with one.connect() as first:
        joined = [str(text).split()[1] for text in await receive(first, 1)]
        async with other.connect(), other.connect("elsewhere"):
            joined += [str(text).split()[1] for text in await receive(first, 1)]
            for feed in two:
                people = await feed.mux.presence("lobby")
                assert (set(people.clients), people.has_more, people.missing) == (set(joined), False, [])
                assert set(people.clients.values()) == {None}
                numbers = await presence_of(feed).numbers("lobby")
                assert (numbers.num_clients, numbers.num_users, numbers.missing) == (2, 1, [])
    assert (await one.mux.presence("nobody")).clients == {}


async def test_an_app_that_listens_is_no_client(two: list[Serving]) -> None:
    """It has no socket, and nobody can disconnect it."""
    messages = two[0].mux.listen("lobby")
    waiting = asyncio.ensure_future(anext(messages))
    async with two[1].connect() as client:
        await receive(client, 1)
        assert (await presence_of(two[0]).numbers("lobby")).num_clients == 1
        assert len((await two[0].mux.presence("lobby")).clients) == 1
        assert (await two[0].mux.disconnect(channel="lobby")).clients == 1
    await waiting


async def test_a_user_on_two_processes_counts_once(two: list[Serving]) -> None:
    """And has two clients, on whichever process they are."""
    clients = [*fill(two[0], 3), *fill(two[1], 2)]
    name(clients, ["ann", "ann", "bob", "ann", "cid"])
    people = await two[0].mux.presence("lobby")
    assert sorted(map(str, people.clients.values())) == ["ann", "ann", "ann", "bob", "cid"]
    numbers = await presence_of(two[1]).numbers("lobby")
    assert (numbers.num_clients, numbers.num_users) == (5, 3)
    for feed in two:
        empty(feed, clients)


async def test_a_large_answer_goes_to_the_asker_alone(two: list[Serving], publisher: redis.Redis, prefix: str) -> None:
    """Every process hears a few bytes of it, no name passes them with numbers alone, and no key stays."""
    clients = fill(two[0], 3000)
    subjects = [f"user:{number}" for number in range(3000)]
    name(clients, subjects)
    with publisher.pubsub() as heard:  # type: ignore[no-untyped-call]  # it has no annotations
        heard.psubscribe(f"{prefix}*")
        people = await two[1].mux.presence("lobby")
        assert sorted(map(str, people.clients.values())) == sorted(subjects)
        assert (people.has_more, people.missing) == (False, [])
        numbers = await presence_of(two[1]).numbers("lobby")
        assert (numbers.num_clients, numbers.num_users) == (3000, 3000)
        said = [message["data"] for message in iter(lambda: heard.get_message(timeout=0.1), None)]
    said = [payload for payload in said if isinstance(payload, bytes)]
    assert said
    assert max(map(len, said)) < INLINE_BYTES + 2 * HEAD_BYTES
    assert not any(b"user:" in payload for payload in said)
    assert publisher.keys(f"{prefix}*") == []
    empty(two[0], clients)


async def test_no_more_than_ten_thousand_are_listed(two: list[Serving]) -> None:
    """The answer says that there are more, and the numbers are right."""
    clients = [fill(feed, MAX_CLIENTS // 2 + 1) for feed in two]
    people = await two[0].mux.presence("lobby")
    assert (len(people.clients), people.has_more) == (MAX_CLIENTS, True)
    numbers = await presence_of(two[0]).numbers("lobby")
    assert (numbers.num_clients, numbers.num_users) == (MAX_CLIENTS + 2, 1)
    for feed, some in zip(two, clients, strict=True):
        empty(feed, some)


async def test_a_process_that_does_not_answer_is_named(two: list[Serving], monkeypatch: pytest.MonkeyPatch) -> None:
    """What the others have is there."""
    monkeypatch.setattr(presence_module, "ANSWER_SECONDS", 0.1)
    clients = fill(two[0], 2)
    silent = two[1].mux._core._fleet
    del silent._handlers["presence"]
    people = await two[0].mux.presence("lobby")
    assert (len(people.clients), people.missing) == (2, [silent.myself])
    numbers = await presence_of(two[0]).numbers("lobby")
    assert (numbers.num_clients, numbers.missing) == (2, [silent.myself])
    empty(two[0], clients)


async def test_servers_answer_an_app_and_one_that_stands_still_is_named(
    redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes of their own, with clients that have sockets."""
    with mux_serve("--redis-url", redis_url, "--prefix", prefix, "--drain-seconds", "0") as server:
        async with serving(redis_url=redis_url, prefix=prefix) as here, server.connect() as away, here.connect() as own:
            await until(lambda: len(here.mux._core._fleet._census) == 1)
            await receive(away, 1)
            people = await here.mux.presence("lobby")
            assert (len(people.clients), people.missing) == (2, [])
            server.process.send_signal(signal.SIGSTOP)
            try:
                monkeypatch.setattr(presence_module, "ANSWER_SECONDS", 0.1)
                people = await here.mux.presence("lobby")
                assert (len(people.clients), [one.pid for one in people.missing]) == (1, [server.pid])
            finally:
                server.process.send_signal(signal.SIGCONT)
            assert (await here.mux.disconnect(channel="lobby")).clients == 2
            for client in (away, own):
                with pytest.raises(ConnectionClosed):
                    while True:
                        await asyncio.wait_for(client.recv(), PATIENCE_SECONDS)
                assert client.close_code == 4403


async def test_without_keys_in_redis_an_answer_is_cut_short(
    two: list[Serving], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user of Redis may have no right to them."""

    async def leave(self: Parcels, name: str, pieces: object) -> None:
        return None

    monkeypatch.setattr(Parcels, "leave", leave)
    clients = fill(two[0], 1000)
    people = await two[1].mux.presence("lobby")
    assert 50 < len(people.clients) < 1000
    assert (people.has_more, people.missing) == (True, [])
    empty(two[0], clients)


async def test_what_nobody_takes_does_not_fill_redis(
    two: list[Serving], publisher: redis.Redis, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Questions can be forged: a process leaves so much and no more in the time of a key."""
    monkeypatch.setattr(presence_module, "MAX_LEFT_BYTES", 200_000)
    monkeypatch.setattr(presence_of(two[0]), "_bytes_left", 200_000)
    clients = fill(two[0], 1000)
    for number in range(20):
        fields = {"channel": "lobby", "kind": "clients", "parcel": f"{number:016x}"}
        await presence_of(two[0])._answer(fields)
    assert 0 < sum(publisher.strlen(key) for key in publisher.keys(f"{prefix}*")) <= 200_000
    people = await two[1].mux.presence("lobby")
    assert (people.has_more, people.missing) == (True, [])
    empty(two[0], clients)


async def test_a_parcel_that_is_lost_makes_its_process_missing(
    two: list[Serving], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is told as whole is whole."""

    async def leave(self: Parcels, name: str, pieces: object) -> int:
        return 4

    monkeypatch.setattr(Parcels, "leave", leave)
    clients = fill(two[0], 1000)
    people = await two[1].mux.presence("lobby")
    assert (people.clients, people.missing) == ({}, [two[0].mux._core._fleet.myself])
    empty(two[0], clients)


async def test_a_listing_gives_others_their_turn(two: list[Serving]) -> None:
    """Ten thousand clients are listed in slices."""
    clients = fill(two[0], 40 * SLICE)
    asked = asyncio.create_task(two[0].mux.presence("lobby"))
    turns = 0
    while not asked.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 40
    empty(two[0], clients)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"channel": "lobby", "kind": "clients", "parcel": "x"},
        {"channel": "$fleet", "kind": "clients", "parcel": "0" * 16},
        {"channel": "lobby", "kind": "secrets", "parcel": "0" * 16},
        {"channel": 7, "kind": "users", "parcel": "0" * 16},
    ],
)
async def test_a_question_that_cannot_be_has_no_answer(two: list[Serving], fields: dict[str, object]) -> None:
    """Anybody may publish it."""
    assert await presence_of(two[0])._answer(fields) is None


async def test_names_are_checked_and_a_process_that_leaves_asks_nothing(two: list[Serving]) -> None:
    """Both raise."""
    with pytest.raises(InvalidChannel):
        await two[0].mux.presence("no channel")
    await presence_of(two[0]).aclose()
    with refused(reasons.LEAVING):
        await two[0].mux.presence("lobby")


async def test_while_redis_is_away_a_process_tells_of_its_own(
    two: list[Serving], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are missing."""
    clients = fill(two[0], 2)
    monkeypatch.setattr(type(two[0].mux._core.broker), "is_connected", False)
    people = await two[0].mux.presence("lobby")
    others: list[Identity] = [two[1].mux._core._fleet.myself]
    assert (len(people.clients), people.missing) == (2, others)
    empty(two[0], clients)
