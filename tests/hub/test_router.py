from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mux.errors import BrokerGarbled
from mux.hub.router import Router
from mux.wire.publication import BINARY, GUESS, JOINED, LEFT, Publication
from mux.wire.resp import Push

from .fakes import FakeClient, late_after, lines


class RecordingEncoder:
    """Encodes like lines(), with a name in front, and keeps what it was asked for."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.channels: list[bytes] = []
        self.batches: list[list[Publication]] = []

    def __call__(self, channel: bytes, publications: Sequence[Publication]) -> bytes:
        self.channels.append(channel)
        self.batches.append(list(publications))
        return self.render(publications)

    def render(self, publications: Sequence[Publication]) -> bytes:
        """Return what a call returns, without keeping anything."""
        return self.name + b":" + lines(b"", publications)


def message(channel: bytes, payload: bytes) -> Push:
    """Return a message as it comes from Redis."""
    return [b"pmessage", b"feed:*", channel, payload]


@pytest.fixture
def router() -> Router:
    """Nobody listens to anything."""
    return Router()


def listener(router: Router, *channels: bytes, encode: RecordingEncoder | None = None) -> FakeClient:
    """Return a client that listens to channels."""
    client = FakeClient(encode=encode or lines)
    for channel in channels:
        router.join(client.subscriber, channel)
    return client


def test_a_message_reaches_every_subscriber_of_its_channel(router: Router) -> None:
    """And nobody of another."""
    alice, bob, carol = listener(router, b"a"), listener(router, b"a"), listener(router, b"b")
    router.dispatch([message(b"a", b"hi")])
    assert (alice.written, bob.written, carol.written) == ([b"hi\n"], [b"hi\n"], [])


def test_a_batch_is_one_write_in_the_order_of_redis(router: Router) -> None:
    """Three messages, one buffer, and the same object for everybody."""
    alice, bob = listener(router, b"a"), listener(router, b"a")
    router.dispatch([message(b"a", b"1"), message(b"b", b"x"), message(b"a", b"2"), message(b"a", b"3")])
    assert alice.written == [b"1\n2\n3\n"]
    assert alice.written[0] is bob.written[0]


def test_a_subscriber_of_two_channels_is_written_to_once_for_each(router: Router) -> None:
    """Each channel's messages are one buffer."""
    alice = listener(router, b"a", b"b")
    router.dispatch([message(b"a", b"1"), message(b"b", b"2"), message(b"a", b"3")])
    assert sorted(alice.written) == [b"1\n3\n", b"2\n"]


def test_the_marked_channel_is_the_plain_channel_in_binary(router: Router) -> None:
    """Subscribers of the plain one get both, in the order Redis gave."""
    alice = listener(router, b"a")
    router.dispatch([message(b"a", b"1"), message(b"a\x00", b"2"), message(b"a", b"3")])
    assert alice.written == [b"1\n[2]\n3\n"]


@pytest.mark.parametrize("channel", [b"b", b"b\x00", b"a\x00\x00", b"a\x04", b"A", b"\x00"])
def test_an_unheard_message_is_counted_and_not_encoded(router: Router, channel: bytes) -> None:
    """What nobody listens to, marked or not, costs a lookup."""
    encode = RecordingEncoder(b"text")
    alice = listener(router, b"a", encode=encode)
    router.dispatch([message(channel, b"hi")])
    assert (router.received, router.unheard, router.delivered) == (1, 1, 0)
    assert (encode.batches, alice.written) == ([], [])


def test_each_encoding_is_made_once_for_a_batch_and_a_channel(router: Router) -> None:
    """However its subscribers are mixed; what nobody there reads is not made."""
    text, push, unused = RecordingEncoder(b"text"), RecordingEncoder(b"push"), RecordingEncoder(b"unused")
    texts = [listener(router, b"a", encode=text) for _ in range(5)]
    pushes = [listener(router, b"a", encode=push) for _ in range(5)]
    listener(router, b"b", encode=unused)
    router.dispatch([message(b"a", b"1"), message(b"a", b"2")])
    assert (len(text.batches), len(push.batches), len(unused.batches)) == (1, 1, 0)
    assert {client.written[0] for client in texts} == {b"text:1\n2\n"}
    assert {client.written[0] for client in pushes} == {b"push:1\n2\n"}


def test_an_encoder_is_given_the_plain_channel_of_each_batch(router: Router) -> None:
    """Whether one listens or several, and whatever the messages are marked with."""
    push = RecordingEncoder(b"push")
    listener(router, b"a", b"b", encode=push)
    listener(router, b"b", encode=push)
    router.dispatch([message(b"a\x00", b"1"), message(b"b", b"2"), message(b"b\x01", b"3")])
    assert push.channels == [b"a", b"b"]


def test_a_client_that_is_gone_does_not_stop_the_others(router: Router) -> None:
    """Every other one of a hundred has a closed handle; the rest get the message."""
    clients = [listener(router, b"a") for _ in range(100)]
    for client in clients[::2]:
        client.is_broken = True
    router.dispatch([message(b"a", b"hi")])
    assert {len(client.written) for client in clients[1::2]} == {1}


def test_joining_twice_is_joining_once(router: Router) -> None:
    """One delivery, and one leave is enough."""
    alice = listener(router, b"a", b"a")
    router.dispatch([message(b"a", b"hi")])
    assert alice.written == [b"hi\n"]
    router.leave(alice.subscriber, b"a")
    assert len(router) == 0


def test_leaving_a_channel_one_is_not_in_is_nothing(router: Router) -> None:
    """Neither one's own channels nor the others of that channel are touched."""
    alice, bob = listener(router, b"a"), listener(router, b"b")
    for channel in (b"b", b"nowhere"):
        router.leave(alice.subscriber, channel)
    assert list(router.subscribers(b"a")) == [alice.subscriber]
    assert list(router.subscribers(b"b")) == [bob.subscriber]
    assert list(router.channels(alice.subscriber)) == [b"a"]


def test_leaving_all_returns_the_channels_once(router: Router) -> None:
    """Who left has nothing to be announced again."""
    alice = listener(router, b"a", b"b")
    assert sorted(router.leave_all(alice.subscriber)) == [b"a", b"b"]
    assert router.leave_all(alice.subscriber) == []


def test_a_channel_of_one_has_no_set(router: Router) -> None:
    """Nor has a subscriber of one channel: together that is most of what a million channels cost."""
    alice, bob = listener(router, b"a"), listener(router, b"a")
    router.leave(bob.subscriber, b"a")
    assert router._subscribers == {b"a": alice.subscriber}
    assert (alice.subscriber.joined, bob.subscriber.joined) == (b"a", None)


def test_counters_count_messages_and_deliveries(router: Router) -> None:
    """One message to two subscribers is received once and delivered twice."""
    listener(router, b"a")
    listener(router, b"a", b"b")
    router.dispatch([message(b"a", b"1"), message(b"a\x00", b"2"), message(b"b", b"3"), message(b"c", b"4")])
    router.dispatch([])
    assert (router.received, router.unheard, router.delivered) == (4, 1, 5)


CLIENTS = st.integers(0, 5)
CHANNELS = st.sampled_from([b"feed:a", b"feed:b", b"feed:aa", b"feed:"])


class RouterAgainstModel(RuleBasedStateMachine):
    """A router and a set of (client, channel) pairs under the same random operations."""

    def __init__(self) -> None:
        super().__init__()
        self.router = Router()
        self.encoders = [RecordingEncoder(b"text"), RecordingEncoder(b"push")]
        self.clients = [FakeClient(encode=self.encoders[number % 2]) for number in range(6)]
        self.pairs: set[tuple[int, bytes]] = set()
        self.serial = 0
        self.counts: Counter[str] = Counter()

    @rule(client=CLIENTS, channel=CHANNELS)
    def join(self, client: int, channel: bytes) -> None:
        self.router.join(self.clients[client].subscriber, channel)
        self.pairs.add((client, channel))

    @rule(client=CLIENTS, channel=CHANNELS)
    def leave(self, client: int, channel: bytes) -> None:
        self.router.leave(self.clients[client].subscriber, channel)
        self.pairs.discard((client, channel))

    @rule(client=CLIENTS)
    def leave_all(self, client: int) -> None:
        left = self.router.leave_all(self.clients[client].subscriber)
        assert sorted(left) == sorted(channel for member, channel in self.pairs if member == client)
        self.pairs = {pair for pair in self.pairs if pair[0] != client}

    @rule(client=CLIENTS)
    def close_or_reopen_handle(self, client: int) -> None:
        self.clients[client].is_broken = not self.clients[client].is_broken

    @rule(batch=st.lists(st.tuples(CHANNELS, st.sampled_from([b"", b"\x00", b"\x01", b"\x02"])), max_size=8))
    def dispatch(self, batch: list[tuple[bytes, bytes]]) -> None:
        publications: dict[bytes, list[Publication]] = {}
        messages: list[Push] = []
        for channel, mark in batch:
            self.serial += 1
            payload = b"%d" % self.serial
            kind = {b"": GUESS, b"\x00": BINARY, b"\x01": JOINED, b"\x02": LEFT}[mark]
            publications.setdefault(channel, []).append((payload, kind, self.serial))
            messages.append(message(channel + mark, payload))
        self.router.dispatch(messages, self.serial - len(messages) + 1)
        self.check_deliveries(publications)
        self.check_encodings(publications)

    def check_deliveries(self, publications: dict[bytes, list[Publication]]) -> None:
        """Each client has one write for each of its channels in the batch; across channels no order is promised."""
        for number, client in enumerate(self.clients):
            own = [publications[channel] for channel in publications if (number, channel) in self.pairs]
            expected = [] if client.is_broken else [self.encoders[number % 2].render(batch) for batch in own]
            assert sorted(client.written) == sorted(expected)
            client.written.clear()
            self.counts["delivered"] += sum(map(len, own))
        heard = {channel for _, channel in self.pairs}
        self.counts["received"] += sum(map(len, publications.values()))
        self.counts["unheard"] += sum(len(batch) for channel, batch in publications.items() if channel not in heard)

    def check_encodings(self, publications: dict[bytes, list[Publication]]) -> None:
        """Each encoding is made once for each channel that has a subscriber who reads it."""
        for kind, encoder in enumerate(self.encoders):
            wanted = {channel for number, channel in self.pairs if number % 2 == kind} & publications.keys()
            assert sorted(encoder.batches) == sorted(publications[channel] for channel in wanted)
            encoder.batches.clear()

    @invariant()
    def both_directions_agree(self) -> None:
        for channel in (b"feed:a", b"feed:b", b"feed:aa", b"feed:"):
            listening = {self.clients[number].subscriber for number, joined in self.pairs if joined == channel}
            assert set(self.router.subscribers(channel)) == listening
        for number, client in enumerate(self.clients):
            joined = {channel for member, channel in self.pairs if member == number}
            assert set(self.router.channels(client.subscriber)) == joined

    @invariant()
    def only_channels_with_subscribers_are_kept(self) -> None:
        assert len(self.router) == len({channel for _, channel in self.pairs})

    @invariant()
    def counters_agree(self) -> None:
        router = self.router
        counts = (router.received, router.unheard, router.delivered)
        assert counts == (self.counts["received"], self.counts["unheard"], self.counts["delivered"])

    def teardown(self) -> None:
        for client in self.clients:
            self.router.leave_all(client.subscriber)
        assert len(self.router) == 0
        assert all(not self.router.is_listening(client.subscriber) for client in self.clients)


TestRouterAgainstModel = RouterAgainstModel.TestCase


def test_a_message_over_the_limit_is_dropped_and_counted() -> None:
    """Any Redis client may publish what no client of ours could; it is not fanned out."""
    router = Router(max_message_bytes=3)
    client = FakeClient()
    router.join(client.subscriber, b"c")
    router.dispatch([[b"pmessage", b"*", b"c", payload] for payload in (b"abcd", b"abc", b"abcd")])
    assert (client.written, router.oversized, router.unheard) == ([lines(b"", [(b"abc", GUESS, 2)])], 2, 0)


@pytest.mark.parametrize(
    "push", [[b"pmessage", b"feed:*", b"feed:a"], [b"pmessage"], [b"pmessage", b"", b"", b"", b""]]
)
def test_message_that_has_not_four_items_is_garbled(router: Router, push: Push) -> None:
    """Nobody could say what of it is the payload; it once raised ValueError into the event loop."""
    client = FakeClient()
    router.join(client.subscriber, b"feed:a")
    with pytest.raises(BrokerGarbled):
        router.dispatch([message(b"feed:a", b"hi"), push])
    assert router.delivered == 0


def test_a_channel_of_the_process_itself_counts_nowhere() -> None:
    """Its messages may have any size and are not the feed's; a client on the next channel is served as ever."""
    router = Router(max_message_bytes=2)
    heard: list[tuple[bytes, int]] = []
    router.listen(b"$own", lambda payload, number: heard.append((payload, number)))
    client = listener(router, b"a")
    batch = [message(b"$own", b"long"), message(b"a", b"hi"), message(b"$own", b""), message(b"a", b"long")]
    assert router.dispatch(batch, 5)
    assert heard == [(b"long", 5), (b"", 7)]
    assert client.written == [b"hi\n"]
    assert (router.received, router.unheard, router.oversized, router.delivered) == (2, 0, 1, 1)
    assert len(router) == 1


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["join", "leave"]), CLIENTS, CHANNELS),
        st.tuples(st.just("batch"), st.lists(CHANNELS, min_size=1, max_size=6)),
        st.tuples(st.just("deliver"), st.sampled_from([None, 1, 2])),
    )
)


@given(STEPS)
def test_what_is_delivered_later_is_what_would_have_been_delivered_at_once(steps: list[Any]) -> None:
    """Each client gets the same of each channel, in the same order, whoever joins and leaves while batches wait."""
    prompt, late = Router(), Router()
    clients = [[FakeClient() for _ in range(6)] for _ in range(2)]
    serial = 0
    for what, *args in steps:
        if what == "batch":
            batch = [message(channel, b"%b %d" % (channel, serial + at)) for at, channel in enumerate(args[0], 1)]
            prompt.dispatch(batch, serial + 1)
            late.collect(batch, serial + 1)
            serial += len(batch)
        elif what == "deliver":
            late.deliver(None if args[0] is None else late_after(args[0]))
        else:
            for router, own in zip((prompt, late), clients, strict=True):
                getattr(router, what)(own[args[0]].subscriber, args[1])
    while late.deliver(late_after(1)):
        pass
    for one, other in zip(*clients, strict=True):
        sent = [b"".join(client.written).splitlines() for client in (one, other)]
        assert sorted(sent[0]) == sorted(sent[1])
        for channel in (b"feed:a", b"feed:b", b"feed:aa", b"feed:"):
            parts = [[line for line in lines if line.split(b" ")[0] == channel] for lines in sent]
            assert parts[0] == parts[1]
    assert (late.received, late.unheard, late.delivered) == (prompt.received, prompt.unheard, prompt.delivered)


def test_of_a_batch_that_is_garbled_nothing_waits(router: Router) -> None:
    """What waited before it is delivered."""
    client = listener(router, b"a")
    router.collect([message(b"a", b"1")])
    with pytest.raises(BrokerGarbled):
        router.collect([message(b"a", b"2"), [b"pmessage"]])
    router.deliver()
    assert client.written == [b"1\n"]


def test_what_waits_is_delivered_before_the_process_itself_hears(router: Router) -> None:
    """What processes tell each other is of what came before it."""
    client = listener(router, b"a")
    seen: list[list[bytes]] = []
    router.listen(b"$own", lambda payload, number: seen.append(list(client.written)))
    router.collect([message(b"a", b"1")])
    assert router.collect([message(b"a", b"2"), message(b"$own", b"")])
    assert seen == [[b"1\n2\n"]]
