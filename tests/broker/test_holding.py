"""What waits to be published."""

from __future__ import annotations

from mux.broker.holding import CONNECTED_BYTES, OVERHEAD_BYTES, Command, Holding, pass_on


def _ignore(reply: object) -> None:
    pass


def hold(holding: Holding, command: bytes, now: float = 0, *, is_held: bool = True) -> int | None:
    """Add a command while there is no connection."""
    return holding.add(now, command, pass_on, _ignore, is_connected=False, is_held=is_held)


def commands(waiting: list[Command]) -> list[bytes]:
    """Return what would have been sent."""
    return [one[0] for one in waiting]


def test_messages_come_out_in_order_and_once() -> None:
    """First in, first out."""
    holding = Holding(max_bytes=10_000, max_seconds=5)
    for n in range(3):
        assert hold(holding, b"%d" % n, n)
    assert commands(holding.take(1, 100)) == [b"0"]
    assert commands(holding.take_all()) == [b"1", b"2"]
    assert holding.take_all() == []
    assert (holding.take(1, 100), holding.next_due, holding.bytes) == ([], None, 0)


def test_bytes_are_bounded_and_given_free_again() -> None:
    """A message counts with what it takes beside its bytes."""
    holding = Holding(max_bytes=2 * OVERHEAD_BYTES + 10, max_seconds=5)
    assert hold(holding, b"x" * 10)
    assert not hold(holding, b"x")
    assert len(holding) == 1
    assert hold(holding, b"")
    holding.take_expired(5)
    assert hold(holding, b"x" * (OVERHEAD_BYTES + 10), 5)


def test_what_is_too_old_comes_out() -> None:
    """Each has its own time."""
    holding = Holding(max_bytes=10_000, max_seconds=5)
    hold(holding, b"old", 0)
    hold(holding, b"young", 2)
    assert holding.take_expired(4.9) == []
    assert commands(holding.take_expired(5)) == [b"old"]
    assert holding.next_due == 7


def test_no_time_is_no_holding() -> None:
    """0 seconds turns it off, and so do 0 bytes; what has a connection waits for its turn all the same."""
    for holding in (Holding(max_bytes=10_000, max_seconds=0), Holding(max_bytes=0, max_seconds=5)):
        assert not hold(holding, b"x")
        assert holding.add(0, b"x", pass_on, _ignore, is_connected=True)
        assert commands(holding.take_unheld()) == [b"x"]


def test_with_a_connection_the_bytes_are_bounded_too_and_the_largest_message_passes() -> None:
    """Clients choose how large a message is, so a bound on the number is none."""
    holding = Holding(max_bytes=0, max_seconds=5)
    assert holding.add(0, b"x" * 2 * CONNECTED_BYTES, pass_on, _ignore, is_connected=True)
    assert not holding.add(0, b"x", pass_on, _ignore, is_connected=True)
    holding.take(1, 1)
    while holding.add(0, b"x" * 65536, pass_on, _ignore, is_connected=True):
        assert holding.bytes <= CONNECTED_BYTES
    assert holding.bytes > CONNECTED_BYTES - 2 * 65536


def test_what_nobody_waits_for_is_not_held() -> None:
    """Announcements filled the holding in a storm of reconnects, and every client that published was closed."""
    holding = Holding(max_bytes=10_000, max_seconds=5)
    assert not hold(holding, b"announcement", is_held=False)
    for n in range(40):
        holding.add(0, b"%02d" % n, pass_on, _ignore, is_connected=True, is_held=n % 2 == 0)
    over = commands(holding.take_unheld())
    assert over == [b"%02d" % n for n in range(1, 40, 2)]
    assert commands(holding.take_all()) == [b"%02d" % n for n in range(0, 40, 2)]


def test_the_youngest_go_when_the_connection_is_lost_and_there_is_less_room() -> None:
    """What was there first stays first."""
    holding = Holding(max_bytes=3 * (OVERHEAD_BYTES + 1), max_seconds=5)
    for n in range(5):
        holding.add(0, b"%d" % n, pass_on, _ignore, is_connected=True)
    assert commands(holding.take_unheld()) == [b"3", b"4"]
    assert commands(holding.take_all()) == [b"0", b"1", b"2"]


def test_what_is_withdrawn_is_gone_and_what_was_taken_cannot_be() -> None:
    """A publisher that waits no more is told whether its message was sent."""
    holding = Holding(max_bytes=10_000, max_seconds=5)
    sent, unsent = hold(holding, b"sent"), hold(holding, b"unsent")
    assert sent is not None
    assert unsent is not None
    holding.take(1, 100)
    assert (holding.withdraw(sent), holding.withdraw(unsent), holding.withdraw(unsent)) == (False, True, False)
    assert (holding.take(1, 100), holding.bytes, len(holding)) == ([], 0, 0)


def test_what_is_withdrawn_leaves_nothing_behind() -> None:
    """A publisher that gives up again and again while Redis is away fills nothing."""
    holding = Holding(max_bytes=10_000, max_seconds=5)
    hold(holding, b"first")
    for _ in range(1000):
        withdrawn = hold(holding, b"x")
        assert withdrawn is not None
        holding.withdraw(withdrawn)
    assert len(holding._queue) < 5
    assert (len(holding), commands(holding.take_expired(5)), holding.bytes) == (1, [b"first"], 0)


def test_what_was_withdrawn_is_never_due() -> None:
    """A timer that was set for it would ring without end."""
    holding = Holding(max_bytes=10_000, max_seconds=5)
    waiting = [hold(holding, b"%d" % n, n) for n in range(5)]
    assert waiting[0] is not None
    holding.withdraw(waiting[0])
    assert holding.take_expired(0) == []
    assert holding.next_due == 6


def test_so_many_are_taken_and_so_many_bytes() -> None:
    """What is on its way to Redis is bounded by both, and one command always goes."""
    holding = Holding(max_bytes=10_000, max_seconds=5)
    for n in range(6):
        hold(holding, b"%d" % n * 10)
    assert len(holding.take(2, 1000)) == 2
    assert len(holding.take(9, 11)) == 2
    assert len(holding.take(9, 1)) == 1
    assert len(holding.take(9, 0)) == 0
    assert len(holding) == 1
