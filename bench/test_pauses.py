"""Pauses: how late messages are in a process with many clients, and what holds up everybody there.

How late is a message when 18,000 clients, which are pinged, have 6,000 messages a second together? Beside mux stand
mux without pings, and the limit. The longest pause by cause is of the same run, in CPU time of the thread.

For how long does a pass of Python's collector hold up everybody, as the clients of a process become many?

Clients without sockets join a hub, each a channel of its own, and each pass is timed by gc.callbacks. Beside it
stands a collector that was told only once, at the start, what stays (gc.freeze()): its full passes grow with the
clients. What Sanic makes for a request is not in it; that goes without a pass (tests/endpoints/test_takeover.py).
The figure is the longest of all passes, in CPU time of the thread, so that a busy machine lengthens none.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from pathlib import Path
from time import thread_time
from typing import Any

import pytest

from bench.compare import LIMIT
from bench.conftest import Benchmark, Score
from bench.loadgen.load import Load
from bench.measure import Figures, measure
from bench.parts import PREFIX, new_hub, null_client
from bench.peers.registry import MUX, Place
from bench.servers import serving
from bench.works import run_limit
from mux.__main__ import main
from mux.endpoints.catch_up import CatchUp
from mux.hub.hub import Hub
from mux.hub.subscriber import Subscriber
from mux.intake import BatchIntake
from mux.journal.journal import Journal
from mux.journal.lookup import Lookup
from mux.metrics.observer import Observer
from mux.serve.collector import Collector

CAUSES = {
    "pings and deadlines": (Hub, "tick"),
    "the journal forgets": (Journal, "tick"),
    "samples": (Observer, "_tick"),
    "one read from Redis": (BatchIntake, "take"),
    "one read from a client": (Subscriber, "data_received"),
    "one step of a lookup": (Lookup, "step"),
    "what a client is owed": (CatchUp, "begin"),
}


ASKED = ("one read from a client", "one step of a lookup")
"""Causes that there are only when clients ask for something."""


def watched(place: Place) -> list[str]:
    """Return the command of a server that writes the longest pause by cause, in seconds, into a file `pauses`."""
    command = MUX.command(place)
    program = [command[0], "-m", "bench.test_pauses", str(place.scratch / "pauses")]
    return [*program, *command[3:], "--ping-seconds", "25"]


def _watch(file: Path) -> None:
    """Write down the longest call of each cause whenever it is longer than before."""
    longest: dict[str, float] = {}

    def note(cause: str, seconds: float) -> None:
        if seconds > longest.get(cause, 0):
            longest[cause] = seconds
            file.write_text(json.dumps(longest))

    def timed(cause: str, call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def run(*args: Any, **options: Any) -> Any:
            began = thread_time()
            result = call(*args, **options)
            note(cause, thread_time() - began)
            return result

        return run

    for cause, (owner, name) in CAUSES.items():
        setattr(owner, name, timed(cause, getattr(owner, name)))
    began = 0.0

    def watch(phase: str, info: dict[str, int]) -> None:
        nonlocal began
        if phase == "start":
            began = thread_time()
        elif not longest.keys().isdisjoint(ASKED):  # its passes before are of the start
            note("the collector", thread_time() - began)

    gc.callbacks.append(watch)


@pytest.mark.parametrize("contender", [LIMIT, "mux", "mux without pings"])
def test_tail(contender: str, redis_url: str, smoke: bool, benchmark: Benchmark, score: Score) -> None:
    """Publish for 12 s, which is half a turn of the wheel."""
    clients, rate, seconds = (20, 100.0, 1) if smoke else (18_000, 6000.0, 12)
    case = benchmark.group = f"tail_{clients}ch_1sub_{rate:.0f}msgs_per_s"
    load = Load(clients=clients, channels=clients, rate=rate, messages=int(rate * seconds))

    def run() -> Figures:
        if contender == LIMIT:
            return run_limit(load)
        peer = MUX if contender != "mux" else replace(MUX, command=watched)
        with serving(peer, redis_url) as server:
            figures = measure(replace(load, target=server.target, inlet=server.inlet()), None, None).figures
            pauses = server.place.scratch / "pauses"
            longest = json.loads(pauses.read_text()) if pauses.exists() else {}
        return figures | {f"longest pause, {cause}, ms": value * 1e3 for cause, value in longest.items()}

    figures = benchmark.pedantic(run, rounds=1)
    for figure, value in figures.items():
        if figure in ("p50 ms", "p99 ms", "p99.9 ms") or "pause" in figure:
            score(case, figure, value=value, contender=contender)


@contextmanager
def _frozen_once(clients: Callable[[], int]) -> Iterator[None]:
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@contextmanager
def _collector(clients: Callable[[], int]) -> Iterator[None]:
    collector = Collector(clients)
    collector.start()
    yield
    collector.close()


@pytest.mark.parametrize(("contender", "manner"), [("freeze-once", _frozen_once), ("mux", _collector)])
def test_longest_pass(
    contender: str, manner: Callable[..., Any], smoke: bool, benchmark: Benchmark, score: Score
) -> None:
    """Let thousands of clients in."""
    clients = 60 * (10 if smoke else 1000)
    case = benchmark.group = f"longest_gc_pass_{clients}clients"
    longest = 0.0
    began = 0.0

    def watch(phase: str, info: dict[str, int]) -> None:
        nonlocal began, longest
        if phase == "start":
            began = thread_time()
        else:
            longest = max(longest, thread_time() - began)

    hub = new_hub()

    def come() -> None:
        for number in range(clients):
            client = null_client(hub)
            client.backlog = [hub, [], []]  # type: ignore[assignment]  # in place of the transport's own objects
            hub.connected(client)
            hub.router.join(client, PREFIX + b"%d" % number)

    with manner(hub.__len__):
        gc.callbacks.append(watch)
        try:
            benchmark.pedantic(come, rounds=1)
        finally:
            gc.callbacks.remove(watch)
    score(case, "ms", value=longest * 1e3, contender=contender)


if __name__ == "__main__":
    _watch(Path(sys.argv.pop(1)))
    main()
