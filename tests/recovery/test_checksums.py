"""Checksums of stretches of what a process heard."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux.recovery import checksums
from mux.recovery.checksums import MAX_STRETCHES, ROOM_BYTES, Checksums
from mux.wire.resp import Push

ORDER, ROOM = b"feed:$order", b"feed:room"


def message(channel: bytes, payload: bytes = b"") -> Push:
    """Return a message as Redis sends it."""
    return [b"pmessage", b"feed:*", channel, payload]


def taken(*messages: Push, first: int = 1) -> Checksums:
    """Return the checksums of a process that heard these messages in one read."""
    one = Checksums(ORDER, b"feed:$")
    one.take(messages, first)
    return one


A, B, TALK = message(ROOM, b"a"), message(ROOM, b"b"), message(ORDER, b"{}")


def test_places_tell() -> None:
    """Two messages in the other order have another checksum."""
    here, there = taken(TALK, A, B, TALK).upto(4, 0, 9), taken(TALK, B, A, TALK).upto(4, 0, 9)
    assert here is not None
    assert there is not None
    assert here.stretches == there.stretches == 1
    assert here != there


@given(
    st.lists(st.sampled_from([A, B, TALK, message(b"feed:other", b"a"), message(ROOM, b"x" * 70_000)]), max_size=30),
    st.data(),
)
def test_reads_do_not_tell(messages: list[Push], data: st.DataObject) -> None:
    """However a sequence was read, its checksums are the same; batches that nobody asks for may be left out."""
    cuts = data.draw(st.lists(st.integers(0, len(messages)), max_size=5).map(sorted))
    whole, split = taken(*messages), Checksums(ORDER, b"feed:$")
    is_wanted = False
    for start, end in zip([0, *cuts], [*cuts, len(messages)], strict=True):
        batch = messages[start:end]
        if is_wanted or TALK in batch:
            is_wanted = split.take(batch, start + 1)
    for number in range(1, len(messages) + 1):
        assert whole.upto(number, 0, 9) == split.upto(number, 0, 9)


def test_what_processes_say_is_summed_without_payload() -> None:
    """What was missed comes from the journal of another process, and that keeps no such payloads."""
    said, kept = message(b"feed:$probe:1", b"hello"), message(b"feed:$probe:1")
    assert taken(TALK, said, TALK).upto(3, 0, 9) == taken(TALK, kept, TALK).upto(3, 0, 9)


def test_a_stretch_is_summed_up_to_a_bound() -> None:
    """The rest of a long one passes by: a large message costs no more than many small ones."""
    one = taken(TALK)
    assert one.take([A] * 10, 2)
    assert not one.take([message(ROOM, b"x" * (4 * ROOM_BYTES))], 12)
    one.take([A, B, TALK], 13)
    other = taken(TALK, *[A] * 10, message(ROOM, b"x" * (4 * ROOM_BYTES)), B, A, TALK)
    assert one.upto(15, 0, 9) == other.upto(15, 0, 9)


def test_only_what_both_remember_is_compared() -> None:
    """A process says how many stretches it means; those before a number are left out, and those beyond a most."""
    one = taken(*[TALK, A] * 6)
    found = {after: one.upto(11, after, 4) for after in range(0, 11, 2)}
    counts = {after: checksum and checksum.stretches for after, checksum in found.items()}
    assert counts == {0: 4, 2: 4, 4: 4, 6: 3, 8: 2, 10: 1}
    assert one.upto(11, 11, 4) is None
    assert one.upto(10, 0, 4) is None
    one.forget()
    assert one.upto(11, 0, 4) is None
    one.take([A, TALK], 13)
    assert one.upto(14, 0, 4) is None, "nobody knows what came before"


def test_no_more_is_remembered_than_so_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """The latest stretches stay, and have the checksums that they had."""
    monkeypatch.setattr(checksums, "MAX_STRETCHES", 8)
    one = taken(*[TALK, A] * 20)
    monkeypatch.setattr(checksums, "MAX_STRETCHES", MAX_STRETCHES)
    assert len(one._ends) <= 8
    assert one.upto(39, 0, 3) == taken(*[TALK, A] * 20).upto(39, 0, 3)
