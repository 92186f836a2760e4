"""A client of the SDK protocol for tests, that sees every message and checks what no SDK could read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.support.servers import CONNECT_OPTIONS, PATIENCE_SECONDS

PATH = "/connection/websocket"

Message = dict[str, Any]


METHODS = {
    "connect": {"client", "version"},
    "subscribe": set(),
    "unsubscribe": set(),
    "publish": set(),
    "presence": {"presence"},
    "presence_stats": {"num_clients", "num_users"},
    "history": {"publications", "epoch", "offset"},
    "rpc": set(),
    "refresh": set(),
    "sub_refresh": set(),
}
"""What the reply to each method must have."""

PUSHES = {
    "pub": {"data"},
    "join": {"info"},
    "leave": {"info"},
    "unsubscribe": {"code", "reason"},
    "subscribe": set(),
}
"""What each push in a channel must have."""


def check(message: Message) -> None:
    """Let a message pass that every SDK can read."""
    assert isinstance(message, dict)
    if "disconnect" in message.get("push", {}):
        assert message["push"]["disconnect"].keys() == {"code", "reason"}
    elif "push" in message:
        assert message.keys() == {"push"}
        if message["push"].keys() == {"refresh"}:  # it is of the connection
            assert message["push"]["refresh"].keys() == {"expires", "ttl"}
            return
        channel = message["push"].pop("channel")
        assert isinstance(channel, str)
        assert channel
        ((kind, body),) = message["push"].items()
        message["push"]["channel"] = channel
        assert body.keys() >= PUSHES[kind], message
        assert body.get("offset", 1) > 0
        if kind in ("join", "leave"):
            check_info(body["info"])
        assert body.get("reason", "said")
    elif message:
        number = message.pop("id")
        ((method, body),) = message.items()
        message["id"] = number
        assert isinstance(number, int)
        if method == "error":
            assert isinstance(body["code"], int)
            assert body["message"]
        else:
            assert isinstance(body, dict)
            assert body.keys() >= METHODS[method], message
            assert all(value is not None for name, value in body.items() if name != "data"), message
            for info in body.get("presence", {}).values():
                check_info(info)


def check_info(info: Message) -> None:
    """Let what is told of a client pass."""
    assert info.keys() >= {"user", "client"}
    assert info["client"]


class SdkSocket:
    """An open connection.

    Args:
        socket: the WebSocket.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.frames: list[str] = []
        """The frames so far."""
        self.messages: list[Message] = []
        """All messages so far, without pings."""
        self.pings = 0
        self._number = 0

    async def send(self, *commands: Message) -> list[int]:
        """Send commands in one frame, and return their numbers."""
        numbers = [self._number + count for count in range(1, len(commands) + 1)]
        self._number += len(commands)
        lines = [orjson.dumps({**command, "id": number}) for number, command in zip(numbers, commands, strict=True)]
        await self.socket.send(b"\n".join(lines).decode())
        return numbers

    async def ask(self, *commands: Message) -> list[Message]:
        """Send commands in one frame, and return their replies."""
        numbers = await self.send(*commands)
        return [await self.reply(number) for number in numbers]

    async def reply(self, number: int) -> Message:
        """Return the reply to a command."""
        (found,) = await self.until(lambda message: message.get("id") == number)
        return found

    async def pushes(self, kind: str, count: int) -> list[Message]:
        """Return the first pushes of a kind, each with its channel."""
        found = await self.until(lambda message: kind in message.get("push", {}), count)
        return [{"channel": message["push"].get("channel"), **message["push"][kind]} for message in found[:count]]

    async def until(self, is_wanted: Callable[[Message], object], count: int = 1) -> list[Message]:
        """Return all messages of a sort, when there are so many."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(found := [message for message in self.messages if is_wanted(message)]) < count:
                await self.read()
        return found

    async def read(self) -> None:
        """Read one frame."""
        frame = await self.socket.recv()
        assert isinstance(frame, str), "a binary frame ends some SDKs for good"
        self.frames.append(frame)
        for line in frame.split("\n"):
            message = orjson.loads(line)
            check(message)
            if message:
                self.messages.append(message)
            else:
                self.pings += 1

    async def closed(self) -> tuple[int, str]:
        """Read to the end; return its code and its reason."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            with pytest.raises(ConnectionClosed) as ended:
                while True:
                    await self.read()
        assert ended.value.rcvd is not None, "it was cut off"
        return ended.value.rcvd.code, ended.value.rcvd.reason


@asynccontextmanager
async def sdk_socket(port: int, *, query: str = "", **options: Any) -> AsyncIterator[SdkSocket]:
    """Open a WebSocket to where SDKs connect, and say nothing yet."""
    url = f"ws://127.0.0.1:{port}{PATH}{query}"
    async with connect(url, **{**CONNECT_OPTIONS, **options}) as socket:
        yield SdkSocket(socket)


@asynccontextmanager
async def sdk_client(port: int, *channels: str, token: str | None = None, **options: Any) -> AsyncIterator[SdkSocket]:
    """Connect, and subscribe to channels, in one frame as the JavaScript SDK does."""
    async with sdk_socket(port, **options) as client:
        connecting = {} if token is None else {"token": token}
        await client.ask({"connect": connecting}, *({"subscribe": {"channel": channel}} for channel in channels))
        yield client
