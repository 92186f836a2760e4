"""Requests that are much work to read, from many clients at a time, on a server that faces the public."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from mux import Settings, create_app
from mux.doorstep.arrivals import CONNECTIONS_PER_TURN
from mux.doorstep.conversation import Conversation
from mux.serve.listening import listening_socket
from mux.wire.http.reader import WAITING_BYTES
from tests.support.servers import PATIENCE_SECONDS, running

READ_BYTES = 256 * 1024
"""An event loop reads so many bytes at once."""


async def test_bodies_of_tiny_chunks_share_the_turns_of_the_loop(
    redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred that came at the same time had a thousand chunks each in every turn, and nobody else was answered."""
    app = create_app(Settings(redis_url=redis_url, prefix=prefix))
    slices: Counter[int] = Counter()
    turn = largest = 0
    go_on = Conversation.go_on

    def watched(conversation: Conversation) -> None:
        nonlocal largest
        slices[turn] += 1
        largest = max(largest, len(conversation._reader.buffer))
        go_on(conversation)

    async def count_turns() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    async def post(chunks: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"POST /feed/lobby HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n".encode())
        writer.write(b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * chunks + b"0\r\n\r\n")
        try:
            return await reader.readline()
        finally:
            writer.transport.abort()

    monkeypatch.setattr(Conversation, "go_on", watched)
    with listening_socket("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        async with running(app, sock=sock, protocol=app.ctx.http_protocol), asyncio.timeout(PATIENCE_SECONDS):
            counting = asyncio.create_task(count_turns())
            answers = await asyncio.gather(*(post(700) for _ in range(30)), post(70_000))
            counting.cancel()
    assert answers[:-1] == [b"HTTP/1.1 204 No Content\r\n"] * 30
    assert answers[-1].startswith(b"HTTP/1.1 413 ")
    assert max(slices.values()) <= CONNECTIONS_PER_TURN
    assert largest <= WAITING_BYTES + READ_BYTES
