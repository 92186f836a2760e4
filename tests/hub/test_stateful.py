"""A hub, its clients and Redis under random operations, beside a model that is plain sets and lists.

The clock and the sockets are not real, so an hour of eviction, silence and reconnecting takes
milliseconds. A socket tells of its end later, as an event loop does: between abort() and lost() anything
may happen.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mux.hub.hub import Hub
from mux.wire.resp import Push
from tests.hub.fakes import FakeClient

CHANNELS = (b"feed:a", b"feed:b", b"feed:c")
MAX_PENDING = 200
MAX_UNWRITABLE = 3.0
PING_SECONDS, PONG_SECONDS = 10.0, 4.0

which = st.integers(0, 7)
channels = st.sampled_from(CHANNELS)


class Model:
    """What is expected of one client.

    Attributes:
        joined: the channels it is on.
        expected: for each channel, the payloads it must have received, in order.
        is_lost: True when its socket has told of its end.
    """

    def __init__(self, hub: Hub) -> None:
        self.client = FakeClient(hub)
        self.joined: set[bytes] = set()
        self.expected: dict[bytes, list[bytes]] = {channel: [] for channel in CHANNELS}
        self.is_closing = False
        self.is_lost = False

    def received(self, channel: bytes) -> list[bytes]:
        """Return the payloads of a channel that were written to the client, in order; some wait for its socket."""
        written = b"".join(self.client.written) + bytes(self.client.subscriber.behind or b"")
        lines = written.replace(b"ping", b"").splitlines()
        return [line for line in lines if line.startswith(channel + b" ")]


class HubAgainstModel(RuleBasedStateMachine):
    """Join, leave, publish, disconnect, be slow, be silent, be evicted, lose Redis and have it back."""

    def __init__(self) -> None:
        super().__init__()
        self.hub = Hub(
            max_pending_bytes=MAX_PENDING,
            max_unwritable_seconds=MAX_UNWRITABLE,
            ping_seconds=PING_SECONDS,
            pong_seconds=PONG_SECONDS,
        )
        self.models: list[Model] = []
        self.now = 1000.0
        self.serial = 0
        self.in_redis: list[Push] = []
        self.is_redis_there = True

    def model(self, number: int) -> Model | None:
        """Return one of the clients whose socket has not told of its end, if there is one."""
        present = [model for model in self.models if not model.is_lost]
        return present[number % len(present)] if present else None

    @rule()
    def connect(self) -> None:
        if len(self.models) < 12:
            model = Model(self.hub)
            self.models.append(model)
            self.hub.connected(model.client.subscriber)

    @rule(number=which, channel=channels)
    def join(self, number: int, channel: bytes) -> None:
        model = self.model(number)
        if model is not None and not model.is_closing:
            self.hub.router.join(model.client.subscriber, channel)
            model.joined.add(channel)

    @rule(number=which, channel=channels)
    def leave(self, number: int, channel: bytes) -> None:
        model = self.model(number)
        if model is not None:
            self.hub.router.leave(model.client.subscriber, channel)
            model.joined.discard(channel)

    @rule(channel=channels, count=st.integers(1, 4))
    def publish(self, channel: bytes, count: int) -> None:
        for _ in range(count):
            self.serial += 1
            payload = b"%b %d" % (channel, self.serial)
            if self.is_redis_there:  # Redis keeps nothing for who is away
                self.in_redis.append([b"pmessage", b"feed:*", channel, payload])

    @precondition(lambda self: self.in_redis)
    @rule()
    def deliver(self) -> None:
        """Let what is on its way from Redis come, as one batch."""
        batch, self.in_redis = self.in_redis, []
        for model in self.models:
            for _, _, channel, payload in batch:
                if channel in model.joined and not model.client.is_broken:
                    model.expected[channel].append(payload)
        self.hub.dispatch(batch)

    @rule()
    def lose_redis(self) -> None:
        """What was on its way is gone; clients and their channels stay."""
        self.is_redis_there = False
        self.in_redis.clear()

    @rule()
    def find_redis(self) -> None:
        self.is_redis_there = True

    @rule(number=which)
    def stop_reading(self, number: int) -> None:
        if (model := self.model(number)) is not None:
            model.client.takes_nothing = True

    @rule(number=which)
    def read_all(self, number: int) -> None:
        if (model := self.model(number)) is not None and model.client.takes_nothing:
            model.client.take_all()

    @rule(number=which)
    def say_something(self, number: int) -> None:
        if (model := self.model(number)) is not None:
            model.client.subscriber.data_received(b"pong")

    @rule(number=which)
    def say_goodbye(self, number: int) -> None:
        """Close as an endpoint does: leave, and have a little time to end."""
        if (model := self.model(number)) is not None and not model.is_closing:
            model.is_closing = True
            self.hub.router.leave_all(model.client.subscriber)
            model.joined.clear()
            self.hub.closing(model.client.subscriber)

    @rule(number=which)
    def close_handle(self, number: int) -> None:
        """From now on a write raises, as uvloop's does between the end and connection_lost(); what waits is lost."""
        if (model := self.model(number)) is not None:
            model.client.is_broken = True
            if model.client.subscriber.behind is not None:
                model.client.subscriber.behind.clear()
            model.expected = {channel: model.received(channel) for channel in CHANNELS}

    @rule(number=which)
    def lose(self, number: int) -> None:
        """Have a socket tell of its end, whoever ended it, as an endpoint hears it."""
        if (model := self.model(number)) is not None:
            left = self.hub.router.leave_all(model.client.subscriber)
            assert set(left) == model.joined
            self.hub.disconnected(model.client.subscriber)
            model.joined.clear()
            model.is_lost = True

    @rule(ticks=st.integers(1, 40))
    def pass_time(self, ticks: int) -> None:
        for _ in range(ticks):
            self.now += self.hub.tick_seconds
            self.hub.tick(self.now)

    @invariant()
    def both_indexes_agree(self) -> None:
        for channel in CHANNELS:
            listening = {model.client.subscriber for model in self.models if channel in model.joined}
            assert set(self.hub.router.subscribers(channel)) == listening
        for model in self.models:
            assert set(self.hub.router.channels(model.client.subscriber)) == model.joined
        assert len(self.hub.router) == len({channel for model in self.models for channel in model.joined})

    @invariant()
    def everything_is_delivered_once_in_order_and_nothing_after_leaving(self) -> None:
        for model in self.models:
            for channel in CHANNELS:
                assert model.received(channel) == model.expected[channel]

    @invariant()
    def nobody_has_too_much_pending(self) -> None:
        for model in self.models:
            assert model.client.pending <= MAX_PENDING or model.client.is_closing()

    @invariant()
    def every_connection_is_watched_once(self) -> None:
        present = [model for model in self.models if not model.is_lost]
        assert len(self.hub) == len(present)
        is_open = {model.client.subscriber for model in present if not model.is_closing}
        assert set(self.hub.open_connections()) == is_open
        closing = {model.client.subscriber for model in present if model.is_closing}
        assert set(self.hub.closing_connections()) <= closing

    def teardown(self) -> None:
        """When all have left, everything is empty, and a slow or silent one was ended in time."""
        while self.model(0) is not None:
            self.lose(0)
        self.hub.dispatch([[b"pmessage", b"feed:*", channel, b"late"] for channel in CHANNELS])
        self.hub.tick(self.now + 1000)
        assert (len(self.hub), len(self.hub.router)) == (0, 0)
        assert (self.hub.open_connections(), self.hub.closing_connections()) == ([], [])
        assert not len(self.hub._unwritable)
        assert not self.hub._waiting.overflowing
        self.everything_is_delivered_once_in_order_and_nothing_after_leaving()


TestHubAgainstModel = HubAgainstModel.TestCase
TestHubAgainstModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_who_takes_nothing_or_says_nothing_is_gone_in_time() -> None:
    """The machine above does not ask when; this does."""
    hub = Hub(
        max_pending_bytes=MAX_PENDING,
        max_unwritable_seconds=MAX_UNWRITABLE,
        ping_seconds=PING_SECONDS,
        pong_seconds=PONG_SECONDS,
    )
    slow, silent = Model(hub), Model(hub)
    for model in (slow, silent):
        hub.connected(model.client.subscriber)
        hub.router.join(model.client.subscriber, b"feed:a")
    slow.client.takes_nothing = True
    now = 0.0
    hub.tick(now)
    hub.dispatch([[b"pmessage", b"feed:*", b"feed:a", b"hi"]])
    while now < PING_SECONDS + PONG_SECONDS + 1:
        now += hub.tick_seconds
        hub.tick(now)
        if now > MAX_UNWRITABLE + hub.tick_seconds:
            assert slow.client.aborts == 1
    assert (slow.client.aborts, silent.client.aborts) == (1, 1)
    assert hub.evicted == {"unwritable": 1, "silent": 1}
