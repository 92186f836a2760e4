"""What several channels had, in one order: against a list of all messages."""

from __future__ import annotations

import asyncio
from math import inf
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mux.journal.journal import Journal
from mux.journal.quiet import Quiet
from mux.recovery import joint
from mux.recovery.history import TOO_OLD, UNKNOWN, History, Query
from mux.recovery.joint import JointReplay
from mux.wire.resp import encode_push

NAMES = [b"feed:a", b"feed:b", b"feed:o.1", b"feed:o.2", b"feed:other"]
JOINED = [b"feed:a", b"feed:b", b"feed:o.*", b"feed:o.1"]


class Kept:
    """A journal, and a list of what it was given."""

    def __init__(self, max_bytes: int = 1 << 20) -> None:
        self.journal = Journal(max_bytes=max_bytes, max_seconds=inf, talk=b"feed:$")
        order = SimpleNamespace(is_placed=True, epoch="E", base=0)
        self.history = History(self.journal, cast("Any", order), Quiet())
        self.said: list[tuple[bytes, int]] = []

    def publish(self, *channels: int) -> None:
        """Take one read with a message in each of these channels."""
        read = b""
        for channel in channels:
            self.said.append((NAMES[channel], len(self.said) + 1))
            read += encode_push(NAMES[channel], b"%d" % len(self.said))
        self.journal.keep(read, len(channels), 0.0, is_whole=True, has_talk=False)

    def wanted(self, after: int) -> list[tuple[bytes, int]]:
        """Return what is owed of the joined channels after a number."""
        return [(name, number) for name, number in self.said if number > after and name != NAMES[-1]]


async def replayed(kept: Kept, replay: JointReplay, reads: list[list[int]]) -> list[tuple[bytes, int]]:
    """Return all that a replay finds, while further reads come."""
    found: list[tuple[bytes, int]] = []
    while (some := await replay.next()) is not None:
        messages, is_all = some
        assert [payload for payload, *_ in messages] == [b"%d" % number for _, _, number, _ in messages]
        found += [(channel, number) for _, _, number, channel in messages]
        if is_all and not reads:
            return found
        if reads:
            kept.publish(*reads.pop())
    raise AssertionError("it was forgotten")


READS = st.lists(st.lists(st.integers(0, len(NAMES) - 1), min_size=1, max_size=12), max_size=12)


@settings(deadline=None)
@given(before=READS, during=READS, after=st.integers(0, 40), last=st.integers(0, 5) | st.just(inf))
def test_a_replay_is_what_was_said_in_order_and_once(
    before: list[list[int]], during: list[list[int]], after: int, last: float
) -> None:
    """Whatever comes meanwhile, in pieces of any size, by a channel and by a wildcard for it."""

    async def run() -> None:
        kept = Kept(20_000)
        kept.journal._segment_bytes = 400
        for read in before:
            kept.publish(*read)
        position = min(after, len(kept.said))
        replay = JointReplay(kept.history, JOINED)
        assert await replay.begin(Query(since=f"E-{position}", last=last)) == ("", [])
        earlier, now = kept.wanted(position), len(kept.said)
        found = await replayed(kept, replay, [*during])
        limited: set[tuple[bytes, int]] = set()
        for joined in JOINED:
            own = [
                one for one in earlier if one[0] == joined or (joined.endswith(b"*") and one[0].startswith(b"feed:o."))
            ]
            limited |= set(own if last == inf else own[len(own) - min(int(last), len(own)) :])
        assert found == [*sorted(limited, key=lambda one: one[1]), *kept.wanted(now)]

    monkeypatch = pytest.MonkeyPatch()
    with monkeypatch.context() as patch:
        patch.setattr(joint, "MESSAGES_TOGETHER", 3)
        asyncio.run(run())


async def test_what_is_forgotten_is_told_by_channel_and_later_by_none() -> None:
    """A position from before the journal, and a journal that forgets faster than a client reads."""
    kept = Kept(1000)
    for _ in range(40):
        kept.publish(0, 4)
    replay = JointReplay(kept.history, JOINED)
    why, missed = await replay.begin(Query(since="E-1"))
    assert (why, missed) == (TOO_OLD, JOINED)
    assert await JointReplay(kept.history, JOINED).begin(Query(since="nonsense")) == (UNKNOWN, JOINED)
    for _ in range(40):
        kept.publish(0, 4)
    assert await replay.next() is None
    whole = JointReplay(kept.history, JOINED)
    await whole.begin(Query(last=1000))
    for _ in range(40):
        kept.publish(0)
    assert await whole.next() is not None, "as far as the journal goes back"
