import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux.hub.heartbeat import MAX_SPOKES, SPOKES, Heartbeat

from .fakes import FakeClient

PING, PONG = 25, 10
"""Ticks, and seconds as well: a tick is a second here."""


@pytest.fixture
def heartbeat() -> Heartbeat:
    """Pings every 25 ticks and waits 10 for an answer, as the default settings have it."""
    return Heartbeat(ping_seconds=PING, pong_seconds=PONG)


def watched(heartbeat: Heartbeat) -> FakeClient:
    """Return a client the heartbeat watches."""
    client = FakeClient()
    heartbeat.add(client.subscriber)
    return client


def ticks_of_pings(heartbeat: Heartbeat, client: FakeClient, ticks: int, *, answers: bool) -> list[int]:
    """Return at which of the next ticks a client is pinged; it answers at once, or never."""
    pinged = []
    for tick in range(1, ticks + 1):
        before = len(client.written)
        heartbeat.tick()
        if len(client.written) > before:
            pinged.append(tick)
            if answers:
                client.subscriber.data_received(b"pong")
    return pinged


def tick_until_pinged(heartbeat: Heartbeat, client: FakeClient) -> None:
    """Turn the wheel to the client's next ping."""
    before = len(client.written)
    for _ in range(2 * SPOKES):
        assert heartbeat.tick() == []
        if len(client.written) > before:
            return
    pytest.fail("never pinged")


def silent(heartbeat: Heartbeat, ticks: int) -> list[object]:
    """Return who is found silent within so many ticks."""
    return [subscriber for _ in range(ticks) for subscriber in heartbeat.tick()]


def test_a_turn_takes_one_ping_interval(heartbeat: Heartbeat) -> None:
    """25 ticks a turn."""
    assert heartbeat.tick_seconds * SPOKES == PING


def test_a_silent_client_is_pinged_once_a_turn(heartbeat: Heartbeat) -> None:
    """The first ping comes within one interval, and then one an interval."""
    client = watched(heartbeat)
    first, second, third = ticks_of_pings(heartbeat, client, 3 * PING, answers=True)
    assert 1 <= first <= PING
    assert (second - first, third - second) == (PING, PING)


def test_who_answers_is_not_silent(heartbeat: Heartbeat) -> None:
    """Any bytes at all, any time before the last tick."""
    client = watched(heartbeat)
    tick_until_pinged(heartbeat, client)
    assert silent(heartbeat, PONG - 1) == []
    client.subscriber.data_received(b"\x8a")
    assert silent(heartbeat, PING - PONG) == []


def test_who_does_not_answer_is_found_when_the_time_is_up(heartbeat: Heartbeat) -> None:
    """Ten ticks after the ping, no sooner, and once."""
    client = watched(heartbeat)
    tick_until_pinged(heartbeat, client)
    assert silent(heartbeat, PONG - 1) == []
    assert heartbeat.tick() == [client.subscriber]
    assert silent(heartbeat, PING - PONG - 1) == []


def test_bytes_before_the_ping_are_no_answer_to_it(heartbeat: Heartbeat) -> None:
    """Who talked a turn ago has to answer like everybody."""
    client = watched(heartbeat)
    client.subscriber.data_received(b"hi")
    tick_until_pinged(heartbeat, client)
    assert silent(heartbeat, PONG) == [client.subscriber]


def test_who_cannot_answer_is_pinged_and_never_silent(heartbeat: Heartbeat) -> None:
    """A client that only listens: every turn it hears that the connection is in use."""
    client = watched(heartbeat)
    client.endpoint.is_answered = False
    assert silent(heartbeat, 3 * PING) == []
    assert client.written == [b"ping"] * 3


def test_who_is_not_read_from_is_spared(heartbeat: Heartbeat) -> None:
    """The answer may be in the socket: that nobody reads it is our doing."""
    client = watched(heartbeat)
    tick_until_pinged(heartbeat, client)
    client.pause_reading()
    assert silent(heartbeat, PONG) == []


def test_who_is_read_from_again_has_to_answer_the_next_ping(heartbeat: Heartbeat) -> None:
    """Being spared once is no pardon for ever."""
    client = watched(heartbeat)
    tick_until_pinged(heartbeat, client)
    client.pause_reading()
    silent(heartbeat, PONG)
    client.resume_reading()
    tick_until_pinged(heartbeat, client)
    assert silent(heartbeat, PONG) == [client.subscriber]


def test_who_talks_is_not_pinged(heartbeat: Heartbeat) -> None:
    """One byte a turn is enough."""
    client = watched(heartbeat)
    for tick in range(4 * PING):
        if tick % PING == 0:
            client.subscriber.data_received(b"hi")
        heartbeat.tick()
    assert client.written == []


def test_who_stops_talking_is_pinged_within_two_turns(heartbeat: Heartbeat) -> None:
    """What was heard is good for the turn it was heard in."""
    client = watched(heartbeat)
    client.subscriber.data_received(b"hi")
    assert len(ticks_of_pings(heartbeat, client, 2 * PING, answers=False)) == 1


def test_clients_are_spread_over_the_turn(heartbeat: Heartbeat) -> None:
    """Pings of those who came at once never leave at once."""
    clients = [watched(heartbeat) for _ in range(4 * SPOKES)]
    total = 0
    for tick in range(1, SPOKES + 1):
        heartbeat.tick()
        before, total = total, sum(len(client.written) for client in clients)
        assert total - before == 4, f"at tick {tick}"


def test_who_is_discarded_is_not_watched(heartbeat: Heartbeat) -> None:
    """Neither pinged nor found silent, pinged before or not; discarding twice is nothing."""
    early, late = watched(heartbeat), watched(heartbeat)
    tick_until_pinged(heartbeat, late)
    for client in (early, late, late):
        heartbeat.discard(client.subscriber)
    pings = len(early.written) + len(late.written)
    assert silent(heartbeat, 2 * PING) == []
    assert len(early.written) + len(late.written) == pings


def test_a_stranger_is_discarded_without_harm(heartbeat: Heartbeat) -> None:
    """Who was never watched takes nobody else along."""
    client = watched(heartbeat)
    heartbeat.discard(FakeClient().subscriber)
    assert list(heartbeat) == [client.subscriber]


def test_length_and_contents_are_the_watched(heartbeat: Heartbeat) -> None:
    """On whatever spoke they hang."""
    clients = {watched(heartbeat).subscriber for _ in range(SPOKES + 3)}
    assert len(heartbeat) == SPOKES + 3
    assert set(heartbeat) == clients


@pytest.mark.parametrize(
    ("ping_seconds", "pong_seconds", "ticks"),
    [(25, 10, 10), (25, 9.1, 10), (25, 0.01, 1), (25, 24.9, 24), (0.5, 0.1, 5), (50, 10, 5), (250, 1, 1)],
)
def test_the_time_to_answer_is_rounded_up_to_a_tick(ping_seconds: float, pong_seconds: float, ticks: int) -> None:
    """At least one tick, and always less than a turn."""
    heartbeat = Heartbeat(ping_seconds=ping_seconds, pong_seconds=pong_seconds)
    client = watched(heartbeat)
    tick_until_pinged(heartbeat, client)
    assert silent(heartbeat, ticks - 1) == []
    assert heartbeat.tick() == [client.subscriber]


def test_ticks_may_be_close_without_a_wheel_that_is_long() -> None:
    """With a wheel of one spoke a tick, this one took 17 GB and minutes to make."""
    heartbeat = Heartbeat(ping_seconds=86_400, pong_seconds=600, longest_tick_seconds=0.001)
    assert 0.0009 < heartbeat.tick_seconds <= 0.001
    assert len(heartbeat._wheel) == MAX_SPOKES


def test_a_spoke_of_many_ticks_is_as_long_as_it_should_be() -> None:
    """A ping every 60 s in 12,000 ticks; the 2 s to answer are rounded up to four spokes of 0.6 s."""
    heartbeat = Heartbeat(ping_seconds=60, pong_seconds=2, longest_tick_seconds=0.005)
    client = watched(heartbeat)
    first, second = ticks_of_pings(heartbeat, client, 24_000, answers=True)
    assert second - first == 12_000
    ticks_of_pings(heartbeat, client, first, answers=False)
    assert silent(heartbeat, 479) == []
    assert silent(heartbeat, 1) == [client.subscriber]


def test_the_first_clients_of_a_long_interval_are_not_pinged_soon() -> None:
    """The 18,000th client of a benchmark was once pinged in the first second: a long wheel had come round."""
    heartbeat = Heartbeat(ping_seconds=86_400, pong_seconds=10, longest_tick_seconds=1)
    clients = [watched(heartbeat) for _ in range(2 * MAX_SPOKES)]
    assert silent(heartbeat, 600) == []
    assert not any(client.written for client in clients)


@given(st.floats(0.05, 3600), st.floats(0, 1, exclude_min=True, exclude_max=True), st.integers(0, 60))
def test_who_answers_at_once_is_never_silent(ping_seconds: float, share: float, joined_at: int) -> None:
    """Whatever the settings and whenever it came: a live client stays."""
    heartbeat = Heartbeat(ping_seconds=ping_seconds, pong_seconds=ping_seconds * share)
    for _ in range(joined_at):
        heartbeat.tick()
    client = watched(heartbeat)
    client.on_write = lambda: client.subscriber.data_received(b"pong")
    assert silent(heartbeat, 4 * SPOKES) == []
    assert len(client.written) >= 3


@given(st.lists(st.booleans(), max_size=200))
def test_every_connection_is_on_one_spoke_and_stays_there(comes: list[bool]) -> None:
    """Whoever looks at a copy of one spoke after the other meets each connection that is there throughout once."""
    heartbeat = Heartbeat(ping_seconds=PING, pong_seconds=PONG)
    there = {FakeClient().subscriber for _ in range(60)}
    for subscriber in there:
        heartbeat.add(subscriber)
    met = []
    passing = []
    number = 0
    while (spoke := heartbeat.spoke(number)) is not None:
        met += [subscriber for subscriber in spoke if subscriber in there]
        for is_coming in comes[number::SPOKES]:
            if is_coming:
                passing.append(watched(heartbeat).subscriber)
            elif passing:
                heartbeat.discard(passing.pop())
            heartbeat.tick()
        number += 1
    assert number == SPOKES
    assert len(met) == len(there)
    assert set(met) == there
