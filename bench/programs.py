"""The programs under test: start them, ask the kernel what they use, end them.

Every program is a process of its own, so its CPU clock counts its work and nobody else's. The clock is
user and system time together, to the nanosecond, and stands still while the program waits; how busy the
rest of the machine is shows in it far less than in a stopwatch.

The kernel brings the clock of another process up to date only when that process is switched out or a tick
interrupts it (kernel/sched/cputime.c, thread_group_cputime). So the clock is read when the program is idle.
"""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 60.0
"""How long a program may take to say what is waited for."""

_IDLE_SECONDS = 0.02
"""A clock that stood still for so long belongs to a program that waits: two ticks of a kernel with 100 of
them a second, the fewest there are."""

_ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Program:
    """What to start: arguments of this Python."""

    name: str
    arguments: tuple[str, ...]

    def __str__(self) -> str:
        return self.name


# Clients here never answer a ping, and a ping would be counted as a message.
_SERVE = "-m mux serve --port 0 --no-announce --ping-seconds 86400 --log-level warning --redis-url"

MUX = Program("mux", tuple(_SERVE.split()))
SANIC_WEBSOCKET = Program("sanic-websocket", ("-m", "bench.baselines.sanic_websocket"))
PUBSUB_PER_CHANNEL = Program("pubsub-per-channel", ("-m", "bench.baselines.pubsub_per_channel"))
BARE_SEND = Program("bare-send", ("-m", "bench.baselines.bare_send"))
"""Servers; each takes the URL of a Redis as its last argument and says where it listens."""


class Process:
    """A running program."""

    def __init__(self, program: Program, popen: subprocess.Popen[bytes]) -> None:
        self.program = program
        self.port = 0
        """Where it listens on the loopback address, if it is a server."""
        self._popen = popen
        self._said = ""

    def cpu_seconds(self) -> float:
        """Wait until the program has nothing left to do and return the user and system time it has used."""
        before, now = -1.0, self._clock()
        while now != before:
            time.sleep(_IDLE_SECONDS)
            before, now = now, self._clock()
        return now

    def memory_bytes(self) -> int:
        """Wait likewise and return the memory that is the program's alone: its private dirty pages (proc(5))."""
        self.cpu_seconds()
        rollup = Path(f"/proc/{self._popen.pid}/smaps_rollup").read_text()
        found = re.search(r"^Private_Dirty:\s+(\d+) kB$", rollup, re.MULTILINE)
        assert found is not None, "smaps_rollup has this line since Linux 4.14"
        return int(found[1]) * 1024

    def tell(self, line: str) -> None:
        """Write a line to the program's standard input."""
        assert self._popen.stdin is not None, "it is a pipe"
        self._popen.stdin.write(f"{line}\n".encode())
        self._popen.stdin.flush()

    def expect(self, pattern: str) -> re.Match[str]:
        """Wait until the program's output has something that matches, and forget the output up to there."""
        assert self._popen.stdout is not None, "it is a pipe"
        deadline = time.monotonic() + START_SECONDS
        while not (found := re.search(pattern, self._said)):
            ready, _, _ = select.select([self._popen.stdout], [], [], max(0.0, deadline - time.monotonic()))
            said = os.read(self._popen.stdout.fileno(), 65536) if ready else b""
            if not said:
                raise RuntimeError(f"{self.program} did not say {pattern!r} but {self._said!r}")
            self._said += said.decode()
        self._said = self._said[found.end() :]
        return found

    def _clock(self) -> float:
        # The clock of another process, as clock_getcpuclockid(3) makes its number: the complement of the
        # pid, shifted by three, and 2 for CPUCLOCK_SCHED (include/linux/posix-timers_types.h).
        return time.clock_gettime((~self._popen.pid) << 3 | 2)


@contextmanager
def serving(program: Program, redis_url: str) -> Iterator[Process]:
    """Run a server for as long as the block runs."""
    with running(program, redis_url) as server:
        server.port = int(server.expect(r"http://127\.0\.0\.1:(\d+)")[1])
        yield server


@contextmanager
def running(program: Program, *arguments: str) -> Iterator[Process]:
    """Run a program for as long as the block runs."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MUX_")}
    popen = subprocess.Popen(
        [sys.executable, *program.arguments, *arguments],
        cwd=_ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with popen:
        try:
            yield Process(program, popen)
        finally:
            # Nothing outlives these programs, and saying goodbye to thousands of clients takes seconds.
            popen.kill()
