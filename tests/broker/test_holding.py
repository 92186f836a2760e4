"""What waits for Redis."""

from __future__ import annotations

from mux.broker.holding import OVERHEAD_BYTES, Holding


def _ignore(reply: object) -> None:
    pass


def test_messages_come_out_in_order_and_once() -> None:
    """First in, first out."""
    holding = Holding(max_bytes=10_000, max_seconds=5)
    for n in range(3):
        assert holding.add(n, b"c", b"%d" % n, _ignore)
    assert [held.payload for held in holding.take_all()] == [b"0", b"1", b"2"]
    assert holding.take_all() == []
    assert holding.next_due is None


def test_bytes_are_bounded_and_given_free_again() -> None:
    """A message counts with what it takes beside its payload."""
    holding = Holding(max_bytes=2 * OVERHEAD_BYTES + 10, max_seconds=5)
    assert holding.add(0, b"c", b"x" * 10, _ignore)
    assert not holding.add(0, b"c", b"x", _ignore)
    assert len(holding) == 1
    assert holding.add(0, b"c", b"", _ignore)
    holding.take_expired(5)
    assert holding.add(5, b"c", b"x" * (OVERHEAD_BYTES + 10), _ignore)


def test_what_is_too_old_comes_out() -> None:
    """Each has its own time."""
    holding = Holding(max_bytes=10_000, max_seconds=5)
    holding.add(0, b"c", b"old", _ignore)
    holding.add(2, b"c", b"young", _ignore)
    assert holding.take_expired(4.9) == []
    assert [held.payload for held in holding.take_expired(5)] == [b"old"]
    assert holding.next_due == 7


def test_no_time_is_no_holding() -> None:
    """0 seconds turns it off, and so do 0 bytes."""
    assert not Holding(max_bytes=10_000, max_seconds=0).add(0, b"c", b"x", _ignore)
    assert not Holding(max_bytes=0, max_seconds=5).add(0, b"c", b"x", _ignore)
