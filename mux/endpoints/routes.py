"""The place of a feed in a Sanic app: its path, its routes, and which of them a request is for."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from sanic import Sanic
from sanic.request import Request
from sanic.response import HTTPResponse

from mux.endpoints.credentials import hide_query_tokens
from mux.endpoints.feed import Feed
from mux.endpoints.takeover import may_take_over
from mux.errors import InvalidSetting

FEED_ROUTE = "mux_feed"
"""The name of a feed's route in Sanic's router begins so."""

_PATH = re.compile(r"(?:/[\w.~-]+)+", re.ASCII)

FIRST = 1_000_000
"""The priority of a middleware that comes before any of the app's."""


@dataclass(frozen=True, slots=True)
class FeedRoute:
    """The place of a feed in an app.

    Raises:
        InvalidSetting: the path cannot be one.
    """

    path: str = "/feed"
    """The path before every channel; after a slash comes the name."""
    name: str = FEED_ROUTE
    """The first part of the names of the feed's routes; no two feeds of an app have the same."""

    def __post_init__(self) -> None:
        if not _PATH.fullmatch(self.path):
            raise InvalidSetting(f"path is {self.path!r}; it must be like '/feed', without a slash at its end")

    @property
    def names(self) -> tuple[str, str, str]:
        """The names of the routes of one channel, without that of the app."""
        return self.name, f"{self.name}_post", f"{self.name}_options"

    def is_asked(self, request: Request) -> bool:
        """Tell whether a request is for a channel of this feed."""
        return own_route(request) in self.names

    def channel_name(self, request: Request) -> str:
        """Return the name that a request for a channel gives, percent-decoded; it may be one that no channel has."""
        return unquote(request.path.removeprefix(f"{self.path}/"))


def mount_feed(app: Sanic[Any, Any], at: FeedRoute, current: Callable[[], Feed], *, many: bool) -> None:
    """Add the routes to an app.

    Args:
        app: what clients ask.
        at: the path and the name of the routes.
        current: returns the feed of this run of the app.
        many: also serve wildcards. A guard of the app that knows names of channels alone would let `user*` pass.
    """
    # A channel may have slashes, so the rest of the path is its name, and a last slash belongs to it.
    route = f"{at.path}/<channel:path>"

    def decode(request: Request) -> None:
        """Let the app's middleware find in match_info the very name that is used: Sanic does not decode a path.

        A token leaves the URL before anybody logs it.
        """
        request.match_info["channel"] = at.channel_name(request)
        if current().checks.takes_tokens:
            hide_query_tokens(request)

    def hide(request: Request) -> None:
        """Do the same for a request by a method that a channel does not take, which is for no route."""
        is_feeds = request.path == at.path or request.path.startswith(f"{at.path}/")
        if request.route is None and is_feeds and current().checks.takes_tokens:
            hide_query_tokens(request)

    app.register_middleware(hide, "request", priority=FIRST)
    names = [f"{app.name}.{name}" for name in at.names]
    app.register_named_middleware(decode, names, "request", priority=FIRST)

    @app.route(route, methods=["GET", "HEAD"], name=at.name, strict_slashes=True, ignore_body=True)
    @may_take_over
    async def connect(request: Request, channel: str) -> HTTPResponse | None:
        feed = current()
        return await feed.answer(request, feed.connect(request, channel, takes_wildcards=many))

    # As a stream, so that a body over the limit is refused before it is in memory.
    @app.post(route, name=f"{at.name}_post", strict_slashes=True, stream=True)
    async def publish(request: Request, channel: str) -> HTTPResponse | None:
        feed = current()
        return await feed.answer(request, feed.publishing.post(request, channel))

    @app.options(route, name=f"{at.name}_options", strict_slashes=True)
    async def preflight(request: Request, channel: str) -> HTTPResponse | None:
        feed = current()
        return await feed.answer(request, feed.preflight(request))


def mount_many(app: Sanic[Any, Any], at: FeedRoute, current: Callable[[], Feed]) -> None:
    """Add the route of event streams of several channels to an app; the arguments are those of mount_feed()."""
    name = f"{at.name}_many"
    names = [f"{app.name}.{name}", f"{app.name}.{name}_options"]

    def hide(request: Request) -> None:
        """Let a token leave the URL before anybody logs it."""
        if current().checks.takes_tokens:
            hide_query_tokens(request)

    app.register_named_middleware(hide, names, "request", priority=FIRST)

    @app.route(at.path, methods=["GET", "HEAD"], name=name, strict_slashes=True, ignore_body=True)
    @may_take_over
    async def connect(request: Request) -> HTTPResponse | None:
        feed = current()
        return await feed.answer(request, feed.many.connect(request))

    @app.options(at.path, name=f"{name}_options", strict_slashes=True)
    async def preflight(request: Request) -> HTTPResponse | None:
        feed = current()
        return await feed.answer(request, feed.preflight(request))


def own_route(request: Request) -> str:
    """Return the name of mux' route that a request is for; nothing when it is for another."""
    name = "" if request.route is None else request.route.name.rpartition(".")[2]
    return name if name.startswith("mux_") else ""
