"""What is looked up for clients, with the journal alone."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from mux.hub.router import Router
from mux.journal.journal import Journal
from mux.journal.lookup import Lookup
from mux.journal.quiet import Quiet
from mux.recovery import listener
from mux.recovery.checksums import Checksums
from mux.recovery.history import History, Query
from mux.recovery.order import Order
from mux.wire.publication import Publication
from mux.wire.resp import encode_push

CHANNEL = b"feed:a"


def history(messages: int) -> History:
    """Return what is known after so many messages of a kilobyte."""
    journal = Journal(max_bytes=1 << 25, max_seconds=3600, talk=b"feed:$")
    for number in range(messages):
        journal.keep(encode_push(CHANNEL, b"%01000d" % number), 1, 1.0, is_whole=True, has_talk=False)
    return History(journal, Order(Random(1), lambda: "e", lambda mark: 0, Checksums(b"", b"")), Quiet())


async def test_thousands_that_ask_at_once_are_looked_up_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step works for milliseconds, and a turn of the loop has one; all of them get the same in the end."""
    steps: list[int] = [0]
    step = Lookup.step

    def counted(lookup: Lookup, now: float) -> bool:
        steps[-1] += 1
        return step(lookup, now)

    async def count_turns() -> None:
        while True:
            steps.append(0)
            await asyncio.sleep(0)

    monkeypatch.setattr(Lookup, "step", counted)
    past = history(5000)
    turns = asyncio.create_task(count_turns())
    found = await asyncio.gather(*(past.find(CHANNEL, Query(last=100_000)) for _ in range(300)))
    turns.cancel()
    assert max(steps) <= 2
    assert sum(steps) >= 300
    assert all(len(one.publications) == 5000 for one in found)


async def test_a_long_history_is_made_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """For an app that asks for all there is: 100,000 messages once held the loop for a fifth of a second."""
    made: list[int] = [0]

    def noted(publication: Publication, at: float | None) -> listener.Message:
        made[-1] += 1
        return make(publication, at)

    async def count_turns() -> None:
        while True:
            made.append(0)
            await asyncio.sleep(0)

    one = listener.Listeners(Router(), history(5000))
    make = one._message
    monkeypatch.setattr(one, "_message", noted)
    turns = asyncio.create_task(count_turns())
    messages = await one.history(CHANNEL, Query())
    turns.cancel()
    assert [int(message.data) for message in messages] == list(range(5000))
    assert max(made) == listener.MESSAGES_PER_TURN
