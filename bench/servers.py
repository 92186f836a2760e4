"""Start what is compared, and the Redis beneath it; end both, whatever happens."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.loadgen.dialect import Target
from bench.loadgen.publisher import Door
from bench.meters import Tree
from bench.peers.registry import DEFAULT_DIRECTORY, Peer, Place
from bench.results import ROOT
from mux.broker.embedded import find_server

START_SECONDS = 30.0
"""How long a server may take until it accepts a connection."""

_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Running:
    """A server that accepts connections."""

    peer: Peer
    place: Place
    tree: Tree

    @property
    def target(self) -> Target:
        """Where its clients go."""
        return Target("127.0.0.1", self.place.port, self.peer.path)

    def door(self, size: int) -> Door:
        """Where messages of so many bytes are published."""
        return self.peer.door(self.place, size)


@contextmanager
def redis_server() -> Iterator[str]:
    """Run a Redis on the loopback address, for peers that know no unix sockets; gives its URL."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="mux-bench-") as directory:
        options = ["--bind", "127.0.0.1", "--port", str(port), "--dir", directory, "--save", "", "--appendonly", "no"]
        with _process([find_server(), *options], Path(directory), DEFAULT_DIRECTORY) as pid:
            _wait_until_listening(port, pid, Path(directory))
            yield f"redis://127.0.0.1:{port}"


@contextmanager
def serving(peer: Peer, redis_url: str, peers: Path, *, workers: int = 1) -> Iterator[Running]:
    """Run a peer for as long as the block runs.

    Raises:
        RuntimeError: it did not start.
    """
    with tempfile.TemporaryDirectory(prefix="mux-bench-") as scratch:
        Path(scratch).chmod(0o755)
        port = free_port()
        place = Place(port=port, redis_url=redis_url, peers=peers, scratch=Path(scratch), workers=workers)
        commands = [peer.command(place)]
        if peer.copies:
            commands *= workers
        with _processes(commands, Path(scratch), peers) as pids:
            for pid in pids:
                _wait_until_listening(port, pid, Path(scratch))
            tree = Tree(tuple(pids))
            if workers > 1:
                tree.settle()  # one that listens does not say that all do
            yield Running(peer, place, tree)


def free_port() -> int:
    """Return a port nobody listens on now, outside those the kernel gives to clients."""
    for port in range(20_000 + os.getpid() % 5_000, 32_000):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("there is no free port")


@contextmanager
def _processes(commands: list[list[str]], scratch: Path, peers: Path) -> Iterator[list[int]]:
    if not commands:
        yield []
        return
    with _process(commands[0], scratch, peers) as first, _processes(commands[1:], scratch, peers) as others:
        yield [first, *others]


@contextmanager
def _process(command: list[str], scratch: Path, peers: Path) -> Iterator[int]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MUX_")}
    environment["NODE_PATH"] = str(peers / "node" / "node_modules")
    log = (scratch / "log").open("ab")
    with log:
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
    while time.monotonic() < deadline:
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            break
        with socket.socket() as probe, suppress(OSError):
            probe.connect(("127.0.0.1", port))
            return
        time.sleep(_POLL_SECONDS)
    raise RuntimeError(f"nothing listens on port {port}: the server did not start, and said: {_last_words(scratch)}")


def _last_words(scratch: Path) -> str:
    lines = (scratch / "log").read_text(errors="replace").splitlines()
    return " | ".join(lines[-5:]) or "nothing"
