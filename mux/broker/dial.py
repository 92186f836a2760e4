"""Make a connection to an address: the first of its name's addresses that answers, then TLS.

A name may have several addresses of which some are dead, and a dead one does not say so. So they are tried one
after the other with a short pause between the starts, and the first that answers is taken (RFC 8305). asyncio has
this for the loop of the standard library, uvloop has not.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from mux.broker.address import Address

STAGGER_SECONDS = 0.25
"""Seconds from the start of one address' try to that of the next, as RFC 8305, section 5, recommends."""

MAX_SOCKET_PATH_BYTES = 107 if sys.platform == "linux" else 103
"""The longest path of a unix socket: sockaddr_un holds it and a NUL byte."""

DIAL_ERRORS = (OSError, ValueError)
"""Errors of dial() when no server is reached; ValueError, and so UnicodeError, is for a host that cannot be one."""

_Resolved: TypeAlias = tuple[Any, ...]
"""One result of getaddrinfo(): family, kind, protocol, canonical name and address."""

_Protocol = TypeVar("_Protocol", bound=asyncio.BaseProtocol)


async def dial(
    address: Address, make_protocol: Callable[[], _Protocol], *, on_reached: Callable[[], None] = lambda: None
) -> tuple[asyncio.BaseTransport, _Protocol]:
    """Connect and return the transport and the protocol.

    Args:
        address: where to.
        make_protocol: called once the server is reached, TLS included.
        on_reached: called before the TLS handshake, if there is one.

    Raises:
        DIAL_ERRORS: no server is there, or the TLS handshake failed; reason_of() says why.
    """
    loop = asyncio.get_running_loop()
    if address.path:
        if len(os.fsencode(address.path)) > MAX_SOCKET_PATH_BYTES:  # uvloop cuts it off, and may find another socket
            raise OSError(errno.ENAMETOOLONG, "")
        return await loop.create_unix_connection(make_protocol, address.path)
    sock = await _reach(loop, await resolve(loop, address.host, address.port))
    on_reached()
    name = address.host if address.tls else None
    try:
        return await loop.create_connection(make_protocol, sock=sock, ssl=address.tls, server_hostname=name)
    except BaseException:
        sock.close()
        raise


async def resolve(loop: asyncio.AbstractEventLoop, host: str, port: int) -> list[_Resolved]:
    """Return the addresses of a name, in the order in which the system prefers them."""
    return [*await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


async def _reach(loop: asyncio.AbstractEventLoop, untried: list[_Resolved]) -> socket.socket:
    """Return a socket connected to the first address that answers."""
    tries: set[asyncio.Task[socket.socket]] = set()
    error: BaseException = OSError("the name has no address")
    try:
        while untried or tries:
            if untried:
                tries.add(asyncio.create_task(_connect(loop, untried.pop(0))))
            pause = STAGGER_SECONDS if untried else None
            done, _ = await asyncio.wait(tries, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                failure = one.exception()
                tries.discard(one)
                if failure is None:
                    return one.result()
                error = failure
        raise error
    finally:
        for one in tries:
            one.cancel()
        for late in await asyncio.gather(*tries, return_exceptions=True):
            if isinstance(late, socket.socket):
                late.close()


async def _connect(loop: asyncio.AbstractEventLoop, resolved: _Resolved) -> socket.socket:
    family, kind, protocol, _, where = resolved
    sock = socket.socket(family, kind, protocol)
    sock.setblocking(False)
    try:
        await loop.sock_connect(sock, where)
    except BaseException:
        sock.close()
        raise
    return sock
