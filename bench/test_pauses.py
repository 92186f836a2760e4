"""Pauses by the collector while clients come.

For how long does a pass of Python's collector hold up everybody, as the clients of a process become many?

Clients without sockets join a hub, each a channel of its own, and each pass is timed by gc.callbacks. Beside it
stands a collector that was told only once, at the start, what stays (gc.freeze()): its full passes grow with the
clients. What Sanic makes for a request is not in it; that goes without a pass (tests/endpoints/test_takeover.py).
The figure is the longest of all passes, in CPU time of the thread, so that a busy machine lengthens none.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import thread_time
from typing import Any

import pytest

from bench.conftest import Benchmark, Score
from bench.parts import PREFIX, new_hub, null_client
from mux.serve.collector import Collector


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
