"""The journal against a plain list of everything that was heard."""

from __future__ import annotations

import gc
from math import inf
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux.journal import journal as journal_module
from mux.journal.journal import IDLE_SECONDS, STRIP_MESSAGES, Journal
from mux.journal.lookup import STEP_SLICES, Lookup, Publications
from mux.journal.segment import MAX_WILDCARDS, PICKED_MESSAGES, SLICE_BYTES
from mux.wire.channel import Namespace
from mux.wire.publication import BINARY, GUESS, JOINED, matched
from mux.wire.resp import encode_command, encode_push

TALK = b"feed:$fleet"


class Heard(NamedTuple):
    """A message as a plain list keeps it."""

    number: int
    channel: bytes
    payload: bytes
    kind: int
    at: float


class Source:
    """Redis and the process: feeds a journal with reads, and a list with what is in them."""

    def __init__(self, *, max_bytes: int = 1 << 20, max_seconds: float = 1000) -> None:
        self.journal = Journal(
            max_bytes=max_bytes, max_seconds=max_seconds, talk=TALK, is_channel=Namespace("feed:").has_channel
        )
        self.all: list[Heard] = []
        self.now = 0.0
        self._rest = b""

    def read(self, *messages: tuple[bytes, bytes], cut: int = 0) -> None:
        """Have a read come: the rest of the one before, and messages, the last of which lacks its last cut bytes."""
        data = self._rest + b"".join([encode_push(*message) for message in messages])
        kept, self._rest = data[: len(data) - cut], data[len(data) - cut :]
        self.now += 1
        whole = messages if not cut else messages[:-1]
        if cut and not messages:
            raise ValueError("nothing to cut")
        pending, self._pending = getattr(self, "_pending", ()), messages[-1:] if cut else ()
        arrived = (*pending, *whole)
        for channel, payload in arrived:
            kind = GUESS if channel[-1] > 2 else BINARY + channel[-1]
            plain = channel if kind == GUESS else channel[:-1]
            self.all.append(Heard(len(self.all) + 1, plain, payload, kind, self.now))
        has_talk = any(channel.startswith(TALK) for channel, _ in arrived)
        self.journal.keep(kept, len(arrived), self.now, is_whole=not cut, has_talk=has_talk)

    def look_up(self, channel: bytes, *, after: int = 0, since: float = -inf, most: float = inf) -> list[Heard]:
        """Return what a lookup finds."""
        if since > -inf:
            after = self.journal.last_before(since)
        lookup = Lookup(self.journal, channel, after=after, most=most)
        while not lookup.step(self.now):
            pass
        found: list[Heard] = []
        for one in lookup.result():
            payload, kind, number = one[:3]
            own = matched([one])[0][3] if channel.endswith(b"*") else channel
            found.append(Heard(number, own, payload, kind, self.journal.time_of(number)))
        return found


@pytest.fixture
def source() -> Source:
    """A journal with room for a mebibyte."""
    return Source()


channels = st.sampled_from([b"feed:a", b"feed:ab", b"feed:a\x00", b"feed:b\x01", TALK])
messages = st.lists(st.tuples(channels, st.binary(max_size=40)), min_size=1, max_size=12)
WILDCARDS = [b"feed:*", b"feed:a*", b"feed:ab*", b"feed:none*"]


def is_of(channel: bytes, asked: bytes) -> bool:
    """Tell whether a channel is the one that is asked for, or one of a wildcard, which has no talk."""
    if not asked.endswith(b"*"):
        return channel == asked
    return channel.startswith(asked[:-1]) and not channel.startswith(b"feed:$")


reads = st.lists(st.tuples(messages, st.integers(0, 8)), max_size=30)


@given(reads, st.integers(100, 5000), st.integers(1, 400), st.data())
def test_a_lookup_finds_what_a_list_has(
    reads: list[tuple[list[tuple[bytes, bytes]], int]], max_bytes: int, segment_bytes: int, data: st.DataObject
) -> None:
    """Whatever the slices, the bounds and the order of questions: all that is kept of a channel, in order, once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal_module, "SEGMENT_BYTES", segment_bytes)
        source = Source(max_bytes=max_bytes)
        journal = source.journal
        for batch, cut in reads:
            source.read(*batch, cut=cut)
            assert journal.size <= max_bytes
            assert journal.last == len(source.all)
            if data.draw(st.booleans()):
                channel = data.draw(st.sampled_from([b"feed:a", b"feed:ab", b"feed:b", b"feed:none", *WILDCARDS]))
                after = data.draw(st.integers(0, journal.last))
                most = data.draw(st.sampled_from([inf, 0, 1, 3]))
                kept = [
                    m for m in source.all if is_of(m.channel, channel) and m.number > max(after, journal.kept_after)
                ]
                kept = kept if most == inf else kept[len(kept) - min(len(kept), int(most)) :]
                found = source.look_up(channel, after=after, most=most)
                assert [m[:4] for m in found] == [m[:4] for m in kept]
                # A message that came in pieces with talk of the fleet has the time of the last piece.
                assert all(one.at >= other.at for one, other in zip(found, kept, strict=True))


def test_what_is_kept_reaches_back_as_far_as_the_bytes_allow() -> None:
    """The oldest goes first, and the journal says from where on it has everything."""
    source = Source(max_bytes=600_000)
    for number in range(8000):
        source.read((b"feed:a", b"%d" % number + b"." * 100))
    journal = source.journal
    assert 400_000 < journal.size <= 600_000
    found = source.look_up(b"feed:a")
    assert [m.number for m in found] == list(range(journal.kept_after + 1, 8001))
    assert 2000 < len(found) < 6000


def test_what_is_old_is_dropped(source: Source) -> None:
    """After max_seconds, whether its segment is full or not."""
    source.read((b"feed:a", b"1"))
    source.journal.tick(source.now + 999)
    assert source.journal.kept_after == 0
    source.journal.tick(source.now + 1001)
    assert (source.journal.kept_after, source.journal.size, source.journal.oldest_at()) == (1, 0, None)
    source.read((b"feed:a", b"2"))
    assert [m.number for m in source.look_up(b"feed:a")] == [2]


def test_nothing_is_kept_when_it_is_off() -> None:
    """With no bytes or no seconds; messages have numbers all the same."""
    for source in Source(max_bytes=0), Source(max_seconds=0):
        source.read((b"feed:a", b"1"))
        assert not source.journal.is_on
        assert (source.journal.last, source.journal.kept_after, source.look_up(b"feed:a")) == (1, 1, [])


def test_replies_stand_between_messages_and_have_no_number(source: Source) -> None:
    """What a connection is answered comes in the same reads."""
    read = (
        b":1\r\n" + encode_push(b"feed:a", b"1") + b"-ERR no\r\n" + encode_push(b"feed:a", b"2") + b"%1\r\n+a\r\n:1\r\n"
    )
    source.journal.keep(read, 2, 1.0, is_whole=True, has_talk=False)
    source.now = 1.0
    assert [(m.number, m.payload) for m in source.look_up(b"feed:a")] == [(1, b"1"), (2, b"2")]


def test_the_talk_of_the_fleet_keeps_its_numbers_and_loses_its_payload(source: Source) -> None:
    """Forty processes and a dashboard do not push the feed out of the journal."""
    for second in range(300):
        source.read((b"feed:a", b"%d" % second))
        source.read(*[(TALK, b"x" * 2000)] * 40)
    assert source.journal.kept_after == 0
    assert source.journal.size < 300 * 41 * 100
    assert [m.number for m in source.look_up(b"feed:a")] == [1 + 41 * second for second in range(300)]


def test_forty_processes_and_a_dashboard_for_an_hour() -> None:
    """All are asked every second and answer a kilobyte each, and say where they are; the first message stays."""
    source = Source(max_bytes=1 << 24, max_seconds=3600)
    journal = source.journal
    answer, order = (TALK, b"x" * 1000), (TALK, b"y" * 150)
    expected: list[int] = []
    for second in range(3600):
        source.now = float(second)
        if second % 10 == 0:
            expected.append(journal.last + 1)
            source.read((b"feed:a", b"%d" % second))
        source.now = float(second)
        source.read((TALK, b"who is there?"), *[answer] * 40)
        source.now = float(second)
        source.read(*[order] * 5)
        journal.tick(float(second))
    assert journal.kept_after == 0
    assert journal.size < 3600 * 46 * 70
    assert [m.number for m in source.look_up(b"feed:a")] == expected


def test_talk_that_comes_in_pieces_loses_its_payload_too(source: Source) -> None:
    """An answer of 60 KB comes in several reads, the first of which do not say what they are."""
    source.read((b"feed:a", b"1"), (TALK, b"x" * 60_000), cut=30_000)
    source.read((b"feed:a", b"2"), cut=3)
    source.read((b"feed:a", b"3"))
    assert source.journal.size < 500
    assert [(m.number, m.payload) for m in source.look_up(b"feed:a")] == [(1, b"1"), (3, b"2"), (4, b"3")]


def test_very_many_messages_are_kept_as_they_are_with_talk_among_them(source: Source) -> None:
    """Parsing them again would hold the loop."""
    source.read((TALK, b"x" * 100), *[(b"feed:a", b"1")] * STRIP_MESSAGES)
    assert source.journal.size > STRIP_MESSAGES * 40
    assert len(source.look_up(b"feed:a")) == STRIP_MESSAGES


def test_a_torrent_that_outgrows_the_journal_is_dropped_and_the_next_message_kept() -> None:
    """No read ends where a message ends for longer than there is room."""
    source = Source(max_bytes=10_000)
    for number in range(300):
        source.read((b"feed:a", b"%d" % number + b"." * 100), cut=50)
        assert source.journal.size <= 10_000
    source.read((b"feed:a", b"whole"))
    assert source.look_up(b"feed:a") == []
    assert source.journal.kept_after == source.journal.last == 301
    source.read((b"feed:a", b"next"))
    assert [(m.number, m.payload) for m in source.look_up(b"feed:a")] == [(302, b"next")]


def test_a_new_connection_begins_with_a_message(source: Source) -> None:
    """The half of a message that the old one ended with is in nobody's way."""
    source.read((b"feed:a", b"1"), (b"feed:a", b"lost"), cut=4)
    journal = source.journal
    journal.cut()
    journal.keep(encode_push(b"feed:a", b"2"), 1, 2.0, is_whole=True, has_talk=False)
    assert [(m.number, m.payload) for m in source.look_up(b"feed:a")] == [(1, b"1"), (2, b"2")]
    assert journal.kept_after == 0


def test_what_was_missed_is_known(source: Source) -> None:
    """Numbers go on behind what was missed, and only what came since is complete; the rest is still there."""
    source.read((b"feed:a", b"1"))
    journal = source.journal
    journal.cut()
    journal.skip(5)
    journal.keep(encode_push(b"feed:a", b"2"), 1, 2.0, is_whole=True, has_talk=False)
    assert (journal.last, journal.kept_after) == (7, 6)
    assert [m.number for m in source.look_up(b"feed:a")] == [1, 7]


def test_what_is_known_of_a_message_is_found_again(source: Source) -> None:
    """Binary and announcements are told apart by the last byte of the Redis channel."""
    source.read((b"feed:a", b"text"), (b"feed:a\x00", b"binary"), (b"feed:a\x01", b"somebody"))
    assert [m.kind for m in source.look_up(b"feed:a")] == [GUESS, BINARY, JOINED]


def test_a_time_begins_at_the_read_that_came_then(source: Source) -> None:
    """Not at its segment."""
    for number in range(10):
        source.read((b"feed:a", b"%d" % number))
    assert [m.at for m in source.look_up(b"feed:a", since=8.0)] == [8.0, 9.0, 10.0]


def test_a_step_is_a_slice_of_work(source: Source) -> None:
    """The journal is not parsed in one turn, and what comes meanwhile is found by the last step."""
    batch = [(b"feed:a", b"." * 400)] * 100
    for _ in range(20):
        source.read(*batch)
    lookup = Lookup(source.journal, b"feed:a", after=0)
    steps = 1
    while not lookup.step(source.now):
        source.read((b"feed:a", b"meanwhile"))
        steps += 1
    assert steps >= source.journal.size // (STEP_SLICES + 8) // SLICE_BYTES
    assert len(lookup.result()) == source.journal.last == 2000 + steps - 1


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 3)), max_size=4),
    st.integers(-25, 25),
    st.integers(-25, 25),
)
def test_what_was_found_is_like_a_list(pieces: list[tuple[int, int, int]], first: int, last: int) -> None:
    """Although nothing was copied: 500,000 messages in one list took ten milliseconds."""
    numbers = iter(range(1, 100))
    found = []
    for before, count, behind in pieces:
        piece = [(b"", GUESS, next(numbers)) for _ in range(before + count + behind)]
        found.append((piece, before, before + count))
    one = Publications(found)
    expected = [publication for piece, start, stop in found for publication in piece[start:stop]]
    assert len(one) == len(expected)
    assert list(one) == expected
    assert one[first:last] == expected[first:last]
    assert one[first:] == expected[first:]
    assert one[:last] == expected[:last]
    if -len(expected) <= first < len(expected):
        assert one[first] == expected[first]


def test_what_was_found_stays_as_it_was(source: Source) -> None:
    """A segment that grows, or is dropped, changes nothing of it."""
    source.read((b"feed:a", b"1"), (b"feed:a", b"2"))
    lookup = Lookup(source.journal, b"feed:a")
    assert lookup.step(source.now)
    found = lookup.result()
    source.read((b"feed:a", b"3"))
    assert len(source.look_up(b"feed:a")) == 3
    source.journal.tick(source.now + 1e9)
    assert [payload for payload, _, _ in found] == [b"1", b"2"]


def test_what_was_parsed_is_dropped_when_nobody_asks(source: Source) -> None:
    """It takes more memory than the bytes."""
    source.read((b"feed:a", b"1"))
    lookup = Lookup(source.journal, b"feed:a", after=0)
    assert lookup.step(1.0)
    source.journal.tick(1.0 + IDLE_SECONDS)
    assert len(lookup.result()) == 1
    source.journal.tick(1.1 + IDLE_SECONDS)
    assert source.journal.segments()[0].messages(b"feed:a") == ()
    assert len(source.look_up(b"feed:a")) == 1


def test_the_collector_does_not_visit_what_was_parsed(source: Source) -> None:
    """Once a list of each channel in each segment was walked in every full pass, 9 ms for 500,000 messages."""
    for _ in range(5):
        source.read(*[(b"feed:a", b".")] * 10, (b"feed:b", b"." * 2**17))
    assert len(source.look_up(b"feed:a")) == 50
    gc.collect()
    gc.collect()
    closed = source.journal.segments()[1:]
    assert closed
    assert not any(gc.is_tracked(segment.messages(b"feed:a")) for segment in closed)


def test_what_was_parsed_is_dropped_in_slices(source: Source) -> None:
    """To drop all of a large journal at once would hold the loop."""
    for _ in range(5):
        source.read((b"feed:a", b"." * 2**17))  # an eighth of this journal, so a segment
    assert len(source.look_up(b"feed:a")) == 5
    parsed = []
    for second in range(6):
        source.journal.tick(source.now + 1 + IDLE_SECONDS + second)
        parsed.append(sum(segment.is_parsed for segment in source.journal.segments()))
    assert parsed == [5, 4, 3, 2, 1, 0]


def test_a_segment_that_a_torrent_made_large_is_not_searched_at_once(source: Source) -> None:
    """It is parsed in slices, also for a channel that it does not have."""
    for _ in range(12):
        source.read((b"feed:a", b"." * 100_000), cut=10)
    source.read((b"feed:a", b"."))
    lookup = Lookup(source.journal, b"feed:none")
    steps = 1
    while not lookup.step(source.now):
        steps += 1
    assert steps >= source.journal.size // (STEP_SLICES * SLICE_BYTES)
    assert list(lookup.result()) == []


def test_commands_are_not_messages() -> None:
    """A push is encoded as Redis encodes it, and read by the same parser."""
    assert (
        encode_push(b"feed:a", b"x")
        == b">4\r\n" + encode_command(b"pmessage", b"", b"feed:a", b"x").split(b"\r\n", 1)[1]
    )


def test_what_is_too_old_is_dropped_in_slices(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few segments at a time, so that a torrent of an hour ago does not hold the loop."""
    monkeypatch.setattr(journal_module, "DROPPED_TOGETHER", 2)
    for _ in range(5):
        source.read((b"feed:a", b"." * 2**17))
    kept = []
    for _ in range(3):
        source.journal.tick(source.now + 10_000)
        kept.append(sum(1 for segment in source.journal.segments() if segment.size))
    assert kept == [3, 1, 0]


def test_a_wildcard_is_looked_up_in_slices_and_once(source: Source) -> None:
    """What was picked for one is there for the next who asks, and no more is kept than for a few."""
    batch = [(b"feed:%d" % number, b".") for number in range(2000)]
    for _ in range(5):
        source.read(*batch)
    lookup, steps = Lookup(source.journal, b"feed:1*"), 1
    while not lookup.step(source.now):
        steps += 1
    assert steps > source.journal.size // (STEP_SLICES * SLICE_BYTES)
    found = list(lookup.result())
    assert len(found) == 5 * 1111 > PICKED_MESSAGES
    again = Lookup(source.journal, b"feed:1*")
    assert again.step(source.now)
    assert list(again.result()) == found
    names = [b"feed:1%d*" % number for number in range(2 * MAX_WILDCARDS)]
    assert all(source.look_up(name) for name in names)
    segment = source.journal.segments()[0]
    assert 0 < sum(bool(segment.messages(name)) for name in names) <= MAX_WILDCARDS


def test_the_collector_does_not_visit_what_was_picked(source: Source) -> None:
    """As what was parsed for a channel."""
    for _ in range(5):
        source.read(*[(b"feed:a", b".")] * 10, (b"feed:b", b"." * 2**17))
    assert len(source.look_up(b"feed:a*")) == 50
    gc.collect()
    gc.collect()
    closed = source.journal.segments()[1:]
    assert closed
    assert not any(gc.is_tracked(segment.messages(b"feed:a*")) for segment in closed)
