from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux.fleet import scan as scan_module
from mux.fleet.scan import Scan
from mux.hub.router import Router
from tests.hub.fakes import FakeClient

PREFIX = b"feed:"


def router_with(channels: dict[bytes, int]) -> Router:
    """Return a router with so many subscribers on each channel, and an ear."""
    router = Router()
    router.listen(b"feed:$fleet", lambda publications: None)
    clients = [FakeClient().subscriber for _ in range(max(channels.values(), default=0))]
    for channel, subscribers in channels.items():
        for client in clients[:subscribers]:
            router.join(client, channel)
    return router


def result(scan: Scan) -> list[bytes]:
    """Return what a scan finds when nothing happens meanwhile."""
    while scan.step():
        pass
    return scan.result()


@given(
    st.dictionaries(st.text("abc", min_size=1, max_size=4).map(lambda name: PREFIX + name.encode()), st.integers(1, 3)),
    st.integers(1, 8),
    st.sampled_from([b"", b"a", b"ab"]),
)
def test_the_first_channels_are_found(channels: dict[bytes, int], count: int, prefix: bytes) -> None:
    """Against sorting all: by subscribers, then by name; ears are no channels."""
    scan = Scan(router_with(channels), prefix=PREFIX + prefix, count=count)
    matching = sorted((-number, name) for name, number in channels.items() if name.startswith(PREFIX + prefix))
    assert result(scan) == [name for _, name in matching[:count]]
    assert scan.is_complete == (len(matching) <= count)


@given(st.dictionaries(st.sampled_from([b"feed:%d" % number for number in range(30)]), st.integers(0, 3)))
def test_the_busiest_channels_are_found(rates: dict[bytes, float]) -> None:
    """Against sorting all; those without a message come last, by name."""
    channels = {b"feed:%d" % number: 1 for number in range(20)}
    scan = Scan(router_with(channels), prefix=PREFIX, count=5, rates=rates)
    assert result(scan) == sorted(channels, key=lambda name: (-rates.get(name, 0), name))[:5]


SLICE = 128


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> dict[bytes, int]:
    """Four thousand, in no order, looked at in short slices."""
    monkeypatch.setattr(scan_module, "SLICE_CHANNELS", SLICE)
    numbers = list(range(4000))
    Random(7).shuffle(numbers)
    return {b"feed:%06d" % number: 2 if number % 100 == 7 else 1 for number in numbers}


def test_no_slice_is_long(many: dict[bytes, int]) -> None:
    """Each looks at as many channels as it may, and so many turns of the loop lie between the first and the last."""
    router = router_with(many)
    scan, steps = Scan(router, prefix=PREFIX, count=200), 0
    while scan.step():
        steps += 1
    assert steps == -(-len(router) // SLICE)
    assert scan.result()[:2] == [b"feed:000007", b"feed:000107"]
    assert len(scan.result()) == 200


@pytest.mark.parametrize("closes", ["newest", "oldest", "none"])
def test_a_channel_that_stays_is_found_whatever_comes_and_goes(many: dict[bytes, int], closes: str) -> None:
    """Between slices channels open and close, at the cost of a search for the place; nothing is missed or doubled."""
    router = router_with(many)
    stays = {name for name, number in many.items() if number == 2}
    goes = [name for name in many if name not in stays]
    scan, newcomer, steps = Scan(router, prefix=PREFIX, count=200), FakeClient().subscriber, 0
    while scan.step():
        steps += 1
        router.join(newcomer, b"feed:new/%d" % steps)
        if closes != "none":
            for _ in range(50):
                name = goes.pop(0 if closes == "oldest" else -1)
                router.leave(next(iter(router.subscribers(name))), name)
    found = scan.result()
    assert found[: len(stays)] == sorted(stays)
    assert len(set(found)) == len(found) == 200
    assert steps > 10


def test_a_scan_ends_when_everybody_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left to look at; what was found before is told."""
    monkeypatch.setattr(scan_module, "SLICE_CHANNELS", SLICE)
    router = router_with({b"feed:%d" % number: 1 for number in range(3 * SLICE)})
    scan = Scan(router, prefix=PREFIX, count=10)
    assert scan.step()
    for channel in [name for name, _ in router.newest_channels()]:
        router.leave(next(iter(router.subscribers(channel))), channel)
    assert len(result(scan)) == 10
