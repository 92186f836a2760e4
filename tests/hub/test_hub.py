import logging
from typing import Any

import pytest

from mux import reasons
from mux.hub.hub import CLOSING_SECONDS, TICK_SECONDS, Hub
from mux.wire.resp import Push

from .fakes import FakeClient

BIG: Push = [b"pmessage", b"feed:*", b"feed:lobby", b"x" * 2000]
SMALL: Push = [b"pmessage", b"feed:*", b"feed:lobby", b"hi"]


def make_hub(*, max_unwritable_seconds: float = 10, ping_seconds: float = 25, **options: Any) -> Hub:
    """Return a hub that allows 1,000 bytes pending and otherwise has the defaults; its clock is at 0."""
    hub = Hub(
        max_pending_bytes=1000,
        max_unwritable_seconds=max_unwritable_seconds,
        ping_seconds=ping_seconds,
        pong_seconds=10,
        **options,
    )
    hub.tick(0)
    return hub


@pytest.fixture
def hub() -> Hub:
    """1,000 bytes pending, 10 s unwritable, pinged every 25 s and given 10 s to answer."""
    return make_hub()


def connect(hub: Hub) -> FakeClient:
    """Return a new client that listens to feed:lobby."""
    client = FakeClient(hub)
    hub.connected(client.subscriber)
    hub.router.join(client.subscriber, b"feed:lobby")
    return client


def disconnect(hub: Hub, client: FakeClient) -> None:
    """Do what an endpoint does when the event loop reports a connection lost."""
    hub.router.leave_all(client.subscriber)
    hub.disconnected(client.subscriber)


def run_clock(hub: Hub, start: int, end: int, *talking: FakeClient) -> None:
    """Tick every second, the first one and the last one included, and hear from some clients all the time."""
    for now in range(start, end + 1):
        for client in talking:
            client.subscriber.has_sent = True
        hub.tick(now)


def test_a_batch_reaches_the_subscribers(hub: Hub) -> None:
    """A hub delivers what its router routes."""
    client = connect(hub)
    hub.dispatch([SMALL, SMALL])
    assert client.written == [b"hi\nhi\n"]


def test_a_client_with_too_much_pending_is_evicted(hub: Hub) -> None:
    """Its connection is aborted, the others' are not, and it is counted."""
    slow, quick = connect(hub), connect(hub)
    slow.takes_nothing = True
    hub.dispatch([BIG])
    assert (slow.aborts, quick.aborts) == (1, 0)
    assert hub.evicted == {"overflow": 1}


def test_what_an_encoding_adds_is_not_held_against_a_client(hub: Hub) -> None:
    """Of 2,001 bytes 1,100 were added; what counts is the rest, until eight times the limit waits or all has left."""
    client = connect(hub)
    client.takes_nothing = True
    client.endpoint.inflates = 1100
    hub.dispatch([BIG])
    assert client.aborts == 0
    client.take_all()
    client.takes_nothing = True
    client.endpoint.inflates = 900
    hub.dispatch([BIG])
    assert hub.evicted == {"overflow": 1}

    flooded = connect(hub)
    flooded.takes_nothing = True
    flooded.endpoint.inflates = 10**9
    for _ in range(4):
        hub.dispatch([BIG])
    assert flooded.aborts == 0
    hub.dispatch([BIG])
    assert flooded.aborts == 1


def test_eviction_comes_after_the_fan_out(hub: Hub) -> None:
    """While a batch is written nobody is ended: everybody has been written to by then."""
    clients = [connect(hub) for _ in range(3)]
    aborted_while_writing: list[int] = []
    for client in clients:
        client.takes_nothing = True
        client.on_write = lambda: aborted_while_writing.append(sum(client.aborts for client in clients))
    hub.dispatch([BIG])
    assert aborted_while_writing == [0, 0, 0]
    assert [client.aborts for client in clients] == [1, 1, 1]


def test_an_evicted_client_is_ended_once(hub: Hub) -> None:
    """Batches that come before the event loop reports it lost neither end it nor count it again."""
    client = connect(hub)
    client.takes_nothing = True
    for _ in range(3):
        hub.dispatch([BIG])
    assert (client.aborts, hub.evicted) == (1, {"overflow": 1})


def test_an_evicted_client_leaves_like_any_other(hub: Hub) -> None:
    """Eviction ends the connection and nothing else; the rest follows when it is lost."""
    client = connect(hub)
    client.takes_nothing = True
    hub.dispatch([BIG])
    assert (len(hub), list(hub.router.subscribers(b"feed:lobby"))) == (1, [client.subscriber])
    disconnect(hub, client)
    assert (len(hub), len(hub.router)) == (0, 0)


def test_what_was_written_outside_a_dispatch_is_looked_at_when_asked(hub: Hub) -> None:
    """An answer to a client counts like a delivery."""
    client = connect(hub)
    client.takes_nothing = True
    client.subscriber.write(b"x" * 1001)
    assert client.aborts == 0
    hub.evict_overflowing()
    assert (client.aborts, hub.evicted) == (1, {"overflow": 1})


def test_a_ping_too_much_evicts_as_well(hub: Hub) -> None:
    """What the tick writes is looked at by the tick."""
    client = connect(hub)
    run_clock(hub, 1, 12)
    client.takes_nothing = True
    client.subscriber.write(b"x" * 1000)
    run_clock(hub, 13, 13)
    assert (client.aborts, hub.evicted) == (1, {"overflow": 1})


def test_a_client_that_left_is_not_evicted(hub: Hub) -> None:
    """Between the overflow and the eviction its connection may be lost."""
    client = connect(hub)
    client.takes_nothing = True
    client.subscriber.write(b"x" * 1001)
    disconnect(hub, client)
    hub.evict_overflowing()
    assert (client.aborts, hub.evicted) == (0, {})


def test_a_client_whose_socket_takes_nothing_is_evicted_after_ten_seconds(hub: Hub) -> None:
    """However little is pending."""
    client = connect(hub)
    client.takes_nothing = True
    client.subscriber.write(b"x")
    run_clock(hub, 1, 9)
    assert client.aborts == 0
    hub.tick(10)
    assert (client.aborts, hub.evicted) == (1, {"unwritable": 1})


def test_a_client_whose_socket_takes_bytes_again_stays(hub: Hub) -> None:
    """The ten seconds begin anew the next time."""
    client = connect(hub)
    client.takes_nothing = True
    client.subscriber.write(b"x")
    run_clock(hub, 1, 9)
    client.take_all()
    client.takes_nothing = True
    client.subscriber.write(b"x")
    run_clock(hub, 10, 18)
    assert client.aborts == 0
    hub.tick(19)
    assert client.aborts == 1


@pytest.mark.parametrize("writes", [True, False], ids=["while more is written", "while nothing is"])
def test_a_client_that_takes_bytes_is_not_unwritable(hub: Hub, writes: bool) -> None:
    """However much stays behind: one that took all it was sent, late, was once evicted for never having caught up."""
    client = connect(hub)
    client.takes_nothing = True
    client.subscriber.write(b"x" * 900)
    for now in range(1, 60):
        client.take(10)
        if writes:
            client.subscriber.write(b"x" * 10)
        run_clock(hub, now, now, client)
    assert (client.aborts, client.subscriber.is_blocked) == (0, True)
    run_clock(hub, 60, 67, client)
    assert client.aborts == 0
    run_clock(hub, 68, 70, client)
    assert (client.aborts, hub.evicted) == (1, {"unwritable": 1})


def test_everybody_behind_is_looked_at_in_turn(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crowd that is behind makes no tick long, and nobody is evicted for not having been looked at."""
    monkeypatch.setattr("mux.hub.waiting.MEASURED_PER_TICK", 1)
    clients = [connect(hub) for _ in range(30)]
    for client in clients:
        client.takes_nothing = True
        client.subscriber.write(b"x" * 900)
    for now in range(1, 30):
        for client in clients:
            client.take(1)
        run_clock(hub, now, now, *clients)
    assert not hub.evicted
    assert abs(hub.pending_bytes - sum(client.pending for client in clients)) <= 30 * 30


def test_nobody_is_judged_for_the_time_the_process_slept() -> None:
    """Stopped for an hour, and on: unwritable, silent, closing or amid a message, all have the time they had left."""
    hub = make_hub(message_seconds=10)
    clients = [connect(hub) for _ in range(4)]
    unwritable, closing, slow, silent = clients
    talking = unwritable, closing, slow
    run_clock(hub, 1, 13, *talking)
    assert silent.written
    run_clock(hub, 14, 14, *talking)
    unwritable.takes_nothing = True
    unwritable.subscriber.write(b"x")
    hub.keep(slow.subscriber, 5, is_late_soon=True)
    run_clock(hub, 15, 19, *talking)
    hub.closing(closing.subscriber)
    run_clock(hub, 20, 22, *talking)
    run_clock(hub, 3600, 3600, *talking)
    assert [client.aborts for client in clients] == [0, 0, 0, 0]
    assert (hub.evicted, hub.refused) == ({}, {})
    run_clock(hub, 3601, 3602, *talking)
    assert hub.evicted == {"unwritable": 1, "silent": 1}
    assert hub.refused == {"too_slow": 1}
    assert closing.aborts == 1


def test_a_process_that_is_always_late_still_ends_connections(hub: Hub) -> None:
    """Busy is not asleep: deadlines are met later, and they are met."""
    client = connect(hub)
    client.takes_nothing = True
    client.subscriber.write(b"x")
    for now in range(5, 100, 5):
        hub.tick(now)
    assert client.aborts == 1


def test_when_too_much_waits_for_all_those_with_most_go(caplog: pytest.LogCaptureFixture) -> None:
    """Each within its own bound, and together over theirs: the largest go until there is room again."""
    hub = make_hub(max_pending_total_bytes=2400)
    clients = [connect(hub) for _ in range(4)]
    for client, size in zip(clients, (300, 900, 500, 600), strict=True):
        client.takes_nothing = True
        client.subscriber.write(b"x" * size)
    hub.evict_overflowing()
    assert not hub.evicted
    clients[0].subscriber.write(b"x" * 101)
    hub.evict_overflowing()
    assert [client.aborts for client in clients] == [0, 1, 0, 0]
    assert hub.evicted == {"memory": 1}
    assert hub.pending_bytes == 1501
    assert [record.getMessage() for record in caplog.records] == [
        "evicted 1 slow consumer (memory) with 900 bytes pending"
    ]


def test_what_has_left_meanwhile_does_not_count_together() -> None:
    """The sum is of what was last looked at; before anybody goes it is looked at again."""
    hub = make_hub(max_pending_total_bytes=2000)
    clients = [connect(hub) for _ in range(3)]
    for client in clients:
        client.takes_nothing = True
        client.subscriber.write(b"x" * 660)
    clients[0].take(600)
    clients[1].subscriber.write(b"x" * 100)
    hub.evict_overflowing()
    assert (hub.evicted, hub.pending_bytes) == ({}, 660 + 760 + 60)


def test_messages_that_are_not_whole_count_together_with_the_rest() -> None:
    """A fragment, or half a frame, takes memory as what waits to be sent does."""
    hub = make_hub(max_pending_total_bytes=1000)
    reader, sender = connect(hub), connect(hub)
    reader.takes_nothing = True
    reader.subscriber.write(b"x" * 400)
    hub.keep(sender.subscriber, 500)
    hub.evict_overflowing()
    assert not hub.evicted
    hub.keep(sender.subscriber, 700)
    hub.evict_overflowing()
    assert (reader.aborts, sender.aborts, hub.evicted) == (0, 1, {"memory": 1})
    assert hub.pending_bytes == 400


def test_what_is_held_back_counts_together_with_the_rest() -> None:
    """The newest messages for a client that is behind take memory, and are gone with it."""
    hub = make_hub(max_pending_total_bytes=1000)
    reader, behind = connect(hub), connect(hub)
    for client in (reader, behind):
        client.takes_nothing = True
        client.subscriber.write(b"x" * 200)
    hub.hold(behind.subscriber, 500)
    hub.evict_overflowing()
    assert not hub.evicted
    assert hub.pending_bytes == 900
    hub.hold(behind.subscriber, 700)
    hub.evict_overflowing()
    assert (reader.aborts, behind.aborts, hub.evicted) == (0, 1, {"memory": 1})
    assert hub.pending_bytes == 200


def test_a_message_has_its_time_and_no_more() -> None:
    """From its first byte; more bytes give no more time, and one that is whole in time is no matter."""
    hub = make_hub(message_seconds=10)
    late, good = connect(hub), connect(hub)
    for now in range(1, 10):
        for client in (late, good):
            client.subscriber.has_sent = True
            hub.keep(client.subscriber, now, is_late_soon=True)
        hub.tick(now)
    hub.keep(good.subscriber, 0)
    run_clock(hub, 10, 12)
    assert hub.refused == {"too_slow": 1}
    assert late.endpoint.goodbyes == [reasons.TOO_SLOW]
    assert good.endpoint.goodbyes == []


@pytest.mark.parametrize(
    ("ping_seconds", "max_unwritable_seconds"),
    [pytest.param(300, 10, id="ticks 12 s apart"), pytest.param(25, 0.5, id="less than a tick")],
)
def test_nobody_is_evicted_before_its_time(ping_seconds: float, max_unwritable_seconds: float) -> None:
    """With ticks further apart than the time allowed, whoever was blocked at a tick was once evicted at it."""
    hub = make_hub(ping_seconds=ping_seconds, max_unwritable_seconds=max_unwritable_seconds)
    client = connect(hub)
    client.takes_nothing = True
    client.subscriber.write(b"blocked a moment before the tick")
    hub.tick(hub.tick_seconds)
    assert hub.evicted == {}


def test_a_silent_client_is_dropped(hub: Hub) -> None:
    """Pinged within 25 s, and gone 10 s later."""
    client = connect(hub)
    run_clock(hub, 1, 35)
    assert (client.written, client.aborts, hub.evicted) == ([b"ping"], 1, {"silent": 1})


def test_a_slow_consumer_is_worth_a_line(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    """An operator reads why and how much, and no payload."""
    client = connect(hub)
    client.takes_nothing = True
    hub.dispatch([BIG])
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "evicted 1 slow consumer (overflow) with 2001 bytes pending")
    ]


def test_a_crowd_that_is_evicted_is_one_line(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    """18,000 lines were written once while nobody was served."""
    for _ in range(3):
        connect(hub).takes_nothing = True
    hub.dispatch([BIG])
    assert [record.getMessage() for record in caplog.records] == [
        "evicted 3 slow consumers (overflow) with 6003 bytes pending"
    ]


@pytest.mark.parametrize("what", ["overflow", "unwritable", "closing", "too slow", "memory"])
def test_a_crowd_is_ended_a_part_at_a_time(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """18,000 at once would hold the loop for a fifth of a second; nobody is forgotten."""
    monkeypatch.setattr("mux.hub.waiting.ENDED_AT_ONCE", 2)
    monkeypatch.setattr("mux.hub.hub.ENDED_PER_TICK", 2)
    hub = make_hub(message_seconds=10, max_pending_total_bytes=0 if what == "memory" else 2**30)
    clients = [connect(hub) for _ in range(5)]
    for client in clients:
        if what == "closing":
            hub.closing(client.subscriber)
        elif what == "too slow":
            hub.keep(client.subscriber, 1, is_late_soon=True)
        else:
            client.takes_nothing = True
    if what in ("overflow", "unwritable", "memory"):
        hub.dispatch([BIG] if what == "overflow" else [SMALL])

    def ended() -> int:
        return sum(client.aborts + len(client.endpoint.goodbyes) for client in clients)

    steps, now = [ended()], 0
    while ended() < 5 and now < 60:
        now += 1
        run_clock(hub, now, now, *clients)
        steps.append(ended())
    assert sorted({*steps, 0}) == [0, 2, 4, 5]


def test_ticks_are_close_when_there_is_much_to_do(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a second apart: fifty ticks a second take more of a quiet process than all else."""
    monkeypatch.setattr("mux.hub.hub.ENDED_PER_TICK", 2)
    clients = [connect(hub) for _ in range(5)]
    assert hub.tick_seconds == 1
    for client in clients:
        hub.closing(client.subscriber)
    apart = []
    for now in range(1, 9):
        hub.tick(now)
        apart.append(hub.tick_seconds)
    assert apart == [1, 1, 1, 1, TICK_SECONDS, TICK_SECONDS, 1, 1]
    for _ in range(9000 - len(hub)):
        connect(hub)
    assert hub.tick_seconds == 0.1


def test_a_silent_client_is_worth_a_line_at_debug(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    """Phones lose their network all day."""
    caplog.set_level(logging.DEBUG, "mux.hub")
    connect(hub)
    run_clock(hub, 1, 35)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("DEBUG", "dropped 1 client that did not answer a ping")
    ]


def test_a_closing_client_is_cut_off_when_it_takes_too_long(hub: Hub) -> None:
    """It said goodbye or we did; then it has five seconds. That is no eviction."""
    client = connect(hub)
    hub.closing(client.subscriber)
    run_clock(hub, 1, int(CLOSING_SECONDS) - 1)
    assert client.aborts == 0
    hub.tick(CLOSING_SECONDS)
    assert (client.aborts, hub.evicted) == (1, {})


def test_a_closing_client_is_not_cut_off_before_its_time() -> None:
    """With ticks 12 s apart, whoever said goodbye just before a tick was once cut off at it."""
    hub = make_hub(ping_seconds=300)
    client = connect(hub)
    hub.closing(client.subscriber)
    hub.tick(hub.tick_seconds)
    assert client.aborts == 0


def test_a_closing_client_is_not_pinged(hub: Hub) -> None:
    """A ping after a close frame may not be, and nobody waits for its answer."""
    client = connect(hub)
    hub.closing(client.subscriber)
    run_clock(hub, 1, 50)
    assert client.written == []


def test_closing_twice_gives_no_more_time(hub: Hub) -> None:
    """Every byte that comes after the goodbye says so again."""
    client = connect(hub)
    for now in range(1, 6):
        hub.closing(client.subscriber)
        hub.tick(now)
    assert client.aborts == 1


def test_open_and_closing_connections_are_told_apart(hub: Hub) -> None:
    """Together they are all there are."""
    staying, going, gone = connect(hub), connect(hub), connect(hub)
    hub.closing(going.subscriber)
    disconnect(hub, gone)
    assert hub.open_connections() == [staying.subscriber]
    assert hub.closing_connections() == [going.subscriber]
    assert len(hub) == 2


def test_on_empty_is_called_when_the_last_client_is_gone(hub: Hub) -> None:
    """Not when it begins to close, and not for the last but one."""
    calls: list[int] = []
    hub.on_empty = lambda: calls.append(len(hub))
    first, last = connect(hub), connect(hub)
    disconnect(hub, first)
    hub.closing(last.subscriber)
    assert calls == []
    disconnect(hub, last)
    assert calls == [0]


def test_nobody_need_ask_for_on_empty(hub: Hub) -> None:
    """Most of the time nobody waits for the end."""
    disconnect(hub, connect(hub))
    assert len(hub) == 0


def test_a_disconnected_client_is_forgotten(hub: Hub) -> None:
    """Blocked, overflowing and closing as it was: no tick touches it again."""
    client = connect(hub)
    client.takes_nothing = True
    client.subscriber.write(b"x" * 1001)
    hub.closing(client.subscriber)
    hub.keep(client.subscriber, 10, is_late_soon=True)
    disconnect(hub, client)
    run_clock(hub, 1, 60)
    assert (client.aborts, hub.evicted, hub.open_connections(), hub.closing_connections()) == (0, {}, [], [])
    assert (hub.pending_bytes, client.endpoint.goodbyes) == (0, [])
