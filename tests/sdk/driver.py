"""A process that does with an SDK what it is told, and its clients as the tests see them.

Orders go to its stdin and events come from its stdout, a JSON object a line. The three programs in clients/ know the
same orders and tell the same events, by the names that the JavaScript SDK gives to what they carry.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

from tests.sdk.kits import Kit
from tests.support.servers import PATIENCE_SECONDS

Event: TypeAlias = dict[str, Any]

MAX_LINE_BYTES = 1 << 24

_numbers = itertools.count(1)


class Refusal(Exception):
    """The SDK did not do as it was asked."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class Driver:
    """One process of one SDK."""

    def __init__(self, kit: Kit, process: asyncio.subprocess.Process) -> None:
        self.kit = kit
        self.events: list[Event] = []
        self._process = process
        self._changed = asyncio.Condition()

    async def read(self) -> None:
        """Take events until the process ends."""
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            async with self._changed:
                self.events.append(json.loads(line))
                self._changed.notify_all()
        async with self._changed:
            self.events.append({"what": "ended"})
            self._changed.notify_all()

    def tell(self, do: str, **order: Any) -> None:
        """Give an order."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **order}).encode() + b"\n")

    async def until(self, count: int = 1, **wanted: Any) -> list[Event]:
        """Wait for so many events with these values, and return them."""
        async with self._changed, asyncio.timeout(PATIENCE_SECONDS):
            while len(found := self.found(**wanted)) < count:
                assert not self.found(what="ended"), f"{self.kit.name} ended: {self.events[-5:]}"
                await self._changed.wait()
        return found

    def found(self, **wanted: Any) -> list[Event]:
        """Return the events so far with these values."""
        return [event for event in self.events if all(event.get(key) == value for key, value in wanted.items())]

    def client(self, port: int, **order: Any) -> Client:
        """Connect one more client."""
        client = Client(self, f"{self.kit.name}-{next(_numbers)}")
        client.tell("connect", url=f"ws://127.0.0.1:{port}/connection/websocket", **order)
        return client


class Client:
    """One client of an SDK."""

    def __init__(self, driver: Driver, name: str) -> None:
        self.driver = driver
        self.name = name

    def tell(self, do: str, *channels: str, **order: Any) -> None:
        """Give an order, perhaps about channels."""
        self.driver.tell(do, **{"as": self.name, "channels": channels, **order})

    async def ask(self, do: str, channel: str, **order: Any) -> Any:
        """Give an order and return its result.

        Raises:
            Refusal: it was not done.
        """
        number = next(_numbers)
        self.tell(do, channel=channel, number=number, **order)
        (answer,) = await self.driver.until(number=number)
        if answer["what"] == "refused":
            raise Refusal(answer["code"], answer["message"])
        return answer["result"]

    async def until(self, what: str, count: int = 1, **wanted: Any) -> list[Event]:
        """Wait for so many events of a kind."""
        return await self.driver.until(count, **{"as": self.name, "what": what, **wanted})

    def found(self, what: str, **wanted: Any) -> list[Event]:
        """Return the events of a kind so far."""
        return self.driver.found(**{"as": self.name, "what": what, **wanted})

    async def subscribe(self, *channels: str, **options: Any) -> list[Event]:
        """Subscribe to channels for the first time, and return what came of each."""
        self.tell("subscribe", *channels, **options)
        return [(await self.until("subscribed", channel=channel))[0] for channel in channels]

    async def data(self, channel: str, count: int) -> list[Any]:
        """Wait for so many messages of a channel and return all that have come."""
        return [event["data"] for event in await self.until("publication", count, channel=channel)]


@asynccontextmanager
async def driving(kit: Kit) -> AsyncIterator[Driver]:
    """Run the program of a kit for as long as the block runs."""
    process = await asyncio.create_subprocess_exec(
        *kit.command(kit.folder),
        env=kit.variables(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=MAX_LINE_BYTES,
    )
    driver = Driver(kit, process)
    reading = asyncio.create_task(driver.read())
    try:
        yield driver
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), PATIENCE_SECONDS)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            await reading
