"""Put feeds into a Sanic app: their routes, and the listeners that start and stop them with the app.

1. An app may run several times, one run after the other. Each run has a Core of its own; only the routes, the
   settings and the callbacks stay. So what is mounted asks for the Core of the current run each time.
2. An app may have several feeds, each with its own path and its own Redis channels; they drain at the same time.
"""

from __future__ import annotations

import asyncio
from typing import Any

from sanic import Sanic
from sanic.request import Request
from sanic.response import HTTPResponse

from mux import reasons
from mux.backend.routes import Api
from mux.core import Core
from mux.endpoints.calls import Calls
from mux.endpoints.compression import Compression
from mux.endpoints.hooks import Hooks
from mux.endpoints.operator_check import OperatorCheck, TokenCheck
from mux.endpoints.ops import Ops
from mux.endpoints.page import Page
from mux.endpoints.routes import FEED_ROUTE, FeedRoute, mount_feed, mount_many, own_route
from mux.endpoints.script import Script
from mux.endpoints.sdk.routes import mount_sdk
from mux.endpoints.sdk.rpc import Rpcs
from mux.endpoints.takeover import is_under_asgi_server
from mux.errors import InvalidSetting, NoSockets
from mux.logs.lines import speak_like
from mux.metrics.board import Row
from mux.settings.settings import Settings
from mux.wire.channel import Namespace
from mux.wire.http.head import RequestHead


class Mount:
    """A feed on a Sanic app; core is everything behind it in the current run of the app.

    Args:
        app: gets the routes, and listeners that start and stop the feed with the app.
        settings: all of them.
        path: what the path of every channel begins with.
        many: also mount event streams of several channels, at that path, and serve those of wildcards.
        ops: also mount the operator's routes.
        page: also mount the page at /.
        sdk: also serve SDK clients at /connection/websocket.
        checks_hosts: hold the routes beside the feed to the hosts that are served; False when that is done before.
        row: where to share numbers with other processes that serve.

    Raises:
        InvalidSetting: there is no redis_url, or app cannot have this feed: it is a Blueprint, it has started, or it
            has one with this path or with these Redis channels.
    """

    def __init__(
        self,
        app: Sanic[Any, Any],
        settings: Settings,
        *,
        path: str = "/feed",
        many: bool = False,
        ops: bool = False,
        page: bool = False,
        sdk: bool = False,
        checks_hosts: bool = True,
        row: Row | None = None,
    ) -> None:
        _check_app(app)
        if settings.redis_url is None:
            raise InvalidSetting("redis_url is missing; name a Redis, as redis_url='redis://localhost:6379'")
        self.settings = settings
        self._calls = Calls(lambda: self.core.hub.refuse(reasons.HOOK))
        self.hooks = Hooks(Namespace(settings.prefix), self._calls, settings)
        self.rpcs = Rpcs(self._calls, settings)
        self._beside = _beside(app)
        self.route = self._own_route(path)
        self._row = row
        self._has_run = False
        self.core = self._new_core()
        self._beside.append(self)
        mount_feed(app, self.route, lambda: self.core.feed, many=many)
        if many:
            mount_many(app, self.route, lambda: self.core.feed)
        self._api = Api(settings, lambda: self.core.backend, lambda: self.core.hub) if settings.api_key else None
        self.mount_api(app)
        self.has_sdk = sdk
        if sdk:
            self._mount_sdk(app)
            Script().mount(app)
        if ops:
            self.mount_ops(app, TokenCheck(settings.inspect_token))
        if page:
            Page(settings, path=path, sdk=sdk, inspect=ops and settings.inspect).mount(app)
        if (ops or page) and checks_hosts:
            app.register_middleware(self._check_host, "request")
        app.before_server_start(self._on_start)
        app.before_server_stop(self._on_stop)
        app.after_server_stop(self._on_stopped)

    def _new_core(self) -> Core:
        """Make everything that one run of the app has; an app may run again, as under a client for tests."""
        return Core(self.settings, self.hooks, self._calls, self.rpcs, self._row)

    def _own_route(self, path: str) -> FeedRoute:
        """Return the route of this feed, which is told apart from those of the feeds beside it."""
        for other in self._beside:
            if other.route.path == path:
                raise InvalidSetting(
                    f"the app has a Mux already at {path}, which serves all channels; another needs a path of its own"
                )
            prefix = self.settings.prefix
            if (other.settings.redis_url, other.settings.prefix) == (self.settings.redis_url, prefix):
                raise InvalidSetting(f"the app has a Mux already for {prefix}*; another needs a prefix of its own")
        return FeedRoute(path, FEED_ROUTE if not self._beside else f"{FEED_ROUTE}_{len(self._beside) + 1}")

    def mount_ops(self, app: Sanic[Any, Any], operators: OperatorCheck) -> None:
        """Mount the operator's routes."""
        Ops(
            conditions=lambda: self.core.conditions(),
            snapshot=lambda: self.core.observer.snapshot(),
            inspector=(lambda: self.core.inspector) if self.settings.inspect else None,
            operators=operators,
            hub=lambda: self.core.hub,
            compression=Compression(self.settings),
        ).mount(app)

    def _mount_sdk(self, app: Sanic[Any, Any]) -> None:
        if any(other.has_sdk for other in self._beside if other is not self):
            raise InvalidSetting("another Mux of the app serves SDK clients already, at the only path that they have")
        mount_sdk(app, lambda: self.core.sdk, lambda: self.core.feed)

    def mount_api(self, app: Sanic[Any, Any]) -> None:
        """Mount the API for backends, if there are keys for it.

        Raises:
            InvalidSetting: the app has one already.
        """
        if self._api is not None:
            self._api.mount(app)

    def api_limit(self, head: RequestHead) -> int:
        """Return how large the body of a request to the API may be; 0 for other requests.

        Raises:
            Refused: it has no key of the API.
        """
        return 0 if self._api is None else self._api.limit(head)

    def body_limit(self, head: RequestHead) -> int:
        """Return how large the body of a request may be; 0 when none is read.

        Raises:
            Refused: as api_limit().
        """
        if head.method == "POST" and head.target.startswith(f"{self.route.path}/"):
            return self.settings.max_message_bytes
        return self.api_limit(head)

    def _check_host(self, request: Request) -> HTTPResponse | None:
        """Hold the routes beside the feeds to the hosts that are served, as a feed does by itself."""
        name = own_route(request)
        is_beside = name and not name.startswith(FEED_ROUTE)
        return self.core.feed.refusal_of_host(request) if is_beside else None

    async def _on_start(self, app: Sanic[Any, Any]) -> None:
        if is_under_asgi_server(app):
            raise NoSockets(
                "an ASGI server keeps its sockets to itself, and mux needs them: "
                "serve this app with Sanic's own server, as `sanic module:app`"
            )
        speak_like("sanic.root")
        if self._has_run:
            self.core = self._new_core()
        self._has_run = True
        await self.core.start()

    async def _on_stop(self, app: Sanic[Any, Any]) -> None:
        # Sanic calls listeners one after the other; the clients of all feeds have the same time.
        await asyncio.gather(*(mount.core.drain() for mount in self._beside))

    async def _on_stopped(self, app: Sanic[Any, Any]) -> None:
        await self.core.aclose()


def _check_app(app: Sanic[Any, Any]) -> None:
    """Refuse an app that a feed cannot be mounted on.

    Raises:
        InvalidSetting: it is none, or it runs already.
    """
    if not isinstance(app, Sanic):
        raise InvalidSetting(f"Mux(app) takes a Sanic app, not a {type(app).__name__}; routes go on the app itself")
    if app.router.finalized or app.state.server_info:
        raise InvalidSetting("the app has started, and takes no routes any more; make the Mux where the app is made")


def _beside(app: Sanic[Any, Any]) -> list[Mount]:
    """Return the feeds of an app, in the order they were made."""
    feeds: list[Mount] | None = getattr(app.ctx, "mux_feeds", None)
    if feeds is None:
        feeds = app.ctx.mux_feeds = []
    return feeds
