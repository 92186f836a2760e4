"""Redis servers with ports, for what one server on a unix socket cannot show: replicas, sentinels, clusters."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from mux.serve.embedded import find_server
from mux.serve.listening import listening_socket
from tests.support.servers import PATIENCE_SECONDS


def free_ports(count: int) -> list[int]:
    """Return ports nobody listens on, far enough below the top for a cluster's bus (port + 10000)."""
    ports: list[int] = []
    while len(ports) < count:
        with listening_socket("127.0.0.1", 0) as sock:
            port = int(sock.getsockname()[1])
        ports.append(port if port < 55_000 else port - 20_000)
    return ports


@contextmanager
def redis_process(directory: Path, port: int, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run one server, or one sentinel, for as long as the block runs."""
    home = directory / str(port)
    home.mkdir(parents=True, exist_ok=True)  # one that ended may have had the same port
    config = home / "redis.conf"
    config.write_text(
        "".join(f"{line}\n" for line in (f"port {port}", "bind 127.0.0.1", f"dir {home}", 'save ""', *options))
    )
    sentinel = ["--sentinel"] if any(option.startswith("sentinel ") for option in options) else []
    process = subprocess.Popen([find_server(), str(config), *sentinel], stdout=subprocess.DEVNULL)
    try:
        with client(port) as control:
            wait(lambda: _answers(control))
        yield process
    finally:
        process.kill()
        process.wait()


def client(port: int) -> redis.Redis:
    """Return a client of the server on a port."""
    return redis.Redis(port=port)


def _answers(control: redis.Redis) -> bool:
    try:
        return bool(control.ping())
    except redis.ConnectionError:
        return False


def wait(condition: Callable[[], object]) -> None:
    """Wait for something outside of this process."""
    deadline = time.monotonic() + 2 * PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
