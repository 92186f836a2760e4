"""Call functions of the app for SDK clients, which wait for what these return.

Whatever is wrong with a function, the feed goes on: it has handshake_seconds, an exception is logged and counted, and
the client is told that the server has failed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any, TypeAlias

import orjson

from mux import reasons
from mux.endpoints.calls import Calls
from mux.endpoints.sdk.failures import CommandFailed
from mux.endpoints.sdk.session import SdkClient, SdkSession
from mux.errors import InvalidSetting, Refused
from mux.settings.settings import Settings
from mux.wire.sdk.commands import Call
from mux.wire.sdk.payloads import on_one_line
from mux.wire.sdk.replies import BAD_REQUEST, EMPTY, NOT_AVAILABLE

MAX_METHOD_CHARACTERS = 255
"""Most characters of the name of a function."""


@dataclass(frozen=True, slots=True)
class RpcCall:
    """A call by a client.

    Attributes:
        data: what the client has sent, as read from its JSON; None when there is nothing.
        client: the id of the client's connection.
        subject: the subject of its token or grant; None when it has none.
    """

    data: Any
    client: str
    subject: str | None


Rpc: TypeAlias = Callable[[RpcCall], object | Awaitable[object]]
"""Takes a call, and returns what the client is given as JSON; may be an `async def`."""


class Rpcs:
    """The functions of an app that its clients may call; they stay when the app runs again.

    Args:
        calls: logs what fails.
        settings: handshake_seconds, which a call may take.
    """

    def __init__(self, calls: Calls, settings: Settings) -> None:
        self._calls = calls
        self._seconds = settings.handshake_seconds
        self._rpcs: dict[str, Rpc] = {}

    def add(self, name: str, rpc: Rpc) -> None:
        """Let clients call a function by a name.

        Raises:
            InvalidSetting: there is one of this name, or it can be none.
        """
        if not 0 < len(name) <= MAX_METHOD_CHARACTERS:
            raise InvalidSetting(f"the name of a function for clients has 1 to {MAX_METHOD_CHARACTERS} characters")
        if name in self._rpcs:
            raise InvalidSetting(f"clients call another function by the name {name!r}")
        self._rpcs[name] = rpc

    def call(self, client: SdkClient, session: SdkSession, number: int, asked: Call) -> Awaitable[bytes]:
        """Begin a call.

        Raises:
            CommandFailed: there is no such function.
        """
        rpc = self._rpcs.get(asked.method or "")
        if rpc is None:
            raise CommandFailed(NOT_AVAILABLE)
        try:
            data = orjson.loads(bytes(asked.data)) if asked.data else None
        except orjson.JSONDecodeError:  # it is too deep
            raise CommandFailed(BAD_REQUEST) from None
        subject = None if client.grants is None else client.grants.subject
        return self._called(rpc, RpcCall(data, str(client.identity), subject))

    async def _called(self, rpc: Rpc, call: RpcCall) -> bytes:
        try:
            async with asyncio.timeout(self._seconds):
                said = rpc(call)
                if isawaitable(said):
                    said = await said
            return EMPTY if said is None else b'{"data":%b}' % on_one_line(orjson.dumps(said))
        except CommandFailed:
            raise
        except Exception as error:  # noqa: BLE001 - it is logged; whatever is wrong with it, the feed goes on
            self._calls.log("rpc", rpc, error)
            raise Refused(reasons.HOOK) from None
