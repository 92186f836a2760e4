"""The app that `mux serve` serves: a feed, and the operator's routes on it or on a listener of their own."""

from __future__ import annotations

import socket
from typing import Any

from sanic import Sanic
from sanic.application.state import ApplicationServerInfo
from sanic.http.constants import HTTP

from mux.doorstep.arrivals import Arrivals
from mux.doorstep.doorstep import Doorstep
from mux.endpoints.operator_check import LocalHostCheck, OperatorCheck, TokenCheck
from mux.endpoints.refusals import PlainErrors
from mux.metrics.board import Row
from mux.mount import Mount
from mux.settings.settings import Settings
from mux.wire.http.host import is_loopback


def create_app(settings: Settings, row: Row | None = None, ops_sock: socket.socket | None = None) -> Sanic[Any, Any]:
    """Return the app that `mux serve` serves: nothing but a feed.

    app.ctx.http_protocol is what to listen with, app.ctx.hub has the clients, and app.ctx.mux_arrivals the connections
    that have not become clients. app.ctx.is_ready() tells whether clients may be sent to this process, and
    app.ctx.snapshot() returns its numbers. app.ctx.ops_app has the operator's routes when they have a listener of their
    own, and is None otherwise.

    Args:
        settings: all of them.
        row: where to share numbers with other processes that serve.
        ops_sock: the listener of the operator's routes; None has them on the app.

    Raises:
        InvalidSetting: as Mount.
    """
    app: Sanic[Any, Any] = Sanic("mux", configure_logging=False, error_handler=PlainErrors(lambda: mount.core.hub))
    mount = Mount(
        app,
        settings,
        many=True,
        ops=ops_sock is None,
        page=settings.page,
        sdk=settings.sdk,
        checks_hosts=False,
        row=row,
    )
    # Sanic leaves an empty Alt-Svc out of its answers only when it knows that there is one version of HTTP.
    app.state.server_info.append(ApplicationServerInfo({"version": HTTP.VERSION_1}))
    core = mount.core
    app.ctx.ops_app = None if ops_sock is None else _ops_app(mount, ops_sock)
    app.ctx.hub = core.hub
    app.ctx.is_ready = core.is_ready
    app.ctx.snapshot = core.snapshot
    app.ctx.mux_arrivals = Arrivals(
        app,
        head_seconds=settings.handshake_seconds,
        kept_seconds=settings.keep_alive_seconds,
        answer_seconds=app.config.RESPONSE_TIMEOUT,
        max_body_bytes=mount.body_limit,
        refused=core.hub.refused,
        admission=core.hub.admission,
        clients=core.hub.__len__,
        join=lambda request, channel: core.feed.join_at_once(request, channel),
        sharing=lambda request: core.feed.checks.sharing(request),
        check_host=lambda host, request: core.feed.checks.check_host_first(host, request),
    )
    app.ctx.http_protocol = Doorstep
    return app


def _ops_app(mount: Mount, sock: socket.socket) -> Sanic[Any, Any]:
    """Return an app of the operator's routes alone, for a listener of their own."""
    settings = mount.settings
    app: Sanic[Any, Any] = Sanic("mux-ops", configure_logging=False, error_handler=PlainErrors(lambda: mount.core.hub))
    app.config.TOUCHUP = False  # Sanic rewrites its own classes once in a process, and does so for the other app
    mount.mount_ops(app, _operator_check(settings, sock))
    mount.mount_api(app)
    app.ctx.mux_arrivals = Arrivals(
        app,
        head_seconds=settings.handshake_seconds,
        kept_seconds=settings.keep_alive_seconds,
        answer_seconds=app.config.RESPONSE_TIMEOUT,
        max_body_bytes=mount.api_limit,
        refused=mount.core.hub.refused,
        join=lambda request, channel: False,  # nothing here is a WebSocket, so an upgrade is ignored
    )
    return app


def _operator_check(settings: Settings, sock: socket.socket) -> OperatorCheck:
    """Return who may see the numbers on a listener: this machine alone, or who has the token."""
    if is_of_this_machine(sock):
        return LocalHostCheck(is_unix=sock.family == socket.AF_UNIX)
    return TokenCheck(settings.inspect_token)


def is_of_this_machine(sock: socket.socket) -> bool:
    """Tell whether nobody but this machine can reach a listening socket."""
    return sock.family == socket.AF_UNIX or is_loopback(str(sock.getsockname()[0]))
