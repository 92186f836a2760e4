from __future__ import annotations

import asyncio
import gc
import inspect
from collections.abc import Callable, Iterator
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux.hub.hub import Hub
from mux.hub.subscriber import AnySubscriber
from mux.inspect import search as search_module
from mux.inspect.search import Found, search
from tests.hub.fakes import FakeClient

PREFIX = b"feed:"
SLICE = 128


def new_hub() -> Hub:
    """Return a hub whose limits nobody reaches, with a channel of the process' own."""
    hub = Hub(max_pending_bytes=1 << 20, max_unwritable_seconds=3600, ping_seconds=3600, pong_seconds=60)
    hub.router.listen(b"feed:$fleet", lambda payload, number: None)
    return hub


def connect(hub: Hub, *channels: bytes) -> AnySubscriber:
    """Connect a client that listens to some channels."""
    client = FakeClient(hub).subscriber
    hub.connected(client)
    for channel in channels:
        hub.router.join(client, channel)
    return client


def leave(hub: Hub, client: AnySubscriber) -> None:
    """Have a client go away."""
    hub.router.leave_all(client)
    hub.disconnected(client)


def hub_with(channels: dict[bytes, int]) -> Hub:
    """Return a hub with so many subscribers on each channel, all of them on several channels."""
    hub = new_hub()
    for number in range(max(channels.values(), default=0)):
        connect(hub, *(name for name, subscribers in channels.items() if subscribers > number))
    return hub


async def between_slices(hub: Hub, happens: Callable[[], object], *, count: int) -> Found:
    """Return what a search finds when something happens after each slice."""
    task = asyncio.create_task(search(hub, prefix=PREFIX, count=count))
    await asyncio.sleep(0)
    while not task.done():
        happens()
        await asyncio.sleep(0)
    return task.result()


@given(
    st.dictionaries(st.text("abc", min_size=1, max_size=4).map(lambda name: PREFIX + name.encode()), st.integers(1, 3)),
    st.integers(1, 8),
    st.sampled_from([b"", b"a", b"ab"]),
)
def test_the_first_channels_are_found(channels: dict[bytes, int], count: int, prefix: bytes) -> None:
    """Against sorting all: by subscribers, then by name; a channel of the process' own is none."""
    found = asyncio.run(search(hub_with(channels), prefix=PREFIX + prefix, count=count))
    matching = sorted((-number, name) for name, number in channels.items() if name.startswith(PREFIX + prefix))
    assert found.names == [name for _, name in matching[:count]]
    assert found.is_complete == (len(matching) <= count)


@given(st.dictionaries(st.sampled_from([b"feed:%d" % number for number in range(30)]), st.integers(0, 3)))
def test_the_busiest_channels_are_found(rates: dict[bytes, float]) -> None:
    """Against sorting all; those without a message come last, by name."""
    channels = {b"feed:%d" % number: 1 for number in range(20)}
    found = asyncio.run(search(hub_with(channels), prefix=PREFIX, count=5, rates=rates))
    assert found.names == sorted(channels, key=lambda name: (-rates.get(name, 0), name))[:5]


@pytest.fixture
def short_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have slices of 128 steps, so that a few thousand clients are many slices."""
    monkeypatch.setattr(search_module, "SLICE_STEPS", SLICE)


@pytest.mark.usefixtures("short_slices")
async def test_a_slice_is_bounded_whatever_the_clients_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients of one channel, of many, and of none: a slice has its steps, and the rest of one client's channels."""
    hub = new_hub()
    for number in range(2000):
        connect(hub, b"feed:%06d" % number)
        connect(hub)
    for number in range(20):
        connect(hub, *(b"feed:shared/%d/%d" % (number, other) for other in range(100)))
    slices: list[int] = []
    take = search_module._Best.take

    def counted(best: search_module._Best, names: list[bytes]) -> None:
        slices.append(len(names))
        take(best, names)

    monkeypatch.setattr(search_module._Best, "take", counted)
    found = await search(hub, prefix=PREFIX, count=4000)
    assert len(found.names) == sum(slices) == 4000
    assert max(slices) <= SLICE + 100
    assert len(slices) >= (4020 + 4000) / (SLICE + 100)


@pytest.mark.usefixtures("short_slices")
@pytest.mark.parametrize("changes", [1, 3000])
async def test_a_search_holds_no_place_in_a_table_that_changes(changes: int) -> None:
    """A crowd has left, and between slices clients change their channels one for one: the table keeps its size.

    An iterator over a dict notices a change only by the dict's size. One that was kept over turns of the loop read on
    behind the end of a table that had been made anew meanwhile, and the process ended with SIGSEGV. Whoever stays is
    found, once.
    """
    hub, dice = new_hub(), Random(7)
    staying = {b"feed:stays/%04d" % number for number in range(200)}
    for name in staying:
        connect(hub, name)
        connect(hub, name)
    passing = [connect(hub, b"feed:goes/%d" % number) for number in range(3000)]
    crowd = connect(hub)
    for number in range(20_000):
        hub.router.join(crowd, b"feed:crowd/%d" % number)
    leave(hub, crowd)
    slices = 0

    def change() -> None:
        nonlocal slices
        slices += 1
        for number in range(changes):
            client = passing[dice.randrange(len(passing))]
            hub.router.leave_all(client)
            hub.router.join(client, b"feed:came/%d/%d" % (slices, number))

    found = (await between_slices(hub, change, count=300)).names
    assert found[: len(staying)] == sorted(staying)
    assert len(set(found)) == len(found) == 300
    assert slices > 10


@pytest.mark.usefixtures("short_slices")
async def test_nothing_that_is_kept_between_slices_is_an_iterator() -> None:
    """So nothing that changes between two of them can matter."""
    hub = new_hub()
    for number in range(3000):
        connect(hub, b"feed:%d" % number)
    searching = search(hub, prefix=PREFIX, count=300)
    slices = 0
    while True:
        try:
            searching.send(None)
        except StopIteration:
            break
        slices += 1
        kept = gc.get_referents(searching, inspect.getcoroutinelocals(searching))
        assert any(isinstance(one, search_module._Best) for one in kept)
        assert not any(isinstance(one, Iterator) and "iterator" in type(one).__name__ for one in kept)
    assert slices > 10


@pytest.mark.usefixtures("short_slices")
async def test_a_search_ends_when_everybody_leaves() -> None:
    """Nothing is left to search; the names that were found before are told."""
    hub = new_hub()
    clients = [connect(hub, b"feed:%d" % number) for number in range(10 * SLICE)]

    def everybody_leaves() -> None:
        while clients:
            leave(hub, clients.pop())

    assert len((await between_slices(hub, everybody_leaves, count=10)).names) == 10
