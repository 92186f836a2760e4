"""What a server uses: CPU and memory of its processes, and what its Redis says of itself.

A server may be one process, a master with workers, or a worker under a supervisor. It is found by its
listening socket: every process that has the socket open, and all their descendants, are the server.

The CPU clock of another process is exact to the nanosecond but brought up to date only when that process is
switched out or a tick interrupts it, so it is read when it has stood still (see bench.programs). How much of
it was user and how much system is told in ticks of a hundredth of a second, and only the share is used.

Linux only: proc(5), and the numbers of CPU clocks in include/linux/posix-timers_types.h.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

import redis

IDLE_SECONDS = 0.02
"""A clock that stood still for so long belongs to a program that waits."""

SETTLED_SECONDS, SETTLED_SHARE = 0.3, 0.02
"""Who used so little of a processor for so long has nothing left to load."""

LONGEST_WAIT_SECONDS = 5.0
"""A server that never rests (timers, pings) is read after so long all the same."""

_LISTEN = "0A"
_OURS = ("cmdstat_info", "cmdstat_hello", "cmdstat_client|setinfo")


@dataclass(frozen=True, slots=True)
class Cpu:
    """Processor time in seconds."""

    user: float
    system: float

    @property
    def total(self) -> float:
        """User and system."""
        return self.user + self.system

    def __sub__(self, earlier: Cpu) -> Cpu:
        return Cpu(self.user - earlier.user, self.system - earlier.system)


@dataclass(frozen=True, slots=True)
class Tree:
    """The processes of one server, counted anew whenever it is asked."""

    roots: tuple[int, ...]

    def pids(self) -> list[int]:
        """Return the roots and all their descendants."""
        children: dict[int, list[int]] = {}
        for pid, parent in _parents().items():
            children.setdefault(parent, []).append(pid)
        found: list[int] = []
        queue = list(self.roots)
        while queue:
            pid = queue.pop()
            if pid not in found:
                found.append(pid)
                queue.extend(children.get(pid, ()))
        return found

    def settle(self) -> None:
        """Wait until the server has started: what watches over workers ticks, so it need not stand still."""
        deadline = time.monotonic() + LONGEST_WAIT_SECONDS
        before, now = 0.0, self._clock()
        while now - before > SETTLED_SHARE * SETTLED_SECONDS and time.monotonic() < deadline:
            time.sleep(SETTLED_SECONDS)
            before, now = now, self._clock()

    def cpu(self) -> Cpu:
        """Wait until the server rests and return what it has used so far."""
        deadline = time.monotonic() + LONGEST_WAIT_SECONDS
        before, now = -1.0, self._clock()
        while now != before and time.monotonic() < deadline:
            time.sleep(IDLE_SECONDS)
            before, now = now, self._clock()
        user = system = 0
        for pid in self.pids():
            fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
            if fields:
                user += int(fields[11])
                system += int(fields[12])
        share = user / (user + system) if user + system else 1.0
        return Cpu(now * share, now * (1 - share))

    def rss_bytes(self) -> int:
        """Return the resident memory of all processes; pages they share are counted once for each."""
        return sum(_field(f"/proc/{pid}/smaps_rollup", "Rss") for pid in self.pids())

    def _clock(self) -> float:
        total = 0.0
        for pid in self.pids():
            try:
                total += time.clock_gettime((~pid) << 3 | 2)
            except OSError:
                continue  # it has just ended
        return total


def find_server(port: int) -> Tree | None:
    """Return the processes that listen on a TCP port of this machine; None when they cannot be seen."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in _read(table).splitlines()[1:]:
            words = line.split()
            if words[3] == _LISTEN and int(words[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{words[9]}]")
    owners = {pid for pid in _parents() if inodes and _has_open(pid, inodes)}
    parents = _parents()
    roots = tuple(sorted(pid for pid in owners if parents.get(pid) not in owners))
    return Tree(roots) if roots else None


@dataclass(frozen=True, slots=True)
class RedisUse:
    """What Redis says it has done so far."""

    cpu: Cpu
    commands: int
    output_bytes: int

    def __sub__(self, earlier: RedisUse) -> RedisUse:
        return RedisUse(
            self.cpu - earlier.cpu, self.commands - earlier.commands, self.output_bytes - earlier.output_bytes
        )


def redis_use(url: str) -> RedisUse:
    """Ask Redis."""
    with redis.Redis.from_url(url) as client:
        info = client.info("everything")
    return RedisUse(
        Cpu(float(info["used_cpu_user"]), float(info["used_cpu_sys"])),
        # Of a Lua script the commands inside count as well; our own question does not.
        sum(int(use["calls"]) for name, use in info.items() if name.startswith("cmdstat_") and name not in _OURS),
        int(info["total_net_output_bytes"]),
    )


def _parents() -> dict[int, int]:
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            fields = _read(f"/proc/{entry.name}/stat").rpartition(")")[2].split()
            if fields:
                parents[int(entry.name)] = int(fields[1])
    return parents


def _has_open(pid: int, names: set[str]) -> bool:
    try:
        return any(str(descriptor.readlink()) in names for descriptor in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False  # it ended, or is somebody else's


def _field(path: str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", _read(path), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
