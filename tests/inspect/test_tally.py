from __future__ import annotations

import tracemalloc
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux.inspect.tally import LEASE_SECONDS, MAX_CHANNELS, SHORTEST_SECONDS, WINDOW_SECONDS, Tally
from mux.wire.resp import Push


def batch(*channels: bytes) -> list[Push]:
    """Return a message on each channel."""
    return [[b"pmessage", b"feed:*", channel, b"hi"] for channel in channels]


def heard(channel: bytes) -> bool:
    """Channels have subscribers but for those that say so; no name of a channel ends with NUL."""
    return not channel.startswith(b"feed:unheard") and not channel.endswith(b"\0")


def test_messages_per_second() -> None:
    """By channel; what is known to be binary counts to its channel."""
    tally = Tally(heard)
    tally.extend(10.0)
    tally.count(batch(b"feed:a", b"feed:a", b"feed:b", b"feed:a\0"))
    assert tally.rates(12.0) == {b"feed:a": 1.5, b"feed:b": 0.5}


def test_rates_are_told_after_a_moment() -> None:
    """One message in a millisecond is not a thousand a second."""
    tally = Tally(heard)
    tally.extend(10.0)
    assert tally.ready_in(10.05) == pytest.approx(SHORTEST_SECONDS - 0.05)
    assert tally.ready_in(11.0) == 0
    tally.count(batch(b"feed:a"))
    assert tally.rates(10.001) == {b"feed:a": 1 / SHORTEST_SECONDS}


def test_windows_follow_each_other() -> None:
    """A rate is of the last two; what was before is forgotten."""
    tally = Tally(heard)
    tally.extend(10.0)
    tally.count(batch(b"feed:a"))
    tally.tick(10.0 + WINDOW_SECONDS / 2)
    tally.tick(10.0 + WINDOW_SECONDS)
    assert tally.rates(10.0 + 2 * WINDOW_SECONDS) == {b"feed:a": 1 / (2 * WINDOW_SECONDS)}
    tally.tick(10.0 + 2 * WINDOW_SECONDS)
    assert tally.rates(10.0 + 2 * WINDOW_SECONDS) == {}


def test_counting_ends_when_nobody_has_asked_for_ten_seconds() -> None:
    """And begins anew with the next question."""
    tally = Tally(heard)
    assert not tally.is_wanted(0.0)
    tally.extend(10.0)
    tally.extend(11.0)
    tally.count(batch(b"feed:a"))
    assert tally.is_wanted(10.9 + LEASE_SECONDS)
    assert not tally.is_wanted(11.0 + LEASE_SECONDS)
    tally.extend(50.0)
    assert not len(tally)
    assert tally.ready_in(50.0) == pytest.approx(SHORTEST_SECONDS)


def test_names_that_nobody_here_listens_to_are_not_kept() -> None:
    """However many they are and however long, binary or not: names of 500 KB filled 1.2 GB while somebody looked."""
    tally = Tally(heard)
    tally.extend(0.0)
    tracemalloc.start()
    try:
        for number in range(10):
            long_names = [b"feed:unheard/%d/" % other + b"x" * 50_000 + b"\0" * (other % 2) for other in range(20)]
            tally.count(batch(b"feed:a", *long_names, *(b"feed:unheard/%d" % other for other in range(number, 5000))))
        del long_names
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (len(tally), tally.rates(1.0)) == (1, {b"feed:a": 10})
    assert kept < 20_000


def test_a_flood_of_heard_names_keeps_the_busiest() -> None:
    """Half of the table, whatever its size was."""
    tally = Tally(heard)
    tally.extend(0.0)
    tally.count(batch(*[b"feed:busy"] * 5, *(b"feed:%d" % number for number in range(2 * MAX_CHANNELS))))
    assert len(tally) == MAX_CHANNELS // 2
    assert tally.rates(1.0)[b"feed:busy"] == 5


@given(st.lists(st.sampled_from([b"feed:a", b"feed:b", b"feed:b\0", b"feed:unheard"]), max_size=50))
def test_every_message_that_is_heard_is_counted_once(channels: list[bytes]) -> None:
    """Over both windows, against a naive count."""
    tally = Tally(heard)
    tally.extend(0.0)
    tally.count(batch(*channels))
    tally.tick(WINDOW_SECONDS)
    tally.count(batch(*channels))
    naive = Counter(name.rstrip(b"\0") for name in channels if name != b"feed:unheard")
    assert tally.rates(5.0) == {name: 2 * number / 5.0 for name, number in naive.items()}
