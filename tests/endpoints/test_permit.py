"""What a request may do is decided in one place, by whichever way it comes, and the decision may have to wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from mux import reasons
from mux.endpoints.request_checks import Decision, Permit, RequestChecks
from mux.endpoints.takeover import Asking
from mux.errors import Refused
from mux.grants.grants import Action
from tests.doorstep.conftest import Serve, serve
from tests.support.requests import exchange, opened, request
from tests.support.servers import BOTH_LOOPS, RawClient, handshake, until

__all__ = ["serve"]

HI = b"\x81\x82\x00\x00\x00\x00hi"
STREAM = "Accept: text/event-stream"

WAYS = {
    "WebSocket": lambda port: handshake(port),
    "an unusual WebSocket": lambda port: handshake(port, "lobby", "Sec-WebSocket-Protocol: a"),
    "event stream": lambda port: request("GET", "/feed/lobby", STREAM),
    "POST": lambda port: request("POST", "/feed/lobby", body=b"hi"),
}
EVERY_WAY = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


class Slow:
    """Puts decisions off until they are told to be made.

    Args:
        monkeypatch: puts this in the place of the decisions of every server.
        refuses: whether no client may do anything.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, refuses: bool = False) -> None:
        self.asked: list[Action] = []
        self.may_decide = asyncio.Event()
        self._refuses = refuses
        at_once = RequestChecks.permit

        def permit(checks: RequestChecks, of: Asking, name: str | bytes, action: Action) -> Decision:
            decision = at_once(checks, of, name, action)
            assert isinstance(decision, Permit)
            return lambda: self._wait(decision, action)

        monkeypatch.setattr(RequestChecks, "permit", permit)

    async def _wait(self, permit: Permit, action: Action) -> Permit:
        self.asked.append(action)
        await self.may_decide.wait()
        if self._refuses:
            raise Refused(reasons.READ_ONLY, "not here")
        return permit


@BOTH_LOOPS
@EVERY_WAY
async def test_a_decision_may_wait(serve: Serve, monkeypatch: pytest.MonkeyPatch, way: Callable[[int], bytes]) -> None:
    """By every way the request is decided once, and served when it is; what came meanwhile is not lost."""
    slow = Slow(monkeypatch)
    async with serve() as served:
        is_post = way is WAYS["POST"]
        is_websocket = not is_post and way is not WAYS["event stream"]
        asked = way(served.port)
        waiting = asyncio.create_task(_begin(served.port, asked + (HI if is_websocket else b"")))
        await until(lambda: slow.asked)
        assert len(served.hub) == 0
        slow.may_decide.set()
        head, client = await waiting
        assert head.split()[1] == ("204" if is_post else "101" if is_websocket else "200")
        assert slow.asked == [Action.PUBLISH if is_post else Action.SUBSCRIBE]
        if is_websocket:
            assert await client.read(4) == b"\x81\x02hi"
        await client.aclose()
        await until(lambda: not len(served.hub))


async def _begin(port: int, asked: bytes) -> tuple[str, RawClient]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(asked)
    return (await reader.readuntil(b"\r\n\r\n")).decode(), RawClient(reader, writer)


@EVERY_WAY
async def test_a_decision_that_waited_may_be_no(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, way: Callable[[int], bytes]
) -> None:
    """With its reason, once: the way that cannot wait has neither asked nor counted."""
    slow = Slow(monkeypatch, refuses=True)
    slow.may_decide.set()
    async with serve() as served:
        answer = await exchange(served.port, way(served.port))
        assert (answer.status, answer.body) == (403, b"not here\n")
        assert served.hub.refused == {"read_only": 1}
        assert len(slow.asked) == 1
        assert len(served.hub) == 0


async def test_a_handshake_that_is_refused_at_sight_is_decided_once(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sanic's way answers what was decided before: a hook is called once, and a signature is checked once."""
    asked: list[str | bytes] = []
    at_once = RequestChecks.permit

    def permit(checks: RequestChecks, of: Asking, name: str | bytes, action: Action) -> Decision:
        asked.append(name)
        return at_once(checks, of, name, action)

    monkeypatch.setattr(RequestChecks, "permit", permit)
    async with serve() as served:
        assert (await exchange(served.port, handshake(served.port, "$mux"))).status == 400
        assert asked == [b"$mux"]
        assert served.hub.refused == {"channel": 1}


async def test_what_changes_while_a_decision_waits_is_checked_after_it(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that are allowed at the same moment do not both get the last place."""
    slow = Slow(monkeypatch)
    async with serve(max_connections=1) as served:
        both = [asyncio.create_task(_begin(served.port, handshake(served.port))) for _ in range(2)]
        await until(lambda: len(slow.asked) == 2)
        slow.may_decide.set()
        found = await asyncio.gather(*both)
        assert sorted(head.split()[1] for head, _ in found) == ["101", "503"]
        assert served.hub.refused == {"connections": 1}
        for _, client in found:
            await client.aclose()
        await until(lambda: not len(served.hub))


async def test_who_goes_while_a_decision_waits_leaves_nothing(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a client that nobody sees leave, nor a connection."""
    slow = Slow(monkeypatch)
    async with serve() as served:
        _, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(handshake(served.port))
        await until(lambda: slow.asked)
        writer.transport.abort()
        slow.may_decide.set()
        await until(lambda: not served.plain and not len(served.hub))
        async with opened(served.port, handshake(served.port)):
            assert len(served.hub) == 1
        await until(lambda: not len(served.hub))
