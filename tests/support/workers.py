"""What workers do in the tests of the supervisor; imported by them when they are spawned, so with few imports."""

from __future__ import annotations

import os
import signal
import sys
import time
from ctypes import c_ubyte
from multiprocessing import get_context
from pathlib import Path

from mux.metrics.seat import State


class Notices:
    """What supervisor and workers tell each other; a Board without numbers, and without what it imports."""

    def __init__(self, count: int) -> None:
        self._beats = get_context("spawn").RawArray(c_ubyte, count + 1)
        self._ready = get_context("spawn").RawArray(c_ubyte, count + 1)
        self._states: dict[int, State] = {}

    def beat(self, number: int) -> None:
        """Show that a worker is alive."""
        self._beats[number] = (self._beats[number] + 1) % 256

    def beats(self, number: int) -> int:
        """Return how often, as Supervisor reads it."""
        return self._beats[number]

    def show(self, number: int, state: State) -> None:
        """Take how a worker is."""
        self._states[number] = state

    def set_ready(self, number: int) -> None:
        """Show that a worker is ready."""
        self._ready[number] = 1

    def is_ready(self, number: int) -> bool:
        """Tell whether it is, as Supervisor reads it."""
        return bool(self._ready[number])

    def bury(self, number: int) -> None:
        """Take that a worker has ended; show() follows."""
        self._ready[number] = 0

    def states(self) -> list[State]:
        """Return how the workers are."""
        return sorted(state for state in self._states.values() if state != "unused")


def note(folder: Path, number: int) -> int:
    """Write down that a worker has started, and when; return how many of its number there have been."""
    with (folder / str(number)).open("a") as file:
        file.write(f"{os.getpid()} {time.monotonic()}\n")
    return len((folder / str(number)).read_text().splitlines())


def notes(folder: Path, number: int) -> list[tuple[int, float]]:
    """Return the process and the time of each worker of a number."""
    path = folder / str(number)
    lines = path.read_text().splitlines() if path.exists() else []
    return [(int(pid), float(when)) for pid, when in (line.split() for line in lines)]


def beat_for_ever(notices: Notices, number: int) -> None:
    """Do what a worker in order does."""
    while True:
        notices.beat(number)
        time.sleep(0.02)


def both_are_well(notices: Notices, folder: Path, number: int, replaces: bool) -> None:
    """Nothing is wrong."""
    note(folder, number)
    beat_for_ever(notices, number)


def first_is_well_second_dies(notices: Notices, folder: Path, number: int, replaces: bool) -> None:
    """Number 1 dies at once, whenever it is started."""
    note(folder, number)
    if number == 1:
        sys.exit(3)
    beat_for_ever(notices, number)


def first_is_well_second_stands_still(notices: Notices, folder: Path, number: int, replaces: bool) -> None:
    """Number 1 beats and then stops itself; the one that takes its place is well."""
    times = note(folder, number)
    if number == 1 and times == 1:
        notices.beat(number)
        os.kill(os.getpid(), signal.SIGSTOP)
    beat_for_ever(notices, number)


def will_not_stop(notices: Notices, folder: Path, number: int, replaces: bool) -> None:
    """Ignore SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note(folder, number)
    beat_for_ever(notices, number)


def replaced_by(what: str, notices: Notices, folder: Path, number: int, replaces: bool) -> None:
    """Be well, and leave at SIGHUP; one that is to replace another does as it is told: be ready, die or be late."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGHUP,))
    note(folder, number)
    if replaces and what == "dies":
        sys.exit(4)
    if not replaces or what == "is ready":
        notices.set_ready(number)
    beat_for_ever(notices, number)
