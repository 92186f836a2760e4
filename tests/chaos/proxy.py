"""A TCP proxy that does to a connection what networks do.

    client ──up──► proxy ──up──► target
           ◄─down─       ◄─down─

Each way can be late, cut into slices, stalled, or corrupted; a link can be reset, or lead into a black
hole; new connections can be dropped. What is random comes from one seed. TCP keeps its promise whatever
happens: bytes arrive once and in order, or the link breaks. So a stalled way goes on where it stopped,
and a link that was in a black hole never comes back.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from random import Random

CHUNK_BYTES = 16 * 1024
"""How much is read at once, and about how much a stalled way keeps."""

KERNEL_BYTES = 32 * 1024
"""The kernel's buffer for what comes; small, so that a stall is felt at the other end soon."""

_RESET = struct.pack("ii", 1, 0)
"""Lingering for no time is what makes a close a reset (socket(7))."""


class Way:
    """One direction of a proxy, and what happens to the bytes that go there.

    Args:
        random: where its dice are.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._open = asyncio.Event()
        self.heal()

    def heal(self) -> None:
        """Pass everything on as it comes."""
        self.delay_seconds = 0.0
        """Each piece waits up to so long."""
        self.slice_bytes = 0
        """Pieces have 1 to so many bytes; 0 is as they come."""
        self.corrupt_chunks = 0
        """So many of the next chunks get a first byte that fits no protocol."""
        self._open.set()

    def stall(self) -> None:
        """Pass nothing on until heal()."""
        self._open.clear()

    async def passes(self) -> None:
        """Wait while the way is stalled."""
        await self._open.wait()

    async def carry(self, chunk: bytes, writer: asyncio.StreamWriter) -> None:
        """Pass a chunk on, in the way it is done now."""
        if self.corrupt_chunks:
            self.corrupt_chunks -= 1
            chunk = bytes((chunk[0] ^ 0x80,)) + chunk[1:]
        for piece in self._pieces(chunk):
            if self.delay_seconds:
                await asyncio.sleep(self._random.uniform(0, self.delay_seconds))
            writer.write(piece)
            await writer.drain()
            if self.slice_bytes:
                await asyncio.sleep(0)  # or the pieces leave as one

    def _pieces(self, chunk: bytes) -> Iterator[bytes]:
        at = 0
        while at < len(chunk):
            size = self._random.randint(1, self.slice_bytes) if self.slice_bytes else len(chunk)
            yield chunk[at : at + size]
            at += size


class Link:
    """One connection through a proxy: two sockets, and a task for each way."""

    def __init__(self, *, is_swallowed: bool) -> None:
        self.writers: list[asyncio.StreamWriter] = []
        self._open = asyncio.Event()
        if not is_swallowed:
            self._open.set()

    def swallow(self) -> None:
        """Pass nothing on any more, not even an end."""
        self._open.clear()

    async def run(self, near: asyncio.StreamReader, target: tuple[str, int], up: Way, down: Way) -> None:
        """Carry bytes both ways until both have ended."""
        await self._open.wait()
        far, writer = await asyncio.open_connection(*target, limit=CHUNK_BYTES)
        self.writers.append(writer)
        for one in self.writers:
            sock: socket.socket = one.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BYTES)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with asyncio.TaskGroup() as ways:
            ways.create_task(self._carry(near, up, self.writers[1]))
            ways.create_task(self._carry(far, down, self.writers[0]))

    def reset(self) -> None:
        """End both sockets with a reset."""
        for writer in self.writers:
            sock = writer.get_extra_info("socket")
            if sock is not None and sock.fileno() >= 0:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, way: Way, writer: asyncio.StreamWriter) -> None:
        while True:
            chunk = await reader.read(CHUNK_BYTES)
            await way.passes()
            await self._open.wait()
            if not chunk:
                break
            await way.carry(chunk, writer)
        if not writer.transport.is_closing():
            writer.write_eof()


class Proxy:
    """A port on the loopback that leads to another; made by proxy().

    Args:
        target: host and port.
        seed: of all that is random.
    """

    def __init__(self, target: tuple[str, int], seed: int) -> None:
        self._target = target
        random = Random(seed)
        self.up = Way(random)
        """From the client to the target."""
        self.down = Way(random)
        """From the target to the client."""
        self.drops_new = False
        """True when new connections are reset as soon as they are made."""
        self.dropped = 0
        """How many were."""
        self.port = 0
        self._is_black_hole = False
        self._links: dict[Link, asyncio.Task[None]] = {}
        self._server: asyncio.Server | None = None

    def __len__(self) -> int:
        """How many connections there are, those in a black hole included."""
        return len(self._links)

    async def start(self) -> None:
        """Listen on any free port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=CHUNK_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]

    async def aclose(self) -> None:
        """Reset every link, and listen no more."""
        assert self._server is not None
        self._server.close()
        tasks = list(self._links.values())
        for link, task in self._links.items():
            link.reset()
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()

    def heal(self) -> None:
        """Be a good network again. What a black hole has swallowed stays swallowed."""
        self.drops_new = self._is_black_hole = False
        self.up.heal()
        self.down.heal()

    def reset(self) -> None:
        """End every link with a reset, at both ends."""
        for link in self._links:
            link.reset()

    def black_hole(self) -> None:
        """Swallow what is under way and whatever comes, on all links and on new ones; end none of them."""
        self._is_black_hole = True
        for link in self._links:
            link.swallow()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(is_swallowed=self._is_black_hole)
        link.writers.append(writer)
        if self.drops_new:
            self.dropped += 1
            link.reset()
            return
        task = asyncio.create_task(self._run(link, reader), name="proxy-link")
        self._links[link] = task

    async def _run(self, link: Link, reader: asyncio.StreamReader) -> None:
        try:
            await link.run(reader, self._target, self.up, self.down)
        except* (OSError, RuntimeError, ValueError):  # of a closed handle uvloop raises one of the last two
            link.reset()  # what one side did, the other sees
        finally:
            del self._links[link]
            for writer in link.writers:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()


@asynccontextmanager
async def proxy(target: tuple[str, int], seed: int = 0) -> AsyncIterator[Proxy]:
    """Run a proxy for as long as the block runs."""
    one = Proxy(target, seed)
    await one.start()
    try:
        yield one
    finally:
        await one.aclose()
