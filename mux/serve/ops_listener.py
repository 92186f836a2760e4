"""The listener of the operator's own: /healthz, /readyz, /metrics, /stats and /channels away from the public port.

All processes of a server accept from its one socket, as they do from the public one; which of them answers is chance.
/healthz and /readyz speak for the process that answers; /metrics has the numbers of all of them and /stats those of the
whole fleet, whichever is asked. It is served from when clients are until they are gone, so that /readyz can be seen
failing while the server drains.

It takes no token where this machine alone can reach it: by a loopback address, or by a unix socket, which only this
user may open.
"""

from __future__ import annotations

import os
import socket
import stat
from asyncio import Protocol
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

from sanic import Sanic

from mux.doorstep.arrivals import Arrivals
from mux.errors import CannotListen

BACKLOG = 128

REQUEST_SECONDS = 0.5
"""Seconds that requests which have begun are given when all clients are gone. A POST takes milliseconds."""


@contextmanager
def unix_socket(path: Path) -> Iterator[socket.socket]:
    """Listen on a unix socket that this user alone may open, for as long as the block runs; then its file is removed.

    A socket that nobody listens on any more is replaced; anything else that is there is left alone.

    Raises:
        CannotListen: somebody listens there, or the system refuses.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with sock:
        try:
            _remove_dead(path)
            mask = os.umask(0o177)
            try:
                sock.bind(str(path))
            finally:
                os.umask(mask)
            sock.listen(BACKLOG)
            made = path.stat().st_ino
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise CannotListen(f"cannot listen on unix:{path}: {reason}; choose another --ops-host") from error
        try:
            yield sock
        finally:
            with suppress(OSError):
                if path.lstat().st_ino == made:
                    path.unlink()


def _remove_dead(path: Path) -> None:
    """Remove a unix socket that nobody listens on."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        try:
            other.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()


@asynccontextmanager
async def serving(app: Sanic[Any, Any], sock: socket.socket, protocol: type[Protocol]) -> AsyncIterator[None]:
    """Serve an app on a socket for as long as the block runs.

    Args:
        app: has the operator's routes.
        sock: listens; it is not closed.
        protocol: the class that connections are served with.
    """
    # Any: the methods of Sanic's AsyncioServer have no annotations.
    server: Any = await app.create_server(
        sock=sock.dup(),
        backlog=BACKLOG,
        access_log=False,
        protocol=protocol,
        asyncio_server_kwargs={"start_serving": False},
    )
    await server.startup()
    await server.before_start()
    await server.start_serving()
    await server.after_start()
    try:
        yield
    finally:
        await stop(server, app.ctx.mux_arrivals)


async def stop(server: Any, arrivals: Arrivals) -> None:
    """Say goodbye to all clients of a server of Sanic's, let requests that have begun end, and end the server."""
    arrivals.leave()
    await server.before_stop()
    closed = server.close()  # from here on nobody listens
    await arrivals.finish(REQUEST_SECONDS)
    await closed
    await server.after_stop()
