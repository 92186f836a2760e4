"""The sockets that a server accepts from, and what to say when there can be none."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from mux.errors import CannotListen
from mux.serve.ops_listener import unix_socket
from mux.settings.settings import UNIX, Settings

BACKLOG = 8192
"""Connections the kernel keeps until they are accepted; it caps them at net.core.somaxconn. With Sanic's
100, a storm of reconnects waits for SYN retries of a second and more (mux/README.md, Traps)."""


@dataclass(frozen=True, slots=True)
class Listeners:
    """The sockets that every process of a server accepts from; ops has the operator's routes alone, if it is there."""

    public: socket.socket
    ops: socket.socket | None


@contextmanager
def listening_socket(host: str, port: int, options: str = "") -> Iterator[socket.socket]:
    """Listen on an address for as long as the block runs.

    Args:
        host: a name or an address.
        port: 0 is any free one.
        options: how those begin that name them, as ops- for --ops-host.

    Raises:
        CannotListen: the address is in use, forbidden, or not of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that cannot be one
        reason = (getattr(error, "strerror", None) or "it is no name of a host").lower()
        raise CannotListen(f"cannot listen on {host!a}: {reason}; choose another --{options}host") from error
    with sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(address)
            sock.listen(BACKLOG)
        except OSError as error:
            raise CannotListen(_why_not(error, host, port, options)) from error
        yield sock


def _why_not(error: OSError, host: str, port: int, options: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use; stop who has it, or choose another --{options}port"
    if error.errno == errno.EACCES:
        return f"this user may not listen on port {port}; choose a --{options}port above 1023"
    reason = (error.strerror or str(error)).lower()
    return f"cannot listen on {host} port {port}: {reason}; choose another --{options}host"


def ops_socket(settings: Settings) -> AbstractContextManager[socket.socket | None]:
    """Return the listener that the operator's routes have of their own, or nothing."""
    if settings.ops_host is not None and settings.ops_host.startswith(UNIX):
        return unix_socket(Path(settings.ops_host.removeprefix(UNIX)))
    if settings.ops_port is not None:
        return listening_socket(settings.ops_host or "127.0.0.1", settings.ops_port, "ops-")
    return nullcontext(None)


def url_of(sock: socket.socket) -> str:
    """Return the URL at which a listening socket is reached from this machine."""
    host, port = sock.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def place_of(sock: socket.socket) -> str:
    """Return the URL of a listening socket, or unix: and its path."""
    return f"{UNIX}{sock.getsockname()}" if sock.family == socket.AF_UNIX else url_of(sock)
