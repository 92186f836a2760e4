"""Everything that a process needs for one run of an app with a feed, made and joined here.

    broker ── batches ──► hub ──► sockets
       ▲                   ▲
       └──── endpoints ────┘

1. A run begins with start(); its clients are ended by drain(), and the broker and the timers by aclose().
2. It is used once. The next run of the app has a Core of its own, with another hub and another broker.
"""

from __future__ import annotations

import asyncio
from time import time

from mux.backend.backend import Backend
from mux.backend.backend import Parts as BackendParts
from mux.backend.once import Once
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
from mux.endpoints.past import Past
from mux.endpoints.sdk.rpc import Rpcs
from mux.endpoints.sdk.sdk import Sdk
from mux.endpoints.sdk.subscriptions import Parts
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
from mux.machine import Freed, descriptor_limit, give_back_memory, memory_limit
from mux.metrics.board import Row
from mux.metrics.catalogue import Snapshot
from mux.metrics.observer import Observer
from mux.presence.acts import Acts, Deeds
from mux.presence.presence import Presence
from mux.recovery.listener import Listeners
from mux.recovery.recovery import Recovery
from mux.settings.settings import Settings
from mux.wire.channel import RESERVED, Namespace
from mux.wire.sse.encoder import GROWTH

PENDING_SHARE = 4
"""Messages that wait for clients may take one part in this many of the memory of all processes of a server."""

LOOK_SECONDS = 1.0
"""Seconds between two looks at the memory of this process: has much become free?"""


class Core:
    """Everything that a process needs for one run of an app with a feed.

    Args:
        settings: all of them, with a redis_url.
        hooks: what the app has to say.
        calls: calls the app's functions.
        rpcs: the app's functions that clients may call.
        row: where to share numbers with other processes that serve.
    """

    def __init__(self, settings: Settings, hooks: Hooks, calls: Calls, rpcs: Rpcs, row: Row | None = None) -> None:
        assert settings.redis_url is not None
        self.settings = settings
        self._hooks = hooks
        self._calls = calls
        self._row = row
        self.namespace = Namespace(settings.prefix)
        self.hub = _hub(settings, self.namespace)
        self._journal = Journal(
            max_bytes=settings.journal_bytes,
            max_seconds=settings.journal_seconds,
            talk=self.namespace.redis_channel(RESERVED),
            is_channel=self.namespace.has_channel,
        )
        read_seconds = None if settings.gather_ms == "auto" else settings.gather_ms / 1000
        self._intake = BatchIntake(self.hub, self._journal, read_seconds)
        self.observer = Observer(
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
            parse_location(settings.redis_url),
            self.namespace.pattern,
            probe_prefix=self.namespace.redis_channel(b"$probe:"),
            probe_seconds=settings.probe_seconds,
            holding=Holding(max_bytes=settings.max_held_bytes, max_seconds=settings.max_held_seconds),
            on_read=self._intake.take,
            on_writable=self._resume,
            on_gap=self._after_gap,
            recovery=self._recovery,
        )
        self._intake.pause_reading = self.broker.pause_reading
        fleet_channel = self.namespace.redis_channel(CHANNEL)
        self._fleet = Fleet(self.broker, fleet_channel)
        self.hub.router.listen(fleet_channel, self._fleet.take)
        self.inspector = Inspector(
            self._fleet,
            self.hub,
            self.observer,
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
            self._fleet,
            self.hub,
            self.namespace,
            Deeds(
                lambda client, until: self.sdk.served.renew(client, until),
                lambda client, channel: self.sdk.served.unsubscribe(client, channel),
                lambda client, act: self.sdk.served.subscribe(client, act),
            ),
            settings.api_key,
        )
        self._authority = Authority(settings)
        self.feed = Feed(self.hub, self.broker.outbox, settings, self._authority, hooks, self.past)
        feed = self.feed
        self.sdk = Sdk(
            Parts(self.hub, feed.checks, feed.members, self.past, feed.catch_up),
            self.broker.outbox,
            hooks,
            rpcs,
            self.presence,
            settings,
        )
        self._once = Once(self.broker.ask, self.namespace.redis_channel(b"$copy:once:"))
        self.backend = Backend(
            BackendParts(self.hub, self.broker.outbox, self.past, self.inspector, self.presence, self.acts, self._once),
            settings,
        )
        self.listeners = Listeners(self.hub.router, None if self.past is None else self.past.history)
        self._timer: asyncio.TimerHandle | None = None
        self._freed = Freed()
        self._look_at = 0.0
        self._gap_news = GapNews(self.hub)
        self._goodbyes = Goodbyes(self.hub, seconds=settings.drain_seconds)

    async def start(self) -> None:
        """Connect to Redis and start the timers; once, before the app serves.

        Raises:
            BrokerRefused: Redis does not want us.
        """
        if self._recovery is not None:
            self._recovery.start(self.broker)
        await self.broker.start()
        self._authority.start()
        self.observer.start(self.broker)
        self._fleet.start()
        self.inspector.start()
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
        return self.observer.own_snapshot()

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
        await self.inspector.aclose()
        await self.presence.aclose()
        await self.acts.aclose()
        await self.sdk.aclose()
        await self.feed.aclose()
        await self._authority.aclose()
        await self._fleet.aclose()
        if self._recovery is not None:
            await self._recovery.aclose()
        await self.broker.aclose()
        self._intake.close()
        self.observer.close()

    def _rank(self, mark: str) -> int:
        return self._fleet.rank(mark)

    def _resume(self) -> None:
        """Go on with the clients that had to wait: Redis keeps up again."""
        self.feed.resume()
        self.sdk.endpoint.resume()

    def _after_gap(self, gap: Gap) -> None:
        self.sdk.subscriptions.offsets.doubt()
        if self.settings.on_gap == "close":
            self._goodbyes.resync()
        else:
            self._gap_news.tell(gap)
        self._calls.tell("on_gap", self._hooks.gap, gap)

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
        self.sdk.tick(now)


def _hub(settings: Settings, namespace: Namespace) -> Hub:
    """Return the hub of a process with these settings."""
    descriptors = descriptor_limit()
    return Hub(
        # A message that may be sent can be delivered, as whatever it is encoded.
        max_pending_bytes=max(settings.max_pending_bytes, GROWTH * settings.max_message_bytes),
        max_pending_total_bytes=settings.max_pending_total_bytes or memory_limit() // PENDING_SHARE // settings.workers,
        max_unwritable_seconds=settings.max_unwritable_seconds,
        ping_seconds=settings.ping_seconds,
        pong_seconds=settings.pong_seconds,
        max_message_bytes=max(settings.max_message_bytes, ANNOUNCEMENT_BYTES[settings.announce_as]),
        message_seconds=settings.handshake_seconds,
        is_channel=namespace.has_channel,
        admission=Admission(
            max_connections=settings.max_connections,
            max_per_address=settings.max_connections_per_address,
            max_descriptors=descriptors_for_clients(descriptors) if descriptors else 0,
        ),
    )
