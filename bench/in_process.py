"""What is measured without a server: tables of a million channels."""

from __future__ import annotations

import gc
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

from bench.messages import PATTERN, PAYLOAD
from bench.null_client import new_hub, null_client
from mux.hub.hub import Hub
from mux.wire.resp import Push

MESSAGES = 20_000
"""Timed together; each goes to a channel far from the one before, so that caches help as little as in life."""

_STRIDE = 7919  # a prime: with it every channel comes once before any comes twice
_CHANNELS_EACH = 1000

_FORK = multiprocessing.get_context("forkserver")


def channels_us(channels: int) -> float:
    """Return the microseconds to dispatch a message when there are so many channels with a subscriber each."""
    return _in_process(_dispatch, channels)


def memory_bytes_each(channels: int) -> float:
    """Return the bytes a channel with one subscriber takes, its name included, when there are so many."""
    return _in_process(_memory, channels)


def _in_process(function: Callable[[int], float], argument: int) -> float:
    # In a process of its own, so that neither finds what the other left; it ends by itself, and nothing cuts it off.
    with ProcessPoolExecutor(1, mp_context=_FORK) as pool:
        return pool.submit(function, argument).result()


def _table(channels: int) -> tuple[Hub, list[bytes]]:
    hub = new_hub()
    names = [b"feed:room/%07d" % number for number in range(channels)]
    client = null_client(hub)
    for at, name in enumerate(names):
        if at % _CHANNELS_EACH == 0:
            client = null_client(hub)
        hub.router.join(client, name)
    return hub, names


def _dispatch(channels: int) -> float:
    hub, names = _table(channels)
    gc.collect()
    gc.freeze()
    # The names come from Redis as objects of their own.
    batches: list[list[Push]] = []
    for first in range(0, MESSAGES, 64):
        at = range(first, min(first + 64, MESSAGES))
        batches.append([[b"pmessage", PATTERN, bytes(bytearray(names[k * _STRIDE % channels])), PAYLOAD] for k in at])
    best = float("inf")
    for _ in range(3):
        began = time.process_time()
        for batch in batches:
            hub.dispatch(batch)
        best = min(best, time.process_time() - began)
    return best * 1e6 / MESSAGES


def _memory(channels: int) -> float:
    gc.collect()
    before = _resident()
    kept = _table(channels)
    grown = _resident() - before
    assert len(kept[0].router) == channels, "each has its subscriber"
    return max(grown, 1) / channels


def _resident() -> int:
    with open("/proc/self/smaps_rollup") as lines:  # noqa: PTH123 - read while memory is counted: nothing else is loaded
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_Dirty"))
