"""Mux on a Sanic app: mounts the endpoints and owns what each process has one of.

    broker ── batches ──► hub ──► sockets
       ▲                   ▲
       └──── endpoints ────┘

What is started with the app is ended with it: clients by drain(), the broker and the timer by aclose(). An app may
run several times, one run after the other, and each run has a hub, a broker and timers of its own; only the routes,
the settings and the callbacks stay.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from inspect import isawaitable
from typing import Any, TypeAlias

import orjson
from sanic import Sanic
from sanic.request import Request
from sanic.response import HTTPResponse

from mux import reasons
from mux.broker.broker import Broker
from mux.broker.gap import Gap
from mux.broker.holding import Holding
from mux.broker.location import parse_location
from mux.doorstep.doorstep import Doorstep
from mux.doorstep.reading import Intake
from mux.endpoints.feed import FEED_ROUTE, Feed, channel_name, is_for_feed, mount_feed, own_route
from mux.endpoints.gate import Gate, LocalGate, TokenGate
from mux.endpoints.inspect import Inspect
from mux.endpoints.membership import ANNOUNCEMENT_BYTES
from mux.endpoints.ops import Ops
from mux.endpoints.page import Page
from mux.endpoints.takeover import is_under_asgi_server
from mux.endpoints.unrouted import PlainErrors
from mux.errors import InvalidChannel, InvalidSetting, MessageTooLarge, NoSockets
from mux.fleet.fleet import Fleet
from mux.fleet.messages import CHANNEL
from mux.goodbye.goodbyes import Goodbyes
from mux.hub.admission import Admission, descriptors_for_clients
from mux.hub.hub import Hub
from mux.hub.subscriber import AnySubscriber
from mux.inspect.inspector import Inspector
from mux.intake import BatchIntake
from mux.journal.journal import Journal
from mux.logs.lines import speak_like
from mux.machine import Freed, descriptor_limit, give_back_memory, memory_limit
from mux.metrics.board import Place
from mux.metrics.observer import Observer
from mux.recovery.recovery import Recovery
from mux.settings import Settings, unknown_variables
from mux.wire.channel import RESERVED, Namespace, binary_variant, check_channel
from mux.wire.http.host import is_loopback
from mux.wire.sse.encoder import GROWTH

PENDING_SHARE = 4
"""A quarter of the memory that all processes of a server may use together is for what waits for clients."""

CALLBACK_FAILED = "a callback of on_gap failed"

GapCallback: TypeAlias = Callable[[Gap], object]
"""Takes a gap; what it returns is awaited if it can be."""

http_protocol = Doorstep
"""The protocol for an app that faces the public, as `app.run(protocol=mux.http_protocol)`. Requests are read strictly,
and bounded in size, time and number, before Sanic sees them; the app's middleware sees them all."""

logger = logging.getLogger("mux")


class Mux:
    """A feed on a Sanic app.

    `mux = Mux(app, redis_url="redis://localhost")`, then `await mux.publish("orders", {"id": 7})`.

    Args:
        app: gets the route /feed/<channel>, and listeners that start and stop the feed with the app.
        ops: also mount /healthz, /readyz and /metrics, and /stats and /channels unless inspect is False; an app
            may have its own. The last three want the inspect_token; without one they let nobody in.
        page: also mount the page at /, which an app has a use of its own for.
        place: where to share numbers with other processes that serve.
        settings: all settings at once; without them, the environment and the options are used.
        options: fields of Settings.

    Raises:
        InvalidSetting: a setting cannot be, there is no redis_url, or app cannot have a Mux: it is a Blueprint, it
            has started, or it has one.
    """

    http_protocol = http_protocol
    """As mux.http_protocol, for a Mux may be called mux."""

    def __init__(
        self,
        app: Sanic[Any, Any],
        *,
        ops: bool = False,
        page: bool = False,
        place: Place | None = None,
        settings: Settings | None = None,
        **options: object,
    ) -> None:
        if settings is not None and options:
            raise InvalidSetting("give either settings or single options, not both")
        self.settings = settings = settings or _load(options)
        _check_app(app)
        if settings.redis_url is None:
            raise InvalidSetting("redis_url is missing; name a Redis, as redis_url='redis://localhost:6379'")
        self._gap_callbacks: list[GapCallback] = []
        self._gap_tasks: set[asyncio.Future[object]] = set()
        self._place = place
        self._has_run = False
        self._begin(settings, settings.redis_url)
        # What is mounted once asks for what each run has of its own.
        mount_feed(app, lambda: self.feed)
        if ops:
            self.mount_ops(app, TokenGate(settings.inspect_token))
        if page:
            Page(settings, inspect=ops and settings.inspect).mount(app)
        app.register_middleware(self._check_host, "request")
        app.before_server_start(self._on_start)
        app.before_server_stop(self._on_stop)
        app.after_server_stop(self._on_stopped)

    def mount_ops(self, app: Sanic[Any, Any], gate: Gate) -> None:
        """Mount the operator's routes; what is mounted once asks for what each run has of its own."""
        Ops(
            conditions=self.conditions, snapshot=lambda: self._observer.snapshot(), gate=gate, hub=lambda: self.hub
        ).mount(app)
        if self.settings.inspect:
            Inspect(lambda: self._inspector, lambda: self.hub, gate).mount(app)

    def _begin(self, settings: Settings, redis_url: str) -> None:
        """Make everything that one run of the app has; an app may run again, as under a client for tests."""
        self.hub = Hub(
            # A message that may be sent can be delivered, as whatever it is encoded.
            max_pending_bytes=max(settings.max_pending_bytes, GROWTH * settings.max_message_bytes),
            max_pending_total_bytes=settings.max_pending_total_bytes
            or memory_limit() // PENDING_SHARE // settings.workers,
            max_unwritable_seconds=settings.max_unwritable_seconds,
            ping_seconds=settings.ping_seconds,
            pong_seconds=settings.pong_seconds,
            max_message_bytes=max(settings.max_message_bytes, ANNOUNCEMENT_BYTES),
            message_seconds=settings.handshake_seconds,
        )
        self._namespace = Namespace(settings.prefix)
        self._journal = Journal(
            max_bytes=settings.journal_bytes,
            max_seconds=settings.journal_seconds,
            talk=self._namespace.redis_channel(RESERVED),
        )
        self._intake = BatchIntake(self.hub, self._journal)
        self._observer = Observer(
            self.hub,
            self._place,
            batch_sizes=self._intake.batch_sizes,
            fan_out_times=self._intake.fan_out_times,
        )
        self._recovery = (
            Recovery(self._intake, self._journal, self.hub.router, self._namespace, rank=lambda mark: 0)
            if self._journal.is_on
            else None
        )
        self.broker = Broker(
            parse_location(redis_url),
            self._namespace.pattern,
            probe_prefix=self._namespace.redis_channel(b"$probe:"),
            probe_seconds=settings.probe_seconds,
            holding=Holding(max_bytes=settings.max_held_bytes, max_seconds=settings.max_held_seconds),
            on_read=self._intake.take,
            on_writable=lambda: self.feed.resume(),
            on_gap=self._after_gap,
            recovery=self._recovery,
        )
        fleet_channel = self._namespace.redis_channel(CHANNEL)
        self._fleet = Fleet(self.broker, fleet_channel)
        self.hub.router.listen(fleet_channel, self._fleet.take)
        self._inspector = Inspector(
            self._fleet,
            self.hub,
            self._observer,
            self._intake,
            prefix=self._namespace.redis_channel(b""),
            gives_names=settings.inspect,
        )
        descriptors = descriptor_limit()
        self.admission: Admission[AnySubscriber] = Admission(
            max_connections=settings.max_connections,
            max_per_address=settings.max_connections_per_address,
            max_descriptors=descriptors_for_clients(descriptors) if descriptors else 0,
        )
        self.feed = Feed(self.hub, self.broker.outbox, settings, self.admission)
        self._timer: asyncio.TimerHandle | None = None
        self._freed = Freed()
        self._goodbyes = Goodbyes(self.hub, seconds=settings.drain_seconds)

    async def publish(
        self,
        channel: str | bytes,
        message: object,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - what was sent by then is told apart
    ) -> None:
        """Publish to a channel and wait until Redis has the message.

        While Redis does not keep up this waits for its turn. If the waiting is cancelled before the message is sent,
        it is not sent.

        Args:
            channel: its name, as in the URL but not percent-encoded.
            message: str is sent as text and bytes as binary; anything else as the text of its JSON.
            timeout: how many seconds to wait in all. With 0 the message is sent now or not at all, and only the answer
                is waited for. Without one it is held for max_held_seconds while there is no connection to Redis.

        Raises:
            InvalidChannel: the name cannot be.
            MessageTooLarge: the message has more than max_message_bytes.
            BrokerUnavailable: nothing was sent, for there is no connection to Redis, or the app is not started.
            BrokerLost: the connection broke, or the time was over, before Redis answered; the message may be published.
            BrokerRefused: Redis did not take it.
            TypeError: orjson cannot encode the message, or it is a str with half of a surrogate pair, which is no text.
        """
        redis_channel = self._namespace.redis_channel(check_channel(channel))
        if isinstance(message, (bytes, bytearray, memoryview)):
            payload = bytes(message)
            redis_channel = binary_variant(redis_channel)
        else:
            payload = _encode(message)
        if len(payload) > self.settings.max_message_bytes:
            self.hub.refused[reasons.TOO_LARGE.counted_as] += 1
            raise MessageTooLarge(
                f"the message has {len(payload)} bytes; at most {self.settings.max_message_bytes} are allowed"
            )
        await self.broker.outbox.publish(redis_channel, payload, timeout_seconds=timeout, is_patient=True)

    def channel_of(self, request: Request) -> str | None:
        """Return the name of the channel a request is for, the very one that is used; for guards in middleware.

        None means that it joins and publishes nowhere: it is for another route, or mux is about to refuse the name.
        """
        if not is_for_feed(request):
            return None
        try:
            return check_channel(channel_name(request)).decode()
        except InvalidChannel:
            return None

    def on_gap(self, callback: GapCallback) -> GapCallback:
        """Have a function called with every Gap: a time in which messages may have been missed.

        It is called in the event loop when messages come again, and must not block; it may be an `async def`, which
        then runs as a task, until the app ends at the latest. What it raises is logged. May be used as a decorator.
        """
        self._gap_callbacks.append(callback)
        return callback

    async def start(self) -> None:
        """Connect to Redis and start the timers. The app does this before it serves, each time it runs.

        Raises:
            BrokerRefused: Redis does not want us.
        """
        if self._has_run:
            assert self.settings.redis_url is not None, "it was checked when this Mux was made"
            self._begin(self.settings, self.settings.redis_url)
        self._has_run = True
        if self._recovery is not None:
            self._recovery.start(self.broker)
        await self.broker.start()
        self._observer.start(self.broker)
        self._fleet.start()
        self._inspector.start()
        self._tick()

    async def drain(self) -> None:
        """Admit nobody any more, and say goodbye to every client with 1001 (going away).

        They are told in batches over drain_seconds. Returns when all are gone, drain_seconds + 3 s later at the
        latest. May be called again, also at the same time: it is done once.
        """
        self.feed.is_draining = True
        await self._goodbyes.drain()

    def conditions(self) -> dict[str, bool]:
        """Return what must be true for clients to be sent here, by name; /readyz answers with it."""
        conditions = {
            "subscribed": self.broker.is_connected,
            "probe_heard": self.broker.is_heard,
            "not_draining": not self.feed.is_draining,
        }
        if self._recovery is not None:
            conditions["journal_copied"] = self._recovery.is_warm
        if self._place is not None:
            conditions["no_worker_stalled"] = "stalled" not in self._place.states()
        return conditions

    async def aclose(self) -> None:
        """Stop the timers and leave Redis, after what was published has been answered."""
        await self._goodbyes.aclose()
        for task in self._gap_tasks:
            task.cancel()
        await asyncio.gather(*self._gap_tasks, return_exceptions=True)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self._inspector.aclose()
        await self._fleet.aclose()
        if self._recovery is not None:
            await self._recovery.aclose()
        await self.broker.aclose()
        self._observer.close()

    def _after_gap(self, gap: Gap) -> None:
        if self.settings.on_gap == "close":
            self._goodbyes.resync()
        for callback in self._gap_callbacks:
            try:
                result = callback(gap)
            except Exception:  # whatever is wrong with it, the feed goes on
                logger.exception(CALLBACK_FAILED)
            else:
                if isawaitable(result):
                    task = asyncio.ensure_future(result)
                    self._gap_tasks.add(task)
                    task.add_done_callback(self._told_gap)

    def _told_gap(self, task: asyncio.Future[object]) -> None:
        self._gap_tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error(CALLBACK_FAILED, exc_info=error)

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self.hub.tick_seconds, self._tick)
        is_much = self._freed.is_much(self.hub.pending_bytes, self.hub.evicted_bytes)
        self.hub.tick(loop.time())
        if is_much:
            give_back_memory()

    def _check_host(self, request: Request) -> HTTPResponse | None:
        """Hold the routes beside the feed to the hosts that are served, as the feed does by itself."""
        is_beside = own_route(request) and not is_for_feed(request)
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
        await self.drain()

    async def _on_stopped(self, app: Sanic[Any, Any]) -> None:
        await self.aclose()


def _check_app(app: Sanic[Any, Any]) -> None:
    """Refuse an app that a Mux cannot be mounted on.

    Raises:
        InvalidSetting: it is none, it runs already, or it has a Mux.
    """
    if not isinstance(app, Sanic):
        raise InvalidSetting(f"Mux(app) takes a Sanic app, not a {type(app).__name__}; routes go on the app itself")
    if app.router.finalized or app.state.server_info:
        raise InvalidSetting("the app has started, and takes no routes any more; make the Mux where the app is made")
    if any(route.name == f"{app.name}.{FEED_ROUTE}" for route in app.router.routes):
        raise InvalidSetting(f"the app {app.name} has a Mux already; one serves all of its channels")


def _encode(message: object) -> bytes:
    if not isinstance(message, str):
        return orjson.dumps(message)
    try:
        return message.encode()
    except UnicodeEncodeError as error:
        raise TypeError(f"the message is no text: {error}") from None


def _load(options: dict[str, object]) -> Settings:
    """Return the settings of a Mux in somebody's app, and log variables that are misspelt."""
    for sentence in unknown_variables():
        logger.warning("%s", sentence)
    return Settings.load(options, in_app=True)


def create_app(
    settings: Settings, place: Place | None = None, ops_sock: socket.socket | None = None
) -> Sanic[Any, Any]:
    """Return the app that `mux serve` serves: nothing but a Mux.

    app.ctx.http_protocol is what to listen with, app.ctx.hub has the clients, and app.ctx.mux_intake the connections
    that are nobody's yet. app.ctx.ops_app has the operator's routes when they have a listener of their own, and is
    None otherwise.

    Args:
        settings: all of them.
        place: where to share numbers with other processes that serve.
        ops_sock: the listener of the operator's routes; None has them on the app.

    Raises:
        InvalidSetting: as Mux.
    """
    app: Sanic[Any, Any] = Sanic("mux", configure_logging=False, error_handler=PlainErrors())
    mux = Mux(app, settings=settings, ops=ops_sock is None, page=settings.page, place=place)
    app.ctx.ops_app = None if ops_sock is None else _ops_app(mux, ops_sock)
    # Where all routes are mux' own, what has no route is held to the hosts that are served as well.
    app.register_middleware(lambda of: None if of.route else mux.feed.refusal_of_host(of), "request")
    app.ctx.hub = mux.hub
    app.ctx.mux_intake = Intake(
        app,
        head_seconds=settings.handshake_seconds,
        kept_seconds=settings.keep_alive_seconds,
        answer_seconds=app.config.RESPONSE_TIMEOUT,
        max_body_bytes=settings.max_message_bytes,
        wants_body=lambda method, target: method == "POST" and target.startswith("/feed/"),
        refused=mux.hub.refused,
        admission=mux.admission,
        clients=mux.hub.__len__,
        join=lambda request, channel: mux.feed.join_at_once(request, channel),
        sharing=lambda request: mux.feed.sharing(request),
    )
    app.ctx.http_protocol = http_protocol
    return app


def _ops_app(mux: Mux, sock: socket.socket) -> Sanic[Any, Any]:
    """Return an app of the operator's routes alone, for a listener of their own."""
    settings = mux.settings
    app: Sanic[Any, Any] = Sanic("mux-ops", configure_logging=False, error_handler=PlainErrors())
    app.config.TOUCHUP = False  # Sanic rewrites its own classes once in a process, and does so for the other app
    mux.mount_ops(app, _ops_gate(settings, sock))
    app.ctx.mux_intake = Intake(
        app,
        head_seconds=settings.handshake_seconds,
        kept_seconds=settings.keep_alive_seconds,
        answer_seconds=app.config.RESPONSE_TIMEOUT,
        max_body_bytes=0,
        wants_body=lambda method, target: False,
        refused=mux.hub.refused,
        join=lambda request, channel: False,  # nothing here is a WebSocket, so an upgrade is ignored
    )
    return app


def _ops_gate(settings: Settings, sock: socket.socket) -> Gate:
    """Return who may see the numbers on a listener: this machine alone, or who has the token."""
    if is_of_this_machine(sock):
        return LocalGate(is_unix=sock.family == socket.AF_UNIX)
    return TokenGate(settings.inspect_token)


def is_of_this_machine(sock: socket.socket) -> bool:
    """Tell whether nobody but this machine can reach a listening socket."""
    return sock.family == socket.AF_UNIX or is_loopback(str(sock.getsockname()[0]))
