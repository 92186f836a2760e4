from __future__ import annotations

from mux.logs.repeats import MAX_KINDS, MOST, PERIOD_SECONDS, Repeats


def test_the_first_lines_of_a_kind_pass_and_the_others_are_counted() -> None:
    """Each kind for itself; the count is told once, with the last line, when the period is over."""
    repeats = Repeats()
    passed = [repeats.admits("flood", f"line {number}", 5.0) for number in range(1000)]
    assert passed == [True] * MOST + [False] * (1000 - MOST)
    assert repeats.admits("rare", "once", 6.0)
    assert (repeats.next_end or 0) == 5.0 + PERIOD_SECONDS
    assert repeats.take(14.9) == []
    assert repeats.take(15.0) == [(1000 - MOST, "line 999")]
    assert repeats.take(99.0) == []
    assert repeats.next_end is None
    assert repeats.admits("flood", "again", 99.0)


def test_kinds_without_end_take_no_memory_without_end() -> None:
    """What is beyond a thousand kinds is one kind more."""
    repeats = Repeats()
    passed = sum(repeats.admits(number, "", 0.0) for number in range(10 * MAX_KINDS))
    assert passed == MAX_KINDS + MOST
    assert len(repeats.take(float("inf"))) == 1
