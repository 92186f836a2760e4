"""Start what is measured and the Redis beneath it, ask the kernel what they use, and end them, whatever happens.

A server may be one process, a master with workers, or several copies: the processes that were started and all their
descendants are the server, and its CPU time is theirs, user and system. The kernel brings the CPU clock of another
process up to date only when that process is switched out or a tick interrupts it (kernel/sched/cputime.c,
thread_group_cputime), so the clock is read when it has nearly stood still.

Linux only: proc(5), and the numbers of CPU clocks in include/linux/posix-timers_types.h.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import redis

from bench.loadgen.dialect import Inlet, Target
from bench.peers.registry import DEFAULT_DIRECTORY, Peer, Place
from bench.results import ROOT
from mux.serve.embedded import find_server as find_redis

START_SECONDS = 30.0
"""Seconds a server may take until it accepts a connection."""

RESTING_SHARE = 0.02
"""A server that uses less of a processor than this share does nothing but tick."""

IDLE_SECONDS, SETTLED_SECONDS = 0.02, 0.3
"""A server that does nothing but tick for so many seconds has done its work, or has started."""

LONGEST_WAIT_SECONDS = 5.0
"""A server that never rests, because of timers, is read after so many seconds all the same."""

_LISTEN = "0A"
_OUR_OWN = ("cmdstat_info", "cmdstat_hello", "cmdstat_client|setinfo")


@dataclass(frozen=True, slots=True)
class Tree:
    """The processes of one server, counted anew whenever it is asked."""

    roots: tuple[int, ...]

    def pids(self) -> list[int]:
        """Return the roots and all their descendants."""
        found = list(self.roots)
        parents = _parents()
        for pid in found:  # which grows meanwhile
            found += [child for child, parent in parents.items() if parent == pid and child not in found]
        return found

    def settle(self) -> None:
        """Wait until the server has started: a master that watches over workers ticks, and need not stand still."""
        self._rest(SETTLED_SECONDS)

    def cpu_seconds(self) -> float:
        """Wait until the server rests and return the processor time that it has used so far."""
        return self._rest(IDLE_SECONDS)

    def memory_bytes(self) -> int:
        """Return the memory that is the server's alone: the private dirty pages of its processes."""
        return sum(private_bytes(pid) for pid in self.pids())

    def _rest(self, seconds: float) -> float:
        deadline = time.monotonic() + LONGEST_WAIT_SECONDS
        before, now = -1.0, self._clock()
        while now - before > RESTING_SHARE * seconds and time.monotonic() < deadline:
            time.sleep(seconds)
            before, now = now, self._clock()
        return now

    def _clock(self) -> float:
        total = 0.0
        for pid in self.pids():
            with suppress(OSError):  # it has just ended
                total += time.clock_gettime((~pid) << 3 | 2)
        return total


def private_bytes(pid: int | str) -> int:
    """Return the private dirty pages of a process."""
    found = re.search(r"^Private_Dirty:\s+(\d+) kB$", _read(f"/proc/{pid}/smaps_rollup"), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def find_server(port: int) -> Tree | None:
    """Return the processes that listen on a TCP port of this machine; None when they cannot be seen."""
    lines = [line.split() for table in ("tcp", "tcp6") for line in _read(f"/proc/net/{table}").splitlines()[1:]]
    listening = [words for words in lines if words[3] == _LISTEN]
    names = {f"socket:[{words[9]}]" for words in listening if int(words[1].rpartition(":")[2], 16) == port}
    parents = _parents()
    owners = {pid for pid in parents if names and _has_open(pid, names)}
    roots = tuple(sorted(pid for pid in owners if parents[pid] not in owners))
    return Tree(roots) if roots else None


@dataclass(frozen=True, slots=True)
class RedisUse:
    """The work that Redis says it has done so far."""

    cpu_seconds: float
    commands: int
    output_bytes: int

    def __sub__(self, earlier: RedisUse) -> RedisUse:
        output_bytes = self.output_bytes - earlier.output_bytes
        return RedisUse(self.cpu_seconds - earlier.cpu_seconds, self.commands - earlier.commands, output_bytes)


def redis_use(url: str) -> RedisUse:
    """Ask Redis."""
    with redis.Redis.from_url(url) as client:
        info = client.info("everything")
    return RedisUse(
        float(info["used_cpu_user"]) + float(info["used_cpu_sys"]),
        # Of a Lua script the commands inside count as well; our own question does not.
        sum(int(use["calls"]) for name, use in info.items() if name.startswith("cmdstat_") and name not in _OUR_OWN),
        int(info["total_net_output_bytes"]),
    )


@dataclass(frozen=True, slots=True)
class Running:
    """A server that accepts connections."""

    peer: Peer
    place: Place
    tree: Tree

    @property
    def target(self) -> Target:
        """The target of the server's clients."""
        return Target("127.0.0.1", self.place.port, self.peer.path)

    def inlet(self, size: int = 128) -> Inlet:
        """Return where messages of so many bytes are published."""
        return self.peer.inlet(self.place, size)


@contextmanager
def redis_server() -> Iterator[str]:
    """Run a Redis on the loopback address, for peers that know no unix sockets; gives its URL."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="mux-bench-") as directory:
        options = ["--bind", "127.0.0.1", "--port", str(port), "--dir", directory, "--save", "", "--appendonly", "no"]
        with _process([find_redis(), *options], Path(directory), DEFAULT_DIRECTORY) as pid:
            _wait_until_listening(port, pid, Path(directory))
            yield f"redis://127.0.0.1:{port}"


@contextmanager
def serving(peer: Peer, redis_url: str, peers: Path = DEFAULT_DIRECTORY, *, workers: int = 1) -> Iterator[Running]:
    """Run a server for as long as the block runs.

    Raises:
        RuntimeError: it did not start.
    """
    with tempfile.TemporaryDirectory(prefix="mux-bench-") as name, ExitStack() as stack:
        scratch = Path(name)
        scratch.chmod(0o755)
        place = Place(port=free_port(), redis_url=redis_url, peers=peers, scratch=scratch, workers=workers)
        command, copies = peer.command(place), workers if peer.copies else 1
        pids = [stack.enter_context(_process(command, scratch, peers)) for _ in range(copies)]
        for pid in pids:
            _wait_until_listening(place.port, pid, scratch)
        tree = Tree(tuple(pids))
        if workers > 1:
            tree.settle()  # when one listens, others may still be starting
        yield Running(peer, place, tree)


def free_port() -> int:
    """Return a port nobody listens on now, outside those the kernel gives to clients."""
    # Processes that look at the same time begin far from each other.
    for port in range(20_000 + os.getpid() * 101 % 10_000, 32_000):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("there is no free port")


@contextmanager
def _process(command: list[str], scratch: Path, peers: Path) -> Iterator[int]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MUX_")}
    environment["NODE_PATH"] = str(peers / "node" / "node_modules")
    with (scratch / "log").open("ab") as log:
        popen = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield popen.pid
    finally:
        # Saying goodbye to thousands of clients takes seconds, and nothing of these servers is to be kept.
        with suppress(ProcessLookupError):
            os.killpg(popen.pid, signal.SIGKILL)
        popen.wait()


def _wait_until_listening(port: int, pid: int, scratch: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and _stat(pid)[:1] != ["Z"]:
        with socket.socket() as probe, suppress(OSError):
            probe.connect(("127.0.0.1", port))
            return
        time.sleep(IDLE_SECONDS)
    said = " | ".join((scratch / "log").read_text(errors="replace").splitlines()[-5:]) or "nothing"
    raise RuntimeError(f"nothing listens on port {port}: the server did not start, and said: {said}")


def _parents() -> dict[int, int]:
    stats = {int(entry.name): _stat(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()}
    return {pid: int(fields[1]) for pid, fields in stats.items() if fields}


def _stat(pid: int | str) -> list[str]:
    return _read(f"/proc/{pid}/stat").rpartition(")")[2].split()


def _has_open(pid: int, names: set[str]) -> bool:
    try:
        return any(str(descriptor.readlink()) in names for descriptor in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False  # it ended, or is somebody else's


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
