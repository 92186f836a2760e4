"""The place of SDK clients in a Sanic app."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sanic import Sanic
from sanic.request import Request
from sanic.response import HTTPResponse

from mux.endpoints.credentials import hide_query_tokens
from mux.endpoints.feed import Feed
from mux.endpoints.routes import FIRST
from mux.endpoints.sdk.sdk import Sdk
from mux.endpoints.takeover import may_take_over

PATH = "/connection/websocket"
"""The path to which the SDKs connect."""

SDK_ROUTE = "mux_sdk"
"""The name of the route in Sanic's router."""


def mount_sdk(app: Sanic[Any, Any], current: Callable[[], Sdk], feed: Callable[[], Feed]) -> None:
    """Add the route to an app.

    Args:
        app: what clients ask.
        current: returns what serves SDK clients in this run of the app.
        feed: returns the feed of this run, which answers refusals.
    """

    def hide(request: Request) -> None:
        """Let a token leave the URL before anybody logs it."""
        if feed().checks.takes_tokens:
            hide_query_tokens(request)

    app.register_named_middleware(hide, [f"{app.name}.{SDK_ROUTE}"], "request", priority=FIRST)

    @app.route(PATH, methods=["GET", "HEAD"], name=SDK_ROUTE, strict_slashes=True, ignore_body=True)
    @may_take_over
    async def connect(request: Request) -> HTTPResponse | None:
        return await feed().answer(request, current().connect(request))
