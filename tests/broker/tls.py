"""TLS in front of servers that have none."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import trustme


class Authority:
    """A certificate authority of the test's own."""

    def __init__(self, directory: Path) -> None:
        self._ca = trustme.CA()
        self.path = directory / "ca.pem"
        """Its certificate, for ssl_ca_certs."""
        self._ca.cert_pem.write_to_path(str(self.path))

    def context(self, *names: str, wants_certificate: bool = False) -> ssl.SSLContext:
        """Return what a server of these names listens with."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert(*names).configure_cert(context)
        if wants_certificate:
            self._ca.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


@asynccontextmanager
async def tls_front(context: ssl.SSLContext, *, port: int = 0, path: str = "") -> AsyncIterator[int]:
    """Listen with TLS and pass everything on to a port or a unix socket; gives the port to connect to."""
    tasks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        opening = asyncio.open_unix_connection(path) if path else asyncio.open_connection("127.0.0.1", port)
        inner_reader, inner_writer = await opening
        try:
            with suppress(ConnectionError, asyncio.CancelledError):
                await asyncio.gather(_pipe(reader, inner_writer), _pipe(inner_reader, writer))
        finally:
            inner_writer.transport.abort()
            writer.transport.abort()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=context)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()
