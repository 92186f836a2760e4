"""One channel, every kind of client and of publisher, two processes: everybody hears the same sequence."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.sdk.conftest import Rig
from tests.sdk.driver import Client, Driver
from tests.sdk.kits import JAVASCRIPT, PYTHON
from tests.support.resuming import Resumer, following
from tests.support.servers import PATIENCE_SECONDS, until

CHANNEL = "mixed:one"

EACH = 50
"""Messages of one publisher in one half."""

PUBLISHERS = 4


class Plain:
    """A plain WebSocket that comes back with the position of the last message it has heard."""

    def __init__(self, rig: Rig, position: str) -> None:
        self.heard: list[int] = []
        self._rig = rig
        self._position = self._start = position

    async def listen(self, count: int) -> None:
        """Hear messages until there are so many of them; announcements do not count."""
        async with self._rig.server.connect(f"{CHANNEL}?since={self._position}") as websocket:
            while len(self.heard) < count:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    message = str(await websocket.recv())
                if message.isdigit():
                    self.heard.append(int(message))
        messages = [message for message in await past(self._rig, self._start) if "event" not in message]
        self._position = messages[count - 1]["position"]


async def past(rig: Rig, since: str) -> list[dict[str, Any]]:
    """Return what the server says has passed since a position, announcements among it."""
    return list((await _asked(rig, f"since={since}"))["messages"])


async def _asked(rig: Rig, query: str) -> Any:
    async with httpx.AsyncClient(headers={"Accept": "application/json"}, timeout=PATIENCE_SECONDS) as http:
        answer = await http.get(f"{rig.server.url(CHANNEL, 'http')}?{query}")
    return answer.raise_for_status().json()


async def publish_all(rig: Rig, sdks: list[Client], first: int) -> None:
    """Publish by Redis, by a plain WebSocket, and by each SDK, all at the same time."""

    async def raw() -> None:
        for number in range(first, first + EACH):
            await rig.publisher.publish(f"feed:{CHANNEL}", str(number))

    async def plain() -> None:
        async with rig.server.connect(CHANNEL) as websocket:
            for number in range(first + 1000, first + 1000 + EACH):
                await websocket.send(str(number))

    async def by_sdk(client: Client, start: int) -> None:
        for number in range(start, start + EACH, 5):
            await client.ask("publish", CHANNEL, items=list(range(number, number + 5)))

    starts = (first + 2000, first + 3000)
    await asyncio.gather(raw(), plain(), *map(by_sdk, sdks, starts))


async def test_everybody_hears_the_same_sequence(rig: Rig, drivers: dict[str, Driver]) -> None:
    """Plain, event stream, two SDKs and a wildcard; each goes away in the middle and comes back where it was."""
    if not (JAVASCRIPT.is_there and PYTHON.is_there):
        pytest.skip(f"{JAVASCRIPT.lack}; {PYTHON.lack}")
    javascript, python = drivers[JAVASCRIPT.name], drivers[PYTHON.name]
    publishers = [javascript.client(rig.port), python.client(rig.port)]
    listeners = [javascript.client(rig.port), python.client(rig.port), javascript.client(rig.port)]
    names = [CHANNEL, CHANNEL, "mixed:*"]
    for client, name in zip(listeners, names, strict=True):
        await client.subscribe(name, recoverable=True)
    start = (await _asked(rig, "last=1"))["position"]
    plain, stream = Plain(rig, start), Resumer(rig.server.url(CHANNEL, "http"))
    stream.last_event_id = start
    half = EACH * PUBLISHERS

    async with following(stream):
        await asyncio.gather(publish_all(rig, publishers, 0), plain.listen(half // 2))
        await until(lambda: len(stream.heard) >= half // 2)
    for client in listeners:
        client.tell("disconnect")
        await client.until("disconnected")
    async with following(stream):
        publishing = asyncio.create_task(publish_all(rig, publishers, 100))
        for client in listeners:
            client.tell("reconnect")
        await asyncio.gather(publishing, plain.listen(2 * half))
        await until(lambda: len(stream.heard) >= 2 * half)

    expected = [int(message["text"]) for message in await past(rig, start) if "event" not in message]
    assert len(expected) == 2 * half
    assert plain.heard == expected
    assert stream.heard == expected
    for client, name in zip(listeners, names, strict=True):
        assert await client.data(name, 2 * half) == expected
        assert client.found("subscribed")[-1]["recovered"]
