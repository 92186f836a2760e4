"""Clients that come and go: each joins a channel of its own and leaves it, wave after wave.

They leave by closing the socket, without the closing handshake, as clients of a mobile network do.
"""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from bench.loadgen.crowd import Crowd
from bench.loadgen.limits import descriptors_for
from bench.loadgen.run import SPAWN, Load

WAVE = 100
"""Clients that come together, and go together when the last has joined."""

PATIENCE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Churned:
    """How it went."""

    pairs: int
    """Clients that joined and left."""
    seconds: float
    refused: int


def churn(load: Load) -> Churned:
    """Let load.clients come and go, in a process of their own, and wait for the end."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=_worker, args=(theirs, load), daemon=True)
    process.start()
    theirs.close()
    try:
        if not ours.poll(load.connect_patience):
            raise TimeoutError(f"churn did not end within {load.connect_patience:g} s")
        result: Churned = ours.recv()
        return result
    finally:
        process.kill()
        process.join()


def _worker(pipe: Connection[Any, Any], load: Load) -> None:
    gc.disable()
    wave = descriptors_for(min(WAVE, load.clients))
    pairs = refused = 0
    began = time.monotonic()
    while pairs + refused < load.clients:
        # Channel 0 is left to those who stay.
        channels = range(1 + pairs, 1 + pairs + min(wave, load.clients - pairs - refused))
        crowd = Crowd(load.target, load.dialect, channels, message_bytes=load.message_bytes)
        result = crowd.connect(at_once=load.at_once, patience=PATIENCE_SECONDS, live=lambda joined: None)
        crowd.close()
        pairs += len(result.waits)
        refused += len(channels) - len(result.waits)
    pipe.send(Churned(pairs, time.monotonic() - began, refused))
