"""Take a connection from Sanic, and leave nothing of Sanic's behind.

Sanic has parsed a request and called a handler. If the handler answers an upgrade itself and returns
None, Sanic's task for the connection ends; what is left to do is to make its protocol object let go of
the transport, so that it neither closes the socket nor stays in memory. After that an idle client costs
its transport, its Subscriber and its parser.

This is the only module that touches what Sanic does not document. These names of HttpProtocol are in
use, OF_STREAM of the request's stream, and _asgi_lifespan of the app; tests/endpoints/test_takeover.py fails
first when one is gone:
"""

from __future__ import annotations

import socket
from asyncio import BaseTransport, Transport
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol, TypeVar, cast

from httptools import parse_url
from sanic import Sanic, headers
from sanic.compat import Header
from sanic.models.asgi import MockTransport
from sanic.request import Request
from sanic.server.protocols.http_protocol import HttpProtocol

from mux.hub.hub import Hub
from mux.hub.subscriber import Endpoint, Subscriber
from mux.wire.publication import Encoder

PRIVATE_NAMES = ("_callback_check_timeouts", "_can_write", "connections", "recv_buffer", "transport")
"""Attributes of sanic.server.protocols.http_protocol.HttpProtocol, as of Sanic 25.12."""

PRIVATE_NAMES_OF_STREAM = ("response_func", "upgrade_websocket")
"""Private names of sanic.http.Http, the stream of a request. By the second it knows that a handler may leave a request
unanswered; Sanic sets it for requests that ask for an upgrade, and others are taken over as well."""

PRIVATE_NAMES_OF_HEADERS = ("_HTTP1_STATUSLINES",)
"""Names of sanic.headers: the first lines of all answers, made when Sanic is imported."""

PRIVATE_NAMES_OF_REQUEST = ("_parsed_url",)
"""Attributes of sanic.request.Request, of which the URL is made that logs and apps are given."""

UNSENT_BYTES = 128 * 1024
"""Most bytes that the kernel takes for a client beyond those on their way to it. Otherwise Linux takes up to 4 MiB
(net.ipv4.tcp_wmem), and a client that never reads is noticed so much later. Unix sockets are bounded by
net.core.wmem_default, which is 208 KiB, and are left alone."""

_NOTSENT_LOWAT: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)  # Linux and macOS
_USER_TIMEOUT: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux


class Asking(Protocol):
    """A request, as far as the take-over and the checks before it ask about it.

    Sanic's Request has all of this, and so has what the doorstep makes of a handshake it knows by sight.
    """

    @property
    def headers(self) -> Header:
        """The header fields of the request."""

    @property
    def host(self) -> str:
        """The host that the request is for, from the nearest trusted proxy or from its Host field."""

    @property
    def version(self) -> str:
        """The HTTP version of the request, as 1.1."""

    @property
    def client_ip(self) -> str:
        """The address that the request is from, as the nearest trusted proxy says or as the socket does."""

    @property
    def transport(self) -> BaseTransport | None:
        """The transport of the request's connection; None when it is gone."""


class Taken(NamedTuple):
    """A connection that was Sanic's."""

    transport: Transport
    early: bytes
    """Bytes that the client has sent after its request."""
    is_blocked: bool
    """True while the socket takes no more of the answers to earlier requests. The transport has told this to Sanic's
    protocol, and tells no other protocol."""
    has_ended: bool = False
    """True if the client has said already that it sends no more; the transport does not say it again."""
    is_bounded: bool = False
    """True if the socket has from its listener what bound_unsent() sets."""


F = TypeVar("F", bound=Callable[..., Any])
S = TypeVar("S")


class Kind(Endpoint[S], Protocol[S]):
    """The endpoint of a kind of client, as far as the take-over asks it."""

    def ended(self, client: Subscriber[S]) -> None:
        """End a client that had said before it was one that it sends no more."""


def may_take_over(handler: F) -> F:
    """Mark a handler that may return None because it has taken the connection over.

    Sanic takes None from any other handler for a mistake.
    """
    handler.is_websocket = True  # type: ignore[attr-defined]  # the name Sanic looks for
    return handler


def take_over(
    request: Asking,
    beginning: bytes,
    join: Callable[[Subscriber[S]], None],
    *,
    kind: Kind[S],
    encode: Encoder,
    hub: Hub,
    address: str,
    unacknowledged_seconds: float | None = None,
) -> None:
    """Make a client of the connection of a request; one that has gone is left alone.

    The handler of the request is marked with may_take_over() and returns None.

    Args:
        request: is answered here.
        beginning: the answer, and what else the client reads before anything of its channels.
        join: is called with the connected client before anything it sent is looked at.
        kind: the endpoint of the client.
        encode: turns publications into bytes that the client reads.
        hub: connects the client.
        address: the client counts as one from here; see Hub.connected().
        unacknowledged_seconds: how long the client's machine may leave unacknowledged what was sent to it; None leaves
            that to the kernel.
    """
    taken = _detach(request)
    if taken is None:
        return
    transport = taken.transport
    client = Subscriber(transport, endpoint=kind, encode=encode, backlog=hub)
    if not taken.is_bounded or unacknowledged_seconds is not None:
        _set_options(transport, unacknowledged_seconds)
    # It has the methods of asyncio.Protocol, but is not asked for connection_made().
    transport.set_protocol(client)  # type: ignore[arg-type]  # only the methods matter
    hub.connected(client, address)
    if taken.is_blocked:
        client.pause_writing()
    client.write(beginning)
    join(client)
    if taken.early:
        client.data_received(taken.early)
    if taken.has_ended:
        kind.ended(client)


def _detach(request: Asking) -> Taken | None:
    """Take the transport of a request; None when the client is gone already, and there is nothing to take."""
    transport: Any = request.transport
    if transport.is_closing():
        return None
    protocol: Any = transport.get_protocol()
    if isinstance(protocol, HttpProtocol):
        is_blocked = not protocol._can_write.is_set()  # noqa: SLF001 - see the module's docstring
        taken = Taken(transport, release(protocol), is_blocked)
    else:  # the doorstep's, which has Sanic's protocol behind it, or none
        taken = protocol.let_go()
    if not transport.is_reading():
        transport.resume_reading()
    return taken


def release(sanics: HttpProtocol) -> bytes:
    """Make Sanic's protocol, which is in a handler, let go of its transport; return what it has received since."""
    protocol = cast("Any", sanics)
    early = bytes(protocol.recv_buffer)
    protocol.recv_buffer.clear()
    # Sanic looks after a request's time by a timer that would keep its objects alive for seconds.
    timer = protocol._callback_check_timeouts  # noqa: SLF001 - see the module's docstring
    if timer is not None:
        timer.cancel()
    protocol.connections.discard(protocol)
    protocol.transport = None
    stream = protocol.http
    stream.upgrade_websocket = True
    # It holds a method of itself, so that it, and with it all of the request, would wait for the collector.
    stream.response_func = None
    return early


def is_under_asgi_server(app: Sanic[Any, Any]) -> bool:
    """Return whether an ASGI server runs the app; sanic-testing's client, which only calls it, is none."""
    return app._asgi_lifespan is not None  # noqa: SLF001 - see the module's docstring


def has_socket(request: Request) -> bool:
    """Return whether there is a socket to be taken over; under ASGI Sanic has none."""
    return not isinstance(request.transport, MockTransport)


def transport_of(request: Request) -> Transport | None:
    """Return what the answer to a request is written to; None where has_socket() is False."""
    return cast("Transport", request.transport) if has_socket(request) else None


def plain_connections(request: Asking) -> int:
    """Return how many connections of this server have not been taken over, that of the request included."""
    transport: Any = request.transport
    return len(transport.get_protocol().connections)


def keep(request: Asking, thing: object) -> None:
    """Keep a thing with a request that the doorstep has, for kept() when Sanic has the same request."""
    transport: Any = request.transport
    transport.get_protocol().kept = thing


def kept(request: Asking) -> object:
    """Return what keep() has kept with a request, once; None when there is nothing."""
    if request.transport is None:
        return None
    protocol = cast("Any", cast("Transport", request.transport).get_protocol())
    thing: object = getattr(protocol, "kept", None)
    if thing is not None:
        protocol.kept = None
    return thing


def name_status(status: HTTPStatus) -> None:
    """Have Sanic send the phrase of a status that it calls UNKNOWN."""
    line = b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode())
    headers._HTTP1_STATUSLINES[status] = line  # noqa: SLF001 - see the module's docstring


def set_url(request: Request, url: bytes) -> None:
    """Give a request another URL; what was read of its query is forgotten."""
    request.raw_url = url
    request._parsed_url = parse_url(url)  # noqa: SLF001 - see the module's docstring
    request.parsed_args.clear()
    request.parsed_not_grouped_args.clear()


def own_end(request: Asking) -> tuple[str, int] | None:
    """Return address and port of the end of a request's connection that is ours; None for one that has none."""
    name = None if request.transport is None else request.transport.get_extra_info("sockname")
    return (name[0], name[1]) if isinstance(name, tuple) else None


def _set_options(transport: Transport, unacknowledged_seconds: float | None) -> None:
    sock = transport.get_extra_info("socket")
    if sock is not None:
        bound_unsent(sock)
        if unacknowledged_seconds is not None:
            _bound_unacknowledged(sock, unacknowledged_seconds)


def bound_unsent(sock: socket.socket) -> None:
    """Bound what the kernel keeps of what a client does not read; on Linux a listener passes this on.

    macOS has the option as well, and where there is none the whole of the send buffer is bounded.
    """
    with suppress(OSError):  # the client has just gone, or its socket is no TCP socket
        if _NOTSENT_LOWAT is None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNSENT_BYTES)
        else:
            sock.setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, UNSENT_BYTES)


def _bound_unacknowledged(sock: socket.socket, seconds: float) -> None:
    """Bound how long the kernel waits for an acknowledgement.

    Left alone it tries for a quarter of an hour (tcp(7), tcp_retries2), and where there is no such option it does. The
    same time is given to a client that acknowledges and takes nothing (RFC 5482).
    """
    if _USER_TIMEOUT is not None:
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, _USER_TIMEOUT, int(seconds * 1000))
