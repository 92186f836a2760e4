import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux.hub.heartbeat import SPOKES, Heartbeat
from mux.hub.subscriber import AnySubscriber

from .fakes import FakeClient

PING, PONG = 25, 10
"""Ticks, and seconds as well: a tick is a second here."""


class Wheel(Heartbeat):
    """A heartbeat that turns by the same time at each tick."""

    def __init__(self, ping_seconds: float = PING, pong_seconds: float = PONG, tick_seconds: float = 1) -> None:
        super().__init__(ping_seconds=ping_seconds, pong_seconds=pong_seconds)
        self.step, self.ticks = tick_seconds, 0

    def turn(self) -> list[AnySubscriber]:
        self.ticks += 1
        return self.tick(self.ticks * self.step)


@pytest.fixture
def wheel() -> Wheel:
    """Pings every 25 ticks and waits 10 for an answer, as the default settings have it."""
    return Wheel()


def watched(heartbeat: Heartbeat) -> FakeClient:
    """Return a client the heartbeat watches."""
    client = FakeClient()
    heartbeat.add(client.subscriber)
    return client


def ticks_of_pings(wheel: Wheel, client: FakeClient, ticks: int, *, answers: bool) -> list[int]:
    """Return at which of the next ticks a client is pinged; it answers at once, or never."""
    pinged = []
    for tick in range(1, ticks + 1):
        before = len(client.written)
        wheel.turn()
        if len(client.written) > before:
            pinged.append(tick)
            if answers:
                client.subscriber.data_received(b"pong")
    return pinged


def tick_until_pinged(wheel: Wheel, client: FakeClient) -> None:
    """Turn the wheel to the client's next ping."""
    before = len(client.written)
    for _ in range(2 * PING):
        assert wheel.turn() == []
        if len(client.written) > before:
            return
    pytest.fail("never pinged")


def silent(wheel: Wheel, ticks: int) -> list[object]:
    """Return who is found silent within so many ticks."""
    return [subscriber for _ in range(ticks) for subscriber in wheel.turn()]


def test_a_silent_client_is_pinged_once_a_turn(wheel: Wheel) -> None:
    """The first ping comes within one interval, and then one an interval."""
    client = watched(wheel)
    first, second, third = ticks_of_pings(wheel, client, 3 * PING, answers=True)
    assert 1 <= first <= PING
    assert (second - first, third - second) == (PING, PING)


def test_who_answers_is_not_silent(wheel: Wheel) -> None:
    """Any bytes at all, any time before the last tick."""
    client = watched(wheel)
    tick_until_pinged(wheel, client)
    assert silent(wheel, PONG - 1) == []
    client.subscriber.data_received(b"\x8a")
    assert silent(wheel, PING - PONG) == []


def test_who_does_not_answer_is_found_when_the_time_is_up(wheel: Wheel) -> None:
    """Ten ticks after the ping, no sooner, and once."""
    client = watched(wheel)
    tick_until_pinged(wheel, client)
    assert silent(wheel, PONG - 1) == []
    assert wheel.turn() == [client.subscriber]
    assert silent(wheel, PING - PONG - 1) == []


def test_bytes_before_the_ping_are_no_answer_to_it(wheel: Wheel) -> None:
    """Who talked a turn ago has to answer like everybody."""
    client = watched(wheel)
    client.subscriber.data_received(b"hi")
    tick_until_pinged(wheel, client)
    assert silent(wheel, PONG) == [client.subscriber]


def test_who_cannot_answer_is_pinged_and_never_silent(wheel: Wheel) -> None:
    """A client that only listens: every turn it hears that the connection is in use."""
    client = watched(wheel)
    client.endpoint.is_answered = False
    assert silent(wheel, 3 * PING) == []
    assert client.written == [b"ping"] * 3


def test_who_is_not_read_from_is_spared(wheel: Wheel) -> None:
    """The answer may be in the socket: that nobody reads it is our doing."""
    client = watched(wheel)
    tick_until_pinged(wheel, client)
    client.pause_reading()
    assert silent(wheel, PONG) == []


def test_who_is_read_from_again_has_to_answer_the_next_ping(wheel: Wheel) -> None:
    """Being spared once is no pardon for ever."""
    client = watched(wheel)
    tick_until_pinged(wheel, client)
    client.pause_reading()
    silent(wheel, PONG)
    client.resume_reading()
    tick_until_pinged(wheel, client)
    assert silent(wheel, PONG) == [client.subscriber]


def test_who_talks_is_not_pinged(wheel: Wheel) -> None:
    """One byte a turn is enough."""
    client = watched(wheel)
    for tick in range(4 * PING):
        if tick % PING == 0:
            client.subscriber.data_received(b"hi")
        wheel.turn()
    assert client.written == []


def test_who_stops_talking_is_pinged_within_two_turns(wheel: Wheel) -> None:
    """What was heard is good for the turn it was heard in."""
    client = watched(wheel)
    client.subscriber.data_received(b"hi")
    assert len(ticks_of_pings(wheel, client, 2 * PING, answers=False)) == 1


def test_clients_are_spread_over_the_turn(wheel: Wheel) -> None:
    """Pings of those who came at once never leave at once."""
    clients = [watched(wheel) for _ in range(4 * SPOKES)]
    total = 0
    for tick in range(1, PING + 1):
        wheel.turn()
        before, total = total, sum(len(client.written) for client in clients)
        assert total - before == len(clients) // PING, f"at tick {tick}"


def test_who_is_discarded_is_not_watched(wheel: Wheel) -> None:
    """Neither pinged nor found silent, pinged before or not; discarding twice is nothing."""
    early, late = watched(wheel), watched(wheel)
    tick_until_pinged(wheel, late)
    for client in (early, late, late):
        wheel.discard(client.subscriber)
    pings = len(early.written) + len(late.written)
    assert silent(wheel, 2 * PING) == []
    assert len(early.written) + len(late.written) == pings


def test_a_stranger_is_discarded_without_harm(wheel: Wheel) -> None:
    """Who was never watched takes nobody else along."""
    client = watched(wheel)
    wheel.discard(FakeClient().subscriber)
    assert list(wheel) == [client.subscriber]


def test_length_and_contents_are_the_watched(wheel: Wheel) -> None:
    """On whatever spoke they hang."""
    clients = {watched(wheel).subscriber for _ in range(SPOKES + 3)}
    assert len(wheel) == SPOKES + 3
    assert set(wheel) == clients


@pytest.mark.parametrize(
    ("ping_seconds", "pong_seconds", "ticks"),
    [(25, 10, 10), (25, 9.1, 10), (25, 0.01, 1), (25, 24.9, 25), (0.5, 0.1, 5), (50, 10, 5), (250, 1, 1)],
)
def test_the_time_to_answer_is_rounded_up_to_a_tick(ping_seconds: float, pong_seconds: float, ticks: int) -> None:
    """At least one tick, here of a 25th of the interval."""
    wheel = Wheel(ping_seconds, pong_seconds, ping_seconds / PING)
    client = watched(wheel)
    tick_until_pinged(wheel, client)
    assert silent(wheel, ticks - 1) == []
    assert wheel.turn() == [client.subscriber]


def test_a_ping_that_leaves_late_may_be_answered_later() -> None:
    """Who was pinged three seconds late by a busy process has ten seconds nevertheless."""
    wheel = Wheel()
    client = watched(wheel)
    wheel.tick(PING // 2)
    assert not client.written
    wheel.tick(PING // 2 + 3)
    assert client.written
    assert wheel.tick(PING // 2 + 3 + PONG - 0.1) == []
    assert wheel.tick(PING // 2 + 3 + PONG) == [client.subscriber]


def test_who_answered_before_the_next_ping_is_not_silent_after_it() -> None:
    """The answer to a late ping came, and the next ping was due before its time was up: the answer counts."""
    wheel = Wheel(PING, PING - 0.1)
    client = watched(wheel)
    wheel.tick(PING // 2 + 3)
    client.subscriber.data_received(b"pong")
    assert wheel.tick(PING // 2 + PING + 1) == []
    assert wheel.tick(PING // 2 + PING + 3) == []


def test_a_crowd_is_pinged_a_few_at_a_time() -> None:
    """With 25 spokes 720 of 18,000 clients were pinged at once, and all messages of that second were 8 ms late."""
    wheel = Wheel(tick_seconds=0.02)
    clients = [watched(wheel) for _ in range(18_000)]
    most = total = 0
    for _ in range(PING * 50):
        wheel.turn()
        before, total = total, sum(len(client.written) for client in clients)
        most = max(most, total - before)
    assert (most, total) == (36, 18_000)


def test_the_first_clients_of_a_long_interval_are_not_pinged_soon() -> None:
    """The 18,000th client of a benchmark was once pinged in the first second: a long wheel had come round."""
    wheel = Wheel(86_400, 10)
    clients = [watched(wheel) for _ in range(SPOKES // 4)]
    assert silent(wheel, 600) == []
    assert not any(client.written for client in clients)


@given(st.floats(0.05, 3600), st.floats(0, 1, exclude_min=True, exclude_max=True), st.integers(0, 60))
def test_who_answers_at_once_is_never_silent(ping_seconds: float, share: float, joined_at: int) -> None:
    """Whatever the settings and whenever it came: a live client stays."""
    wheel = Wheel(ping_seconds, ping_seconds * share, ping_seconds / PING)
    for _ in range(joined_at):
        wheel.turn()
    client = watched(wheel)
    client.on_write = lambda: client.subscriber.data_received(b"pong")
    assert silent(wheel, 4 * PING) == []
    assert len(client.written) >= 3


@given(st.lists(st.booleans(), max_size=200))
def test_every_connection_is_on_one_spoke_and_stays_there(comes: list[bool]) -> None:
    """Whoever looks at a copy of one spoke after the other meets each connection that is there throughout once."""
    wheel = Wheel()
    there = {FakeClient().subscriber for _ in range(60)}
    for subscriber in there:
        wheel.add(subscriber)
    met = []
    passing = []
    number = 0
    while (spoke := wheel.spoke(number)) is not None:
        met += [subscriber for subscriber in spoke if subscriber in there]
        for is_coming in comes[number::SPOKES]:
            if is_coming:
                passing.append(watched(wheel).subscriber)
            elif passing:
                wheel.discard(passing.pop())
            wheel.turn()
        number += 1
    assert number == SPOKES
    assert len(met) == len(there)
    assert set(met) == there
