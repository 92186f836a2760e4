"""Everything behind a Mux: what each process has one of, and what each run of the app begins anew.

    broker ── batches ──► hub ──► sockets
       ▲                   ▲
       └──── endpoints ────┘

1. The app starts and stops it: clients are ended by drain(), the broker and the timers by aclose().
2. An app may run several times, one run after the other. Each run has a hub, a broker and timers of its own; only
   the routes, the settings and the callbacks stay.
3. An app may have several, each with its own path and its own Redis channels; they drain at the same time.
"""

from __future__ import annotations

import asyncio
import logging
from time import time
from typing import Any

from sanic import Sanic
from sanic.request import Request
from sanic.response import HTTPResponse

from mux import reasons
from mux.backend.backend import Backend, Parts
from mux.backend.once import Once
from mux.backend.routes import Api
from mux.broker.broker import Broker
from mux.broker.gap import Gap
from mux.broker.holding import Holding
from mux.broker.location import parse_location
from mux.broker.parcels import Parcels
from mux.endpoints.calls import Calls
from mux.endpoints.feed import Feed
from mux.endpoints.gap_news import GapNews
from mux.endpoints.hooks import Hooks
from mux.endpoints.membership import ANNOUNCEMENT_BYTES
from mux.endpoints.operator_check import OperatorCheck, TokenCheck
from mux.endpoints.ops import Ops
from mux.endpoints.page import Page
from mux.endpoints.past import Past
from mux.endpoints.routes import FEED_ROUTE, FeedRoute, mount_feed, own_route
from mux.endpoints.takeover import is_under_asgi_server
from mux.errors import InvalidSetting, NoSockets
from mux.fleet.fleet import Fleet
from mux.fleet.messages import CHANNEL
from mux.goodbye.goodbyes import Goodbyes
from mux.grants.authority import Authority
from mux.hub.admission import Admission, descriptors_for_clients
from mux.hub.hub import Hub
from mux.inspect.inspector import Inspector
from mux.intake import BatchIntake
from mux.journal.journal import Journal
from mux.journal.quiet import Quiet
from mux.logs.lines import speak_like
from mux.machine import Freed, descriptor_limit, give_back_memory, memory_limit
from mux.metrics.board import Row
from mux.metrics.catalogue import Snapshot
from mux.metrics.observer import Observer
from mux.presence.acts import Acts
from mux.presence.presence import Presence
from mux.recovery.listener import Listeners
from mux.recovery.recovery import Recovery
from mux.settings import Settings
from mux.wire.channel import RESERVED, Namespace
from mux.wire.http.head import RequestHead
from mux.wire.sse.encoder import GROWTH

PENDING_SHARE = 4
"""A quarter of the memory that all processes of a server may use together is for what waits for clients."""

LOOK_SECONDS = 1.0
"""How often this process looks whether much memory has become free."""

logger = logging.getLogger("mux")


class Core:
    """A feed on a Sanic app, with everything that a process needs for it.

    Args:
        app: gets the routes, and listeners that start and stop the feed with the app.
        settings: all of them.
        path: what the path of every channel begins with.
        ops: also mount the operator's routes.
        page: also mount the page at /.
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
        ops: bool = False,
        page: bool = False,
        checks_hosts: bool = True,
        row: Row | None = None,
    ) -> None:
        _check_app(app)
        if settings.redis_url is None:
            raise InvalidSetting("redis_url is missing; name a Redis, as redis_url='redis://localhost:6379'")
        self.settings = settings
        self._calls = Calls(lambda: self.hub.refuse(reasons.HOOK))
        self.hooks = Hooks(Namespace(settings.prefix), self._calls, settings)
        self._redis_url = settings.redis_url
        self._beside = _beside(app)
        self.route = self._own_route(path)
        self._row = row
        self._has_run = False
        self._begin()
        self._beside.append(self)
        # What is mounted once asks for what each run has of its own.
        mount_feed(app, self.route, lambda: self.feed)
        self._api = Api(settings, lambda: self.backend, lambda: self.hub) if settings.api_key else None
        self.mount_api(app)
        if ops:
            self.mount_ops(app, TokenCheck(settings.inspect_token))
        if page:
            Page(settings, path=path, inspect=ops and settings.inspect).mount(app)
        if (ops or page) and checks_hosts:
            app.register_middleware(self._check_host, "request")
        app.before_server_start(self._on_start)
        app.before_server_stop(self._on_stop)
        app.after_server_stop(self._on_stopped)

    def _own_route(self, path: str) -> FeedRoute:
        """Return the route of this feed, which is told apart from those of the feeds beside it."""
        for other in self._beside:
            if other.route.path == path:
                raise InvalidSetting(
                    f"the app has a Mux already at {path}, which serves all channels; another needs a path of its own"
                )
            prefix = self.settings.prefix
            if (other.settings.redis_url, other.settings.prefix) == (self._redis_url, prefix):
                raise InvalidSetting(f"the app has a Mux already for {prefix}*; another needs a prefix of its own")
        return FeedRoute(path, FEED_ROUTE if not self._beside else f"{FEED_ROUTE}_{len(self._beside) + 1}")

    def mount_ops(self, app: Sanic[Any, Any], operators: OperatorCheck) -> None:
        """Mount the operator's routes; what is mounted once asks for what each run has of its own."""
        Ops(
            conditions=self.conditions,
            snapshot=lambda: self._observer.snapshot(),
            inspector=(lambda: self._inspector) if self.settings.inspect else None,
            operators=operators,
            hub=lambda: self.hub,
        ).mount(app)

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

    def _begin(self) -> None:
        """Make everything that one run of the app has; an app may run again, as under a client for tests."""
        settings = self.settings
        descriptors = descriptor_limit()
        self.hub = Hub(
            # A message that may be sent can be delivered, as whatever it is encoded.
            max_pending_bytes=max(settings.max_pending_bytes, GROWTH * settings.max_message_bytes),
            max_pending_total_bytes=settings.max_pending_total_bytes
            or memory_limit() // PENDING_SHARE // settings.workers,
            max_unwritable_seconds=settings.max_unwritable_seconds,
            ping_seconds=settings.ping_seconds,
            pong_seconds=settings.pong_seconds,
            max_message_bytes=max(settings.max_message_bytes, ANNOUNCEMENT_BYTES[settings.announce_as]),
            message_seconds=settings.handshake_seconds,
            admission=Admission(
                max_connections=settings.max_connections,
                max_per_address=settings.max_connections_per_address,
                max_descriptors=descriptors_for_clients(descriptors) if descriptors else 0,
            ),
        )
        self.namespace = Namespace(settings.prefix)
        self._journal = Journal(
            max_bytes=settings.journal_bytes,
            max_seconds=settings.journal_seconds,
            talk=self.namespace.redis_channel(RESERVED),
        )
        read_seconds = None if settings.gather_ms == "auto" else settings.gather_ms / 1000
        self._intake = BatchIntake(self.hub, self._journal, read_seconds)
        self._observer = Observer(
            self.hub,
            self._row,
            batch_sizes=self._intake.batch_sizes,
            fan_out_times=self._intake.fan_out_times,
            journal=self._journal,
        )
        quiet = Quiet()
        self._recovery = (
            Recovery(self._intake, self._journal, self.hub.router, self.namespace, quiet, rank=self._rank)
            if self._journal.is_on
            else None
        )
        self.past = Past.of(self._journal, self._recovery.order, quiet) if self._recovery is not None else None
        self.broker = Broker(
            parse_location(self._redis_url),
            self.namespace.pattern,
            probe_prefix=self.namespace.redis_channel(b"$probe:"),
            probe_seconds=settings.probe_seconds,
            holding=Holding(max_bytes=settings.max_held_bytes, max_seconds=settings.max_held_seconds),
            on_read=self._intake.take,
            on_writable=lambda: self.feed.resume(),
            on_gap=self._after_gap,
            recovery=self._recovery,
        )
        self._intake.pause_reading = self.broker.pause_reading
        fleet_channel = self.namespace.redis_channel(CHANNEL)
        self._fleet = Fleet(self.broker, fleet_channel)
        self.hub.router.listen(fleet_channel, self._fleet.take)
        self._inspector = Inspector(
            self._fleet,
            self.hub,
            self._observer,
            self._intake,
            prefix=self.namespace.redis_channel(b""),
            gives_names=settings.inspect,
        )
        parcels = Parcels(
            self.broker.ask,
            self.namespace.redis_channel(b"$copy:presence:"),
            "who is in a channel",
            self.broker.is_cluster,
        )
        self.presence = Presence(self._fleet, self.hub, self.namespace, parcels)
        self.acts = Acts(
            self._fleet, self.hub, self.namespace, lambda client, until: self.feed.members.renew(client, until)
        )
        self._authority = Authority(settings)
        self.feed = Feed(self.hub, self.broker.outbox, settings, self._authority, self.hooks, self.past)
        self._once = Once(self.broker.ask, self.namespace.redis_channel(b"$copy:once:"))
        self.backend = Backend(
            Parts(self.hub, self.broker.outbox, self.past, self._inspector, self.presence, self.acts, self._once),
            settings,
        )
        self.listeners = Listeners(self.hub.router, None if self.past is None else self.past.history)
        self._timer: asyncio.TimerHandle | None = None
        self._freed = Freed()
        self._look_at = 0.0
        self._gap_news = GapNews(self.hub)
        self._goodbyes = Goodbyes(self.hub, seconds=settings.drain_seconds)

    async def start(self) -> None:
        """Connect to Redis and start the timers. The app does this before it serves, each time it runs.

        Raises:
            BrokerRefused: Redis does not want us.
        """
        if self._has_run:
            self._begin()
        self._has_run = True
        if self._recovery is not None:
            self._recovery.start(self.broker)
        await self.broker.start()
        self._authority.start()
        self._observer.start(self.broker)
        self._fleet.start()
        self._inspector.start()
        self.presence.start()
        self.acts.start()
        if self._recovery is not None:
            await self._recovery.until_warm()
        self._tick()

    async def drain(self) -> None:
        """Admit nobody any more, and say goodbye to every client with 1001 (going away).

        They are told in batches over drain_seconds. Returns when all are gone, drain_seconds + 3 s later at the
        latest. May be called again, also at the same time: it is done once.
        """
        self.feed.checks.is_draining = True
        self.listeners.end()
        await self._goodbyes.drain()

    def is_ready(self) -> bool:
        """Tell whether clients may be sent to this process, however the processes beside it are."""
        return all(is_met for name, is_met in self.conditions().items() if name != "no_worker_stalled")

    def snapshot(self) -> Snapshot:
        """Return the numbers of this process."""
        return self._observer.own_snapshot()

    def conditions(self) -> dict[str, bool]:
        """Return what must be true for clients to be sent here, by name; /readyz answers with it."""
        conditions = {
            "subscribed": self.broker.is_connected,
            "probe_heard": self.broker.is_heard,
            "not_draining": not self.feed.checks.is_draining,
        }
        if self._recovery is not None:
            conditions["journal_copied"] = self._recovery.is_warm
        if self._row is not None:
            conditions["no_worker_stalled"] = "stalled" not in self._row.states()
        return conditions

    async def aclose(self) -> None:
        """Stop the timers and leave Redis, after what was published has been answered."""
        await self._goodbyes.aclose()
        await self._gap_news.aclose()
        await self._calls.aclose()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self._once.aclose()
        await self._inspector.aclose()
        await self.presence.aclose()
        await self.acts.aclose()
        await self.feed.aclose()
        await self._authority.aclose()
        await self._fleet.aclose()
        if self._recovery is not None:
            await self._recovery.aclose()
        await self.broker.aclose()
        self._intake.close()
        self._observer.close()

    def _rank(self, mark: str) -> int:
        return self._fleet.rank(mark)

    def _after_gap(self, gap: Gap) -> None:
        if self.settings.on_gap == "close":
            self._goodbyes.resync()
        else:
            self._gap_news.tell(gap)
        self._calls.tell("on_gap", self.hooks.gap, gap)

    def _tick(self) -> None:
        loop, hub = asyncio.get_running_loop(), self.hub
        now = loop.time()
        self._timer = loop.call_later(hub.tick_seconds, self._tick)
        if now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            if self._freed.is_much(hub.pending_bytes, hub.evicted_bytes):
                give_back_memory()
        hub.tick(now)
        self.feed.members.tick(time())

    def _check_host(self, request: Request) -> HTTPResponse | None:
        """Hold the routes beside the feeds to the hosts that are served, as a feed does by itself."""
        name = own_route(request)
        is_beside = name and not name.startswith(FEED_ROUTE)
        return self.feed.refusal_of_host(request) if is_beside else None

    async def _on_start(self, app: Sanic[Any, Any]) -> None:
        if is_under_asgi_server(app):
            raise NoSockets(
                "an ASGI server keeps its sockets to itself, and mux needs them: "
                "serve this app with Sanic's own server, as `sanic module:app`"
            )
        speak_like("sanic.root")
        await self.start()

    async def _on_stop(self, app: Sanic[Any, Any]) -> None:
        # Sanic calls listeners one after the other; the clients of all feeds have the same time.
        await asyncio.gather(*(core.drain() for core in self._beside))

    async def _on_stopped(self, app: Sanic[Any, Any]) -> None:
        await self.aclose()


def _check_app(app: Sanic[Any, Any]) -> None:
    """Refuse an app that a feed cannot be mounted on.

    Raises:
        InvalidSetting: it is none, or it runs already.
    """
    if not isinstance(app, Sanic):
        raise InvalidSetting(f"Mux(app) takes a Sanic app, not a {type(app).__name__}; routes go on the app itself")
    if app.router.finalized or app.state.server_info:
        raise InvalidSetting("the app has started, and takes no routes any more; make the Mux where the app is made")


def _beside(app: Sanic[Any, Any]) -> list[Core]:
    """Return the feeds of an app, in the order they were made."""
    feeds: list[Core] | None = getattr(app.ctx, "mux_feeds", None)
    if feeds is None:
        feeds = app.ctx.mux_feeds = []
    return feeds
