"""Questions about channels.

What does a question about channels cost a process, and what does it cost that one could be asked?

A batch goes through the intake with the count of messages and without. The search for the first channels is measured by
the slice, which is how long clients wait, and by the channel, which is how much of a core a question takes.

The clients take everything for nothing, so the count is a larger share of a dispatch here than in a server, where
system calls dominate.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable

import pytest

from bench.conftest import Benchmark, Score
from bench.parts import PATTERN, PAYLOAD, PREFIX, new_hub, null_client
from mux.hub.hub import Hub
from mux.inspect.search import SLICE_STEPS, Found, search
from mux.inspect.tally import Tally
from mux.intake import BatchIntake
from mux.journal.journal import Journal
from mux.wire.resp import Push

MESSAGES = 512

CHANNELS_PER_CLIENT = 1000


@pytest.mark.parametrize("is_counted", [False, True], ids=["off", "on"])
@pytest.mark.parametrize("shape", ["heard", "unheard"])
def test_dispatch_with_tally(shape: str, is_counted: bool, benchmark: Benchmark, score: Score) -> None:
    """Off, it is the dispatch of before; on, it is one call into C for a batch."""
    case = benchmark.group = f"inspected_{shape}_{MESSAGES}msgs_{MESSAGES}ch"
    hub = new_hub()
    names = [PREFIX + b"room/%d" % number for number in range(MESSAGES)]
    if shape == "heard":
        for name in names:
            hub.router.join(null_client(hub), name)
    intake = BatchIntake(hub, Journal(max_bytes=0, max_seconds=0, talk=PREFIX + b"$"))
    if is_counted:
        intake.after_batch = _counting(hub)
    batch: list[Push] = [[b"pmessage", PATTERN, name, PAYLOAD] for name in names]
    benchmark(intake.take, b"", batch, True)
    score(case, "us/message", per=MESSAGES, contender="mux, counting" if is_counted else "mux")


def _counting(hub: Hub) -> Callable[[list[Push]], None]:
    tally = Tally(hub.router.__contains__)
    tally.extend(0.0)
    return tally.count


@pytest.mark.parametrize("channels", [200_000, 1_000_000])
@pytest.mark.parametrize("sort", ["subscribers", "rate"])
def test_scan(channels: int, sort: str, smoke: bool, benchmark: Benchmark, score: Score) -> None:
    """The first thousand of a million, by the channel."""
    if smoke:
        channels //= 100
    case = benchmark.group = f"scan_{sort}_{channels}ch"
    hub = new_hub()
    for number in range(channels):
        if number % CHANNELS_PER_CLIENT == 0:
            client = null_client(hub)
            hub.connected(client)
        hub.router.join(client, PREFIX + b"room/%d" % number)
    rates = {PREFIX + b"room/%d" % number: number / 7 for number in range(1000)} if sort == "rate" else None
    # As a server does once it is up: a pass of the collector over a million objects is not the scan's.
    gc.collect()
    gc.freeze()

    def find() -> Found:
        return asyncio.run(search(hub, prefix=PREFIX, count=1000, rates=rates))

    assert len(find().names) == min(1000, channels)
    benchmark.pedantic(find, rounds=1 if smoke else 8)
    score(case, "us/channel", per=channels, contender="mux")
    gc.unfreeze()


def test_scan_slice(benchmark: Benchmark, score: Score) -> None:
    """One slice, in which every channel is better than all before it: so long everybody else waits."""
    case = benchmark.group = f"scan_slice_{SLICE_STEPS}ch"
    hub = new_hub()
    client = null_client(hub)
    hub.connected(client)
    for number in range(SLICE_STEPS - 1):
        hub.router.join(client, PREFIX + b"room/%06d" % number)

    def one() -> None:
        search(hub, prefix=PREFIX, count=1000).send(None)

    benchmark(one)
    score(case, "us/slice", contender="mux")
