"""The processes that are broken: a Redis on a port that it keeps, and `mux serve` with its log in a file."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from mux.serve.embedded import find_server
from tests.support.servers import PATIENCE_SECONDS, until, workers

USER, PASSWORD = "mux", "secret"
PREFIX = "feed:"

_CONFIGURATION = f"""
save ""
appendonly no
user {USER} on >{PASSWORD} ~* &{PREFIX}* +@all
"""


def redis_client(port: int, timeout_seconds: float = 1.0) -> Redis:
    """Return a client that sends every command at most once."""
    return Redis(
        port=port, retry=Retry(NoBackoff(), 0), socket_timeout=timeout_seconds, socket_connect_timeout=timeout_seconds
    )


class RedisServer:
    """A Redis or Valkey that can be killed and started again where it was; it knows the user that mux is."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "redis.conf").write_text(_CONFIGURATION)

    async def start(self) -> None:
        """Start it and wait until it answers."""
        self._spawn()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                except OSError:
                    await asyncio.sleep(0.01)
                else:
                    writer.close()
                    return

    def _spawn(self) -> None:
        self._process = subprocess.Popen(
            [find_server(), str(self._folder / "redis.conf"), "--port", str(self.port), "--dir", str(self._folder)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    @property
    def is_running(self) -> bool:
        """False after kill()."""
        return self._process is not None

    def signal(self, sig: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(sig)

    def kill(self) -> None:
        """End it with SIGKILL, stopped or not; it is gone when this returns."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class MuxServer:
    """`mux serve`.

    Args:
        name: what the ledger calls it.
        folder: where its log is.
        options: of the command line.
    """

    def __init__(self, name: str, folder: Path, *options: str) -> None:
        self.name = name
        self.port = 0
        self._log = folder / f"{name}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mux", "serve", "--port", "0", "--no-announce", *options],
                stdout=log,
                stderr=log,
                # Seconds; so that silence is found within the time of a test.
                env={**os.environ, "MUX_PROBE_SECONDS": "0.5", "PYTHONUNBUFFERED": "1"},
            )

    @property
    def pid(self) -> int:
        """The process that was started."""
        return self._process.pid

    @property
    def log(self) -> str:
        """Everything it has said."""
        return self._log.read_text(errors="replace")

    async def start(self) -> None:
        """Wait until it serves."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (found := re.search(r"http://[^ ,]+:(\d+)/feed", self.log)) is None:
                assert self._process.poll() is None, f"mux ended: {self.log}"
                await asyncio.sleep(0.01)
        self.port = int(found[1])

    def workers(self) -> set[int]:
        """Return the processes that serve, when there is more than one."""
        return workers(self.pid)

    async def position(self) -> str:
        """Return the position of the last message; nothing while there is no order."""
        async with httpx.AsyncClient(timeout=PATIENCE_SECONDS, headers={"Accept": "application/json"}) as http:
            answer = await http.get(f"http://127.0.0.1:{self.port}/feed/one?last=1")
        return str(answer.json()["position"])

    def signal(self, sig: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(sig)

    async def stop(self) -> int:
        """End it as an operator does, and return its status."""
        self._process.terminate()
        try:
            await until(lambda: self._process.poll() is not None)
        except TimeoutError:
            self._process.kill()
        return self._process.wait()
