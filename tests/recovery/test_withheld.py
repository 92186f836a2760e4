"""What is withheld behind a hole, without a server."""

from __future__ import annotations

import asyncio

import pytest

from mux.hub.hub import Hub
from mux.intake import BatchIntake
from mux.journal.journal import Journal
from mux.recovery import withheld
from mux.recovery.withheld import HEALED_TOGETHER, Withheld
from mux.wire.resp import Push, encode_push
from tests.hub.fakes import FakeClient

ROOM = b"feed:room"


def message(number: int) -> Push:
    """Return a message as Redis sends it."""
    return [b"pmessage", b"feed:*", ROOM, b"%d" % number]


async def test_many_that_were_healed_are_delivered_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once all of them were delivered in one turn of the loop, however many they were."""
    monkeypatch.setattr(withheld, "SLICE_SECONDS", 0.0)
    hub = Hub(max_pending_bytes=1 << 26, max_unwritable_seconds=10, ping_seconds=25, pong_seconds=10)
    journal = Journal(max_bytes=1 << 22, max_seconds=3600, talk=b"feed:$")
    intake = BatchIntake(hub, journal)
    client = FakeClient()
    hub.router.join(client.subscriber, ROOM)
    one = Withheld(intake, journal, hub.router, on_full=lambda: None, on_skip=lambda: None)
    one.open()
    intake.take(encode_push(ROOM, b"last"), [[b"pmessage", b"feed:*", ROOM, b"last"]], True)
    assert client.written == []
    assert one.found_missing(1000) == 0
    one.resolve(1000, [message(number) for number in range(1000)])
    turns = 0
    while intake.withhold is not None:
        await asyncio.sleep(0)
        turns += 1
        assert len(b"".join(client.written).split()) <= turns * HEALED_TOGETHER
    assert b"".join(client.written).split() == [*(b"%d" % number for number in range(1000)), b"last"]
    assert journal.last == 1001
