"""A TCP proxy that does to a connection what networks do.

    client ──up──► proxy ──up──► target
           ◄─down─       ◄─down─

Each way can be late, cut into slices, stalled, or corrupted; a link can be reset, or lead into a black
hole; new connections can be dropped. What is random comes from one seed. TCP keeps its promise whatever
happens: bytes arrive once and in order, or the link breaks. So a stalled way goes on where it stopped,
and a link that was in a black hole never comes back.

What some proxies in front of Redis do is worse, for the connection lives on: between two commands of the client one
can be slipped in, what answers it can be kept back, and the link can be led to another server. Or messages change
places, as with a look-alike of several threads.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from random import Random

import hiredis

CHUNK_BYTES = 16 * 1024
"""How much is read at once, and about how much a stalled way keeps."""

KERNEL_BYTES = 32 * 1024
"""The kernel's buffer for what comes; small, so that a stall is felt at the other end soon."""

_RESET = struct.pack("ii", 1, 0)
"""Lingering for no time is what makes a close a reset (socket(7))."""


class Swapping:
    """Has some messages of Redis change places with the one that follows.

    Args:
        every: how many messages there are to one that has to wait for the next.
        spared: a message that has these bytes keeps its place.
    """

    def __init__(self, every: int, spared: bytes = b"") -> None:
        self._every = every
        self._spared = spared
        self._messages = 0
        self._rest = self._waiting = b""

    def feed(self, chunk: bytes) -> bytes:
        """Return what goes on now that a chunk has come."""
        data, at, out = self._rest + chunk, 0, b""
        while (end := _end_of_reply(data, at)) is not None:
            reply, at = data[at:end], end
            if not reply.startswith(b">4\r\n$8\r\npmessage\r\n"):
                out += reply
                continue
            if self._spared and self._spared in reply:
                out += self._waiting + reply
                self._waiting = b""
                continue
            self._messages += 1
            if not self._waiting and self._messages % self._every == 0:
                self._waiting = reply
            else:
                out += reply + self._waiting
                self._waiting = b""
        self._rest = data[at:]
        return out


def _end_of_reply(data: bytes, at: int) -> int | None:
    """Return where a reply ends that begins at a place; None when not all of it is there."""
    line = data.find(b"\r\n", at)
    if line < 0:
        return None
    kind, end = data[at : at + 1], line + 2
    if kind in b"$=!":
        size = int(data[at + 1 : line])
        end += size + 2 if size >= 0 else 0
    elif kind in b"*>~%":
        for _ in range(int(data[at + 1 : line]) * (2 if kind == b"%" else 1)):
            found = _end_of_reply(data, end)
            if found is None:
                return None
            end = found
    return end if end <= len(data) else None


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
        self.swaps_every = 0
        """On each new link so many messages of Redis come to one that changes places with the next; 0 is none."""
        self.spared = b""
        """A message that has these bytes changes places with no other; without any, none is spared."""
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

    def __init__(self, *, is_swallowed: bool, is_redis: bool) -> None:
        self.writers: list[asyncio.StreamWriter] = []
        self._commands = hiredis.Reader() if is_redis else None
        self._kept_back = b""
        self._next_target: tuple[str, int] | None = None
        self._is_led = asyncio.Event()
        self._is_led.set()
        self._open = asyncio.Event()
        if not is_swallowed:
            self._open.set()

    def swallow(self) -> None:
        """Pass nothing on any more, not even an end."""
        self._open.clear()

    @property
    def is_swallowed(self) -> bool:
        """Whether it leads into a black hole."""
        return not self._open.is_set()

    @property
    def is_between_commands(self) -> bool:
        """Whether the last byte that was passed up ended a command of Redis' protocol."""
        return len(self.writers) == 2 and self._commands is not None and not self._commands.has_data()

    def slip_in(self, command: bytes, answer: bytes) -> None:
        """Send the target a command that the client did not send, and keep its answer back, if it is whole."""
        self._kept_back = answer
        self.writers[1].write(command)

    def lead_to(self, target: tuple[str, int]) -> None:
        """Go on with another target as soon as the one that was has said its last."""
        self._next_target = target
        self._is_led.clear()
        self.writers[1].write_eof()

    async def run(self, near: asyncio.StreamReader, target: tuple[str, int], up: Way, down: Way) -> None:
        """Carry bytes both ways until both have ended."""
        await self._open.wait()
        far, writer = await asyncio.open_connection(*target, limit=CHUNK_BYTES)
        self.writers.append(writer)
        for one in self.writers:
            _tune(one)
        async with asyncio.TaskGroup() as ways:
            ways.create_task(self._carry_up(near, up))
            ways.create_task(self._carry_down(far, down))

    def reset(self) -> None:
        """End both sockets with a reset."""
        for writer in self.writers:
            sock = writer.get_extra_info("socket")
            if sock is not None and sock.fileno() >= 0:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()

    async def _carry_up(self, near: asyncio.StreamReader, way: Way) -> None:
        while chunk := await self._read(near, way):
            if self._commands is not None:
                self._commands.feed(chunk)
                while self._commands.gets() is not False:
                    pass
            await self._is_led.wait()
            await way.carry(chunk, self.writers[1])
        _pass_end(self.writers[1])

    async def _carry_down(self, far: asyncio.StreamReader, way: Way) -> None:
        swapping = Swapping(way.swaps_every, way.spared) if way.swaps_every else None
        while True:
            chunk = await self._read(far, way)
            if chunk:
                if swapping is not None:
                    chunk = swapping.feed(chunk)
                if self._kept_back and self._kept_back in chunk:
                    chunk, self._kept_back = chunk.replace(self._kept_back, b""), b""
                if chunk:
                    await way.carry(chunk, self.writers[0])
            elif self._next_target is None:
                break
            else:
                self.writers[1].close()
                far, self.writers[1] = await asyncio.open_connection(*self._next_target, limit=CHUNK_BYTES)
                _tune(self.writers[1])
                self._next_target = None
                self._is_led.set()
        _pass_end(self.writers[0])

    async def _read(self, reader: asyncio.StreamReader, way: Way) -> bytes:
        chunk = await reader.read(CHUNK_BYTES)
        await way.passes()
        await self._open.wait()
        return chunk


def _tune(writer: asyncio.StreamWriter) -> None:
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BYTES)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _pass_end(writer: asyncio.StreamWriter) -> None:
    if not writer.transport.is_closing():
        writer.write_eof()


class Proxy:
    """A port on the loopback that leads to another; made by proxy().

    Args:
        target: host and port.
        seed: of all that is random.
        is_redis: whether what goes up is Redis' protocol, and can be followed.
    """

    def __init__(self, target: tuple[str, int], seed: int, *, is_redis: bool) -> None:
        self.target = target
        """Where new links lead."""
        self._is_redis = is_redis
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

    def slip_in(self, command: bytes, answer: bytes = b"") -> bool:
        """Slip a command into every link that passes anything, and keep its answer back.

        Returns False, and does nothing, while there is none or one is in the middle of another command; try again.
        """
        links = self._links_between_commands()
        for link in links:
            link.slip_in(command, answer)
        return bool(links)

    def lead_to(self, target: tuple[str, int]) -> bool:
        """Lead every link that passes anything to another target; False as for slip_in()."""
        links = self._links_between_commands()
        for link in links:
            link.lead_to(target)
        return bool(links)

    def _links_between_commands(self) -> list[Link]:
        links = [link for link in self._links if not link.is_swallowed]
        return links if all(link.is_between_commands for link in links) else []

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(is_swallowed=self._is_black_hole, is_redis=self._is_redis)
        link.writers.append(writer)
        if self.drops_new:
            self.dropped += 1
            link.reset()
            return
        task = asyncio.create_task(self._run(link, reader), name="proxy-link")
        self._links[link] = task

    async def _run(self, link: Link, reader: asyncio.StreamReader) -> None:
        try:
            await link.run(reader, self.target, self.up, self.down)
        except* (OSError, RuntimeError, ValueError):  # of a closed handle uvloop raises one of the last two
            link.reset()  # what one side did, the other sees
        finally:
            del self._links[link]
            for writer in link.writers:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()


@asynccontextmanager
async def proxy(target: tuple[str, int], seed: int = 0, *, is_redis: bool = False) -> AsyncIterator[Proxy]:
    """Run a proxy for as long as the block runs."""
    one = Proxy(target, seed, is_redis=is_redis)
    await one.start()
    try:
        yield one
    finally:
        await one.aclose()
