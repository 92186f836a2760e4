"""Publishers and subscribers that write a ledger while things break.

They do what good clients do: come back when their connection is lost, and never send a message again.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from itertools import count
from time import time

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from mux.wire.resp import encode_publish
from tests.chaos.ledger import Ledger, Message, Receipt, Sent, Session
from tests.chaos.processes import PREFIX

PAUSE_SECONDS = 0.02
"""Between two messages of one publisher."""

AGAIN_SECONDS = 0.05
"""Until a lost connection is tried again."""

ANSWER_SECONDS = 2.0
"""How long a publisher waits for an answer; after it the message is uncertain."""

_RUNS = count(1)
"""What a server held in one run may come in the next; so each message says of which run it is."""

_AWAY = (OSError, EOFError, TimeoutError, ConnectionClosed, InvalidHandshake, InvalidMessage)


def websocket(port: int, channel: str) -> connect:
    """Open a WebSocket that notices when the other end has gone silent."""
    return connect(
        f"ws://127.0.0.1:{port}/feed/{channel}",
        compression=None,
        ping_interval=1,
        ping_timeout=2,
        open_timeout=2,
        close_timeout=0.5,
    )


class Traffic:
    """All clients of one run; each is a coroutine to be run until it is cancelled."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self._run = next(_RUNS)
        self.errors: Counter[str] = Counter()
        """What publishers and subscribers were told, and how often."""
        self._publishers: dict[str, set[str]] = defaultdict(set)
        self._last: dict[tuple[str, str], int] = {}
        self._idle: set[tuple[str, str]] = set()
        self._is_publishing = True
        self._live: dict[tuple[str, str], Session] = {}

    def is_joined(self, count: int) -> bool:
        """Tell whether so many subscribers have a connection."""
        return len(self._live) >= count

    def heard_since(self, at: float) -> bool:
        """Tell whether every subscriber has received a message, sent since, of every publisher."""
        return not self.silent_since(at)

    def silent_since(self, at: float) -> list[str]:
        """Return whose messages, sent since, which subscriber has not received."""
        recent = {sent.message for sent in self.ledger.sent if sent.sent_at >= at}
        return [
            f"{publisher} by {name} on {channel}"
            for (name, channel), session in self._live.items()
            for publisher in self._publishers[channel] - {m.publisher for m, _ in session.received if m in recent}
        ]

    def is_quiet(self) -> bool:
        """Tell whether no publisher is at a message, and every subscriber has the last certain one of each."""
        if len(self._idle) < sum(map(len, self._publishers.values())):
            return False
        return all(
            any(m.publisher == publisher and m.sequence >= last for m, _ in reversed(session.received))
            for session in self._live.values()
            for (channel, publisher), last in self._last.items()
            if channel == session.channel
        )

    def stop_publishing(self) -> None:
        """Let every publisher finish the message it is at."""
        self._is_publishing = False

    def end(self) -> None:
        """Call the sessions that are still there whole."""
        for session in self._live.values():
            session.is_whole = True

    def begin(self, session: Session) -> None:
        """Write a session into the ledger; the one of this subscriber before it is over."""
        self.ledger.sessions.append(session)
        self._live[session.subscriber, session.channel] = session

    async def subscribe(self, server: str, port: int, channel: str, name: str) -> None:
        """Listen for as long as the task lives."""
        while True:
            try:
                async with websocket(port, channel) as client:
                    session = Session(server, channel, name, time())
                    self.begin(session)
                    async for payload in client:
                        if (message := self.read(channel, payload)) is not None:
                            session.received.append(Receipt(message, time()))
            except _AWAY as error:
                self._count(name, error)
            self._live.pop((name, channel), None)
            await asyncio.sleep(AGAIN_SECONDS)

    async def publish_by_websocket(self, port: int, channel: str, publisher: str) -> None:
        """Send without being answered; a connection that is lost takes what is not heard of with it."""
        self._publishers[channel].add(publisher)
        number = 0
        while self._goes_on():
            on_this: list[Sent] = []
            try:
                async with websocket(port, channel) as client:
                    listening = asyncio.create_task(_read_away(client))
                    try:
                        while self._goes_on():
                            number += 1
                            sent = self._sent(channel, publisher, number)
                            on_this.append(sent)
                            await asyncio.wait_for(client.send(self._write(sent.message)), ANSWER_SECONDS)
                            self._last[channel, publisher] = number
                            await asyncio.sleep(PAUSE_SECONDS)
                        self._idle.add((channel, publisher))
                        # Until its connection is closed it may be told that messages were lost.
                        await asyncio.shield(listening)
                    finally:
                        listening.cancel()
            except _AWAY as error:
                self._count(publisher, error)
            except asyncio.CancelledError:
                return  # at the end of the test everything has come
            for sent in on_this:
                sent.certain = False
            self._last.pop((channel, publisher), None)
            await asyncio.sleep(AGAIN_SECONDS)
        self._idle.add((channel, publisher))

    async def publish_by_post(self, port: int, channel: str, publisher: str) -> None:
        """POST, and believe the status."""

        async def publish(message: Message) -> bool:
            async with asyncio.timeout(ANSWER_SECONDS):
                status = await post(port, channel, self._write(message).encode())
            if status != 204:
                self.errors[f"{publisher}: {status}"] += 1
            return status == 204

        await self._publish(channel, publisher, publish)

    async def publish_raw(self, port: int, channel: str, publisher: str) -> None:
        """PUBLISH as any Redis client."""
        streams: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

        async def publish(message: Message) -> bool:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    if not streams:
                        streams.append(await asyncio.open_connection("127.0.0.1", port))
                    reader, writer = streams[0]
                    writer.write(encode_publish((PREFIX + channel).encode(), self._write(message).encode()))
                    # How many it was sent to: ":3", or an error.
                    return (await reader.readuntil()).startswith(b":")
            except BaseException:
                while streams:
                    streams.pop()[1].transport.abort()
                raise

        try:
            await self._publish(channel, publisher, publish)
        finally:
            for _, writer in streams:
                writer.transport.abort()

    async def _publish(self, channel: str, publisher: str, publish: Callable[[Message], Awaitable[bool]]) -> None:
        self._publishers[channel].add(publisher)
        number = 0
        while self._goes_on():
            number += 1
            sent = self._sent(channel, publisher, number)
            sent.certain = False
            try:
                sent.certain = await publish(sent.message)
            except _AWAY as error:
                self._count(publisher, error)
            if sent.certain:
                sent.settled_at = time()
                self._last[channel, publisher] = number
            await asyncio.sleep(PAUSE_SECONDS)
        self._idle.add((channel, publisher))

    def _goes_on(self) -> bool:
        return self._is_publishing

    def _sent(self, channel: str, publisher: str, number: int) -> Sent:
        sent = Sent(Message(channel, publisher, number), time())
        self.ledger.sent.append(sent)
        return sent

    def _write(self, message: Message) -> str:
        return f"{message.publisher} {message.sequence} {self._run}"

    def read(self, channel: str, payload: str | bytes) -> Message | None:
        """Return the message of a payload; None when it is of an earlier run."""
        text = payload if isinstance(payload, str) else payload.decode(errors="replace")
        words = text.split(" ")
        if len(words) != 3 or not (words[1].isdecimal() and words[2].isdecimal()):
            return Message(channel, repr(text), 0)  # nobody sent it, and the checker says so
        return Message(channel, words[0], int(words[1])) if int(words[2]) == self._run else None

    def _count(self, who: str, error: BaseException) -> None:
        code = error.rcvd.code if isinstance(error, ConnectionClosed) and error.rcvd else type(error).__name__
        self.errors[f"{who}: {code}"] += 1


async def _read_away(client: ClientConnection) -> None:
    async for _ in client:
        pass
    await client.wait_closed()


async def post(port: int, channel: str, body: bytes) -> int:
    """POST on a connection of its own, and return the status.

    Raises:
        EOFError: there was none.
        OSError: nobody listens, or the connection was reset.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        head = f"POST /feed/{channel} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        writer.write(f"{head}Connection: close\r\n\r\n".encode() + body)
        status = (await reader.readline()).split()
        if len(status) < 2:
            raise EOFError("no status")
        return int(status[1])
    finally:
        writer.transport.abort()
