"""The journal of what came lately.

What does it cost to keep every message, and what to look up what one channel had?

Keeping is measured where it weighs most, with messages nobody listens to: bytes in, parsed, dispatched, kept. Each
round takes the same traffic with the journal and without, one directly after the other. The journal is full before it
is measured, so that what it drops is in the figure. The read, which is a system call and a turn of the loop, is not; so
the difference is set against what such a message costs a whole server. Both figures are those of the quietest round.

Looking up is measured as a storm: every channel is looked up once, as when all clients come back at the same moment.
The parsing of the journal is in the figure, shared by all. XRANGE stands beside whole servers (test_resume.py).
"""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from time import perf_counter, process_time, thread_time

import pytest
import redis

from bench.conftest import Benchmark, Score
from bench.parts import PAYLOAD, PREFIX, new_hub, push
from bench.peers.registry import MUX_WITHOUT_JOURNAL
from bench.servers import serving
from mux.intake import BatchIntake
from mux.journal.journal import Journal
from mux.journal.lookup import Lookup, Publications
from mux.wire.resp import RespReader

JOURNAL_BYTES = 32 * 1024 * 1024
MOST_PERCENT = 3.0
"""Keeping a message may cost at most so many hundredths of what an unheard message costs a server."""

LONGEST_PAUSE_SECONDS = 0.005
"""A step of a lookup may hold the event loop for so long."""

CHANNELS, MESSAGES = 1000, 50_000
BATCHES = (1, 16, 200)
"""Messages in a read."""


def new_journal(max_bytes: int = JOURNAL_BYTES) -> Journal:
    """Return an empty journal; with 0 bytes it keeps nothing."""
    return Journal(max_bytes=max_bytes, max_seconds=3600, talk=PREFIX + b"$")


def traffic(messages: int, batch: int, channels: int = CHANNELS) -> list[bytearray]:
    """Return reads of so many messages each, over channels in turn."""
    made = [push(PREFIX + b"room/%04d" % (number % channels), protocol=3) for number in range(messages)]
    return [bytearray(b"".join(made[first : first + batch])) for first in range(0, messages, batch)]


def taking(journal: Journal) -> Callable[[list[bytearray]], None]:
    """Return what a server does with reads it does not gather; each is its own object, as those of a socket are."""
    intake, reader = BatchIntake(new_hub(), journal), RespReader()
    tells_end = False

    def take(reads: list[bytearray]) -> None:
        nonlocal tells_end
        for read in map(bytes, reads):
            messages, _ = reader.feed(read, tells_end=tells_end)
            tells_end = intake.deliver(read, messages, reader.is_whole)

    return take


@pytest.mark.parametrize("batch", BATCHES)
def test_unheard_kept(batch: int, redis_url: str, smoke: bool, benchmark: Benchmark, score: Score) -> None:
    """A message nobody listens to, with the journal beside without, and beside what it costs a whole server."""
    case = benchmark.group = f"unheard_kept_{batch}msgs"
    count, rounds = (200, 2) if smoke else (8000, 60)
    reads = traffic(count, batch)
    journal = new_journal(2**16 if smoke else JOURNAL_BYTES)
    ways = {"mux": taking(journal), "no journal": taking(new_journal(0))}
    while not journal.kept_after:
        ways["mux"](reads)
    seconds: dict[str, list[float]] = {name: [] for name in ways}

    def both() -> None:
        for name in sorted(ways, reverse=len(seconds["mux"]) % 2 == 1):
            began = process_time()
            ways[name](reads)
            seconds[name].append(process_time() - began)

    benchmark.pedantic(both, rounds=rounds)
    on, off = (min(taken) * 1e6 / count for taken in seconds.values())
    whole = unheard_us(redis_url, count // 4, batch, rounds=rounds // 8)
    score(case, "us/message", value=on)
    score(case, "us/message", value=off, contender="no journal")
    score(case, "us/message", value=whole, contender="a server without journal")
    share = 100 * (on - off) / whole
    score(case, "% of a server's cost", value=share, contender="journal")
    if not smoke:
        assert share <= MOST_PERCENT


def unheard_us(redis_url: str, count: int, batch: int, *, rounds: int) -> float:
    """Return the CPU microseconds that a message costs a server without journal, published so many at a time."""
    used = []
    with serving(MUX_WITHOUT_JOURNAL, redis_url) as server, redis.Redis.from_url(redis_url) as client:
        for _ in range(1 + rounds):  # the first is to warm it
            before = server.tree.cpu_seconds()
            for _batch in range(0, count, batch):
                with client.pipeline(transaction=False) as pipeline:
                    for _message in range(batch):
                        pipeline.publish("feed:unheard", PAYLOAD)
                    pipeline.execute()
            used.append(server.tree.cpu_seconds() - before)
    return min(used[1:] or used) * 1e6 / count


@pytest.mark.parametrize("batch", BATCHES)
def test_memory_of_a_kept_message(batch: int, smoke: bool, benchmark: Benchmark, score: Score) -> None:
    """A message of 128 bytes in memory, beside the bytes that Redis sent; without what malloc adds."""
    count = 200 if smoke else 100_000
    case = benchmark.group = f"kept_{count}msgs_{batch}a_read"
    tracemalloc.start()
    journal = new_journal()
    take, reads = taking(journal), traffic(count, batch)
    before, _ = tracemalloc.get_traced_memory()
    benchmark.pedantic(take, args=(reads,))
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    score(case, "B/message", value=(after - before) / journal.last)
    score(case, "B/message", value=journal.size / journal.last, contender="on the wire")


@pytest.mark.parametrize("batch", BATCHES)
def test_lookup(batch: int, smoke: bool, benchmark: Benchmark, score: Score) -> None:
    """Every channel is looked up in a journal that nobody has asked before."""
    channels, messages = (10, 100) if smoke else (CHANNELS, MESSAGES)
    case = benchmark.group = f"lookup_{channels}ch_{messages}msgs"
    journal = new_journal()
    taking(journal)(traffic(messages, batch, channels))
    longest = 0.0

    def look_up(name: bytes) -> Publications:
        nonlocal longest
        lookup, is_done = Lookup(journal, name), False  # asked at 0.0, which is long ago: forget() works
        while not is_done:
            began = thread_time()
            is_done = lookup.step(0.0)
            longest = max(longest, thread_time() - began)
        return lookup.result()

    def forget() -> None:
        journal.tick(perf_counter())

    def storm() -> None:
        for channel in range(channels):
            assert len(look_up(PREFIX + b"room/%04d" % channel)) == messages // channels

    gc.disable()  # its passes over all that the suites have loaded are no part of a lookup
    benchmark.pedantic(storm, setup=forget, rounds=1 if smoke else 5)
    gc.enable()
    score(case, "us/channel", per=channels, contender="mux" if batch == BATCHES[-1] else f"mux, reads of {batch}")
    score("longest_step", "ms", value=longest * 1e3, contender=f"reads of {batch}")
    if not smoke:
        assert longest <= LONGEST_PAUSE_SECONDS
