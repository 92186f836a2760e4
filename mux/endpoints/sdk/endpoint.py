"""Serve /connection/websocket: many channels on one socket, by the JSON protocol of Centrifugo's SDKs.

    frames ──► commands, one after the other ──► replies, in the same order
    batches of a channel ──► one frame for all its SDK clients

1. The commands of a client are handled strictly in order. One that waits, as for Redis, holds up those after it, and
   the client is not read from meanwhile.
2. What a client is told in one go is one frame. The reply to a subscription is written in the turn of the loop in which
   the client joins, before anything of the channel can come.
3. A frame may have thousands of commands: they are handled in slices, and other clients have their turns between them.
4. A frame that cannot be ends the connection, after what came before the mistake was answered.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from time import monotonic
from typing import Any, TypeAlias

from sanic.request import Request
from sanic.response import HTTPResponse

from mux import reasons
from mux.endpoints.dialect import Dialect, Outcome
from mux.endpoints.sdk.failures import failure_of
from mux.endpoints.sdk.session import SdkClient, SdkSession, conflated
from mux.endpoints.tasks import Tasks
from mux.endpoints.websocket import WebSocketEndpoint
from mux.errors import MuxError, Refused
from mux.hub.allowance import Allowance, Pace
from mux.hub.hub import Hub
from mux.hub.measures import Deadlines
from mux.reasons import Reason
from mux.settings.settings import Settings
from mux.wire.publication import Encoder
from mux.wire.sdk.commands import Command, check_frame, method_of, next_command
from mux.wire.sdk.encoder import frames
from mux.wire.sdk.replies import PING, TOO_MANY_REQUESTS, disconnected, error, reply
from mux.wire.websocket.encoder import PING as NATIVE_PING
from mux.wire.websocket.encoder import Compressor, text_frame

COMMANDS_PER_SLICE = 64
"""Most commands of one client that are handled before others have their turns: half a millisecond."""

Answer: TypeAlias = bytes | Awaitable[bytes] | None
"""The body of a reply, or what to await for it; None when there is no reply, or answer() is called for it."""

Handler: TypeAlias = Callable[[SdkClient, SdkSession, int, Any], Answer]
"""Does a command; takes the number of the command and what it says. What it raises is a MuxError."""

logger = logging.getLogger("mux")

_PING_FRAME = text_frame(PING)
_LEAVING_FRAME = text_frame(disconnected(reasons.LEAVING.sdk, reasons.LEAVING.sentence))


class SdkEndpoint:
    """Takes the commands of SDK clients, and answers them in order.

    Args:
        hub: has the clients.
        settings: what limits a client.
        is_writable: tells whether commands may be handled; while Redis does not keep up, they wait.
        handlers: do the commands, by their method.
        encode: encodes for a client as long as its session has not said how.
        on_leave: takes a client and the channels it has just left; called once for each client.
        settle: writes what is held for a client; called before its connection is closed.
    """

    def __init__(
        self,
        hub: Hub,
        settings: Settings,
        *,
        is_writable: Callable[[], bool],
        handlers: Mapping[str, Handler],
        encode: Encoder,
        on_leave: Callable[[SdkClient, list[bytes]], None],
        settle: Callable[[SdkClient], object],
    ) -> None:
        self._hub = hub
        self._handlers = handlers
        self._on_leave = on_leave
        self._unconnected: Deadlines[SdkClient] = Deadlines(settings.handshake_seconds)
        per_second, burst = settings.max_messages_per_second, settings.max_messages_burst
        self._allowance: Allowance[SdkClient] | None = (
            Allowance(per_second=per_second, burst=burst) if per_second else None
        )
        frames_per_second, frame_burst = settings.max_control_frames_per_second, settings.max_control_frames_burst
        self._sockets: WebSocketEndpoint[SdkSession] = WebSocketEndpoint(
            hub,
            max_message_bytes=settings.max_message_bytes,
            on_message=self._take,
            on_leave=self._left,
            pace=Pace(None, Allowance(per_second=frames_per_second, burst=frame_burst) if frames_per_second else None),
            is_writable=is_writable,
            compress_min_bytes=settings.compress_min_bytes if settings.compress else None,
            dialect=Dialect(
                encode,
                _ping,
                is_always_pinged=True,
                is_named_once=True,
                code=_code,
                conflated=conflated,
                notice=_notice,
            ),
            settle=settle,
        )
        self._tasks = Tasks()
        self._told: list[bytes] = []  # what the client is told in whose slice we are

    def accept(
        self, request: Request, address: str, headers: Collection[tuple[str, str]], join: Callable[[SdkClient], None]
    ) -> HTTPResponse | None:
        """Take the connection of a request over; as WebSocketEndpoint.accept()."""

        def begin(client: SdkClient) -> None:
            join(client)
            self._unconnected.start(client)

        return self._sockets.accept(request, address, begin, headers)

    def resume(self) -> None:
        """Go on with the clients that had to wait: Redis keeps up again."""
        self._sockets.resume()

    def is_here(self, client: SdkClient) -> bool:
        """Tell whether a client is served."""
        return self._sockets.is_here(client)

    def compressor_of(self, client: SdkClient) -> Compressor | None:
        """Return what compresses for a client that has just connected; None when it has not agreed on that."""
        return self._sockets.compressor_of(client)

    def close(self, client: SdkClient, reason: Reason) -> None:
        """Close a client."""
        self._sockets.close(client, reason)

    def tick(self, seconds: float) -> None:
        """Close the clients that have not connected in time; the time is one that stands still with the process."""
        for client in filter(self.is_here, self._unconnected.tick(seconds)):
            self._hub.refuse(reasons.STALE)
            self._sockets.close(client, reasons.STALE)

    async def aclose(self) -> None:
        """End the commands that wait."""
        await self._tasks.aclose()

    def connected(self, client: SdkClient) -> None:
        """Take note that a client has connected."""
        self._unconnected.stop(client)

    def answer(self, client: SdkClient, number: int, method: str, said: bytes | MuxError) -> None:
        """Answer a command that a client waits for, with the body of a reply or with an error, and go on.

        It is called in a turn of the loop of its own, never inside a handler.
        """
        if not self.is_here(client):
            return
        assert client.session is not None
        client.session.is_busy = False
        try:
            if isinstance(said, MuxError):
                self._failed(client.session, number, method, said)
            else:
                self._told.append(reply(number, method, said))
        except Refused as refused:
            self._close(client, refused.reason)
            return
        self._flush(client)
        self._sockets.go_on(client)

    def _take(self, client: SdkClient, payload: bytes, binary: bool) -> Outcome:
        """Handle the commands of a frame, as many as this slice is for, from where the last slice has ended."""
        session, size = client.session, len(payload)
        assert session is not None, "it is here"
        if session.is_busy:
            return Outcome.LATER
        if session.is_refused:
            return Outcome.DONE
        left, goes_on = COMMANDS_PER_SLICE, True
        try:
            if not session.at:
                check_frame(payload, binary=binary)
            while goes_on and left:
                command, session.at = next_command(payload, session.at)
                goes_on = self._do(client, session, command) and session.at < size
                left -= 1
        except Refused as refused:
            self._close(client, refused.reason)
            return Outcome.DONE
        self._flush(client)
        return _outcome(session, size)

    def _do(self, client: SdkClient, session: SdkSession, command: Command) -> bool:
        """Do one command; tell whether the next one may be done now.

        Raises:
            Refused: the client is to be closed for it.
        """
        number, found = command.id or 0, method_of(command)
        if found is None:
            if number or not session.owes_pong:
                raise Refused(reasons.BAD_COMMAND)
            session.owes_pong = False
            return True
        method, body = found
        if session.is_connected == (method == "connect") or not (number or method == "send"):
            raise Refused(reasons.BAD_COMMAND)
        try:
            if not self._may_go_on(client, method):
                self._told.append(error(number, TOO_MANY_REQUESTS))
                return True
            said = self._handlers[method](client, session, number, body)
            if isinstance(said, bytes):
                self._told.append(reply(number, method, said))
            elif said is not None:
                session.is_busy = True
                self._tasks.begin(self._wait(client, number, method, said), "mux-sdk-command")
        except MuxError as failure:
            self._failed(session, number, method, failure)
        except Exception as mistake:  # noqa: BLE001 - as in _wait()
            self._failed(session, number, method, _logged(mistake, method))
        return not (session.is_busy or session.is_refused)

    async def _wait(self, client: SdkClient, number: int, method: str, said: Awaitable[bytes]) -> None:
        """Answer a command when what it waits for has come."""
        try:
            self.answer(client, number, method, await said)
        except MuxError as failure:
            self.answer(client, number, method, failure)
        except Exception as mistake:  # noqa: BLE001 - it is logged; the client is answered, and its next command done
            self.answer(client, number, method, _logged(mistake, method))

    def _may_go_on(self, client: SdkClient, method: str) -> bool:
        """Count a command; return False when that is too much. No client is kept from leaving a channel."""
        if self._allowance is None or method == "unsubscribe" or self._allowance.spend(client, 1, monotonic()):
            return True
        self._hub.refuse(reasons.MESSAGES)
        if method == "send":  # it has no reply
            raise Refused(reasons.MESSAGES)
        return False

    def _failed(self, session: SdkSession, number: int, method: str, failure: MuxError) -> None:
        """Tell a client that a command was not done.

        Raises:
            Refused: it is to be closed instead.
        """
        if isinstance(failure, Refused):
            if failure.reason.closes_sdk_clients:
                raise failure
            self._hub.refuse(failure.reason)
        told = failure_of(failure)
        session.is_refused = method == "connect"
        self._told.append(error(number, told.code, str(told), is_temporary=told.is_temporary))

    def _close(self, client: SdkClient, reason: Reason) -> None:
        self._flush(client)
        self._hub.refuse(reason)
        self._sockets.close(client, reason)

    def _flush(self, client: SdkClient) -> None:
        """Write what a client is told."""
        if self._told:
            told, self._told = self._told, []
            client.write(frames(told))
            self._hub.evict_overflowing()

    def _left(self, client: SdkClient, channels: list[bytes]) -> None:
        self._unconnected.stop(client)
        if self._allowance is not None:
            self._allowance.forget(client)
        self._on_leave(client, channels)


def _outcome(session: SdkSession, size: int) -> Outcome:
    """Return what has become of a frame of so many bytes."""
    if session.at < size and not session.is_refused:
        return Outcome.LATER if session.is_busy else Outcome.MORE
    session.at = 0
    return Outcome.DONE


def _logged(mistake: Exception, method: str) -> Refused:
    """Log an exception in which a command has ended by a mistake of ours; return what its client is told."""
    logger.error("a command of an SDK client could not be done: %s", method, exc_info=mistake)
    return Refused(reasons.FAILED)


def _ping(client: SdkClient) -> bytes:
    """Return a ping, if the client has connected."""
    session = client.session
    if session is None or not session.is_connected:
        return b""
    if session.has_native_pings:
        return NATIVE_PING
    session.owes_pong = True
    return _PING_FRAME


def _notice(client: SdkClient) -> bytes:
    """Return what tells a client that the server leaves, if it has asked for that."""
    return _LEAVING_FRAME if client.session is not None and client.session.wants_notice else b""


def _code(reason: Reason) -> int:
    return reason.sdk or reason.code
