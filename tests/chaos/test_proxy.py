"""The faults are what they are called; a proxy that does nothing would prove everything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from mux.wire.resp import encode_push
from tests.chaos.proxy import Proxy, Swapping, proxy
from tests.support.servers import PATIENCE_SECONDS, until

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]
TEXT = bytes(range(128)) * 20
MOMENT_SECONDS = 0.05
"""How long nothing has to come to say that nothing comes; a machine under load can only hide a mistake."""


@asynccontextmanager
async def through_a_proxy(seed: int = 1) -> AsyncIterator[tuple[Proxy, Callable[[], Awaitable[tuple[Ends, Ends]]]]]:
    """Run a proxy, and return it with what opens a connection through it: both of its ends."""
    accepted: asyncio.Queue[Ends] = asyncio.Queue()
    writers: list[asyncio.StreamWriter] = []

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        accepted.put_nowait((reader, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server, proxy(server.sockets[0].getsockname(), seed) as one:

        async def connect() -> tuple[Ends, Ends]:
            near = await asyncio.open_connection("127.0.0.1", one.port)
            writers.append(near[1])
            return near, await asyncio.wait_for(accepted.get(), PATIENCE_SECONDS)

        yield one, connect
        for writer in writers:
            writer.transport.abort()


async def carried(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, text: bytes = TEXT) -> bytes:
    """Send at one end and return what comes at the other."""
    writer.write(text)
    return await asyncio.wait_for(reader.readexactly(len(text)), PATIENCE_SECONDS)


async def is_silent(reader: asyncio.StreamReader) -> bool:
    """Tell whether nothing comes, not even an end."""
    try:
        await asyncio.wait_for(reader.read(1), MOMENT_SECONDS)
    except TimeoutError:
        return True
    return False


async def test_passes_everything_both_ways_and_ends() -> None:
    """Without a fault it is not there."""
    async with through_a_proxy() as (one, connect):
        near, far = await connect()
        assert await carried(far[0], near[1]) == TEXT
        assert await carried(near[0], far[1]) == TEXT
        near[1].write_eof()
        assert await asyncio.wait_for(far[0].read(), PATIENCE_SECONDS) == b""
        assert await carried(near[0], far[1]) == TEXT, "one way ended, the other did not"
        far[1].close()
        assert await asyncio.wait_for(near[0].read(), PATIENCE_SECONDS) == b""
        await until(lambda: len(one) == 0)


async def test_slices_and_delays_change_nothing_but_the_time() -> None:
    """Bytes come in pieces, later, once, in order."""
    async with through_a_proxy() as (one, connect):
        near, far = await connect()
        one.up.slice_bytes, one.up.delay_seconds = 300, 0.002
        assert await carried(far[0], near[1]) == TEXT


async def test_corrupt_changes_one_byte_of_so_many_chunks() -> None:
    """The first, to one that no protocol here begins with."""
    async with through_a_proxy() as (one, connect):
        near, far = await connect()
        one.down.corrupt_chunks = 1
        assert await carried(near[0], far[1], b"abc") == b"\xe1bc"
        assert await carried(near[0], far[1], b"abc") == b"abc"


async def test_a_stalled_way_goes_on_where_it_stopped() -> None:
    """The other way is not stalled."""
    async with through_a_proxy() as (one, connect):
        near, far = await connect()
        one.down.stall()
        far[1].write(b"late")
        assert await is_silent(near[0])
        assert await carried(far[0], near[1]) == TEXT
        one.heal()
        assert await asyncio.wait_for(near[0].readexactly(4), PATIENCE_SECONDS) == b"late"


async def test_reset_is_seen_at_both_ends() -> None:
    """It is no orderly end."""
    async with through_a_proxy() as (one, connect):
        near, far = await connect()
        await carried(far[0], near[1])
        one.reset()
        for reader in (near[0], far[0]):
            with pytest.raises(ConnectionResetError):
                await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)
        await until(lambda: len(one) == 0)


async def test_a_black_hole_keeps_what_it_has_and_new_links_pass_after_it() -> None:
    """Old links are silent for ever, those that are made in it too, and none of them ends."""
    async with through_a_proxy() as (one, connect):
        near, far = await connect()
        await carried(far[0], near[1])
        one.black_hole()
        near[1].write(TEXT)
        made_in_it = await asyncio.open_connection("127.0.0.1", one.port)
        far[1].close()
        one.heal()
        assert await is_silent(near[0])
        assert await is_silent(made_in_it[0])
        near, far = await connect()
        assert await carried(far[0], near[1]) == TEXT
        made_in_it[1].transport.abort()


async def test_dropped_connections_are_counted() -> None:
    """They are reset at once; the old ones go on."""
    async with through_a_proxy() as (one, connect):
        near, far = await connect()
        one.drops_new = True
        reader, writer = await asyncio.open_connection("127.0.0.1", one.port)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)
        writer.transport.abort()
        assert one.dropped == 1
        assert await carried(far[0], near[1]) == TEXT


async def test_nobody_at_the_target_is_a_reset(free_port: int) -> None:
    """As a process that is gone would look through a good network: no connection."""
    async with proxy(("127.0.0.1", free_port)) as one:
        reader, writer = await asyncio.open_connection("127.0.0.1", one.port)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)
        writer.transport.abort()


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_swapped_messages_are_whole_and_replies_stay(size: int) -> None:
    """Each second message waits for the next, whatever the slices; nothing else is touched."""
    one, two, three, four = (encode_push(b"a", b"%d\r\n" % number) for number in range(4))
    replies = [b"+OK\r\n", b"%1\r\n$1\r\na\r\n*2\r\n:1\r\n_\r\n", b"$-1\r\n"]
    stream = one + replies[0] + two + replies[1] + three + replies[2] + four
    swapping = Swapping(2)
    out = b"".join(swapping.feed(stream[at : at + size]) for at in range(0, len(stream), size))
    assert out == one + replies[0] + replies[1] + three + two + replies[2]
    assert swapping.feed(one) == one + four


def test_a_message_that_is_spared_keeps_its_place() -> None:
    """What waits for the next message goes before it."""
    one, spared, two = encode_push(b"a", b"1"), encode_push(b"$a", b"2"), encode_push(b"a", b"3")
    swapping = Swapping(2, b"$a")
    assert swapping.feed(one + two + spared + one) == one + two + spared + one
    assert swapping.feed(one + two) == two + one
