"""What a client sends is handled slice by slice: nothing is lost, and nobody holds the loop.

Without a network, so that every turn of the loop can be looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mux import reasons
from mux.endpoints.dialect import CompressedSession, WebSocketClient, WebSocketSession
from mux.endpoints.turns import FRAMES_PER_SLICE, FRAMES_PER_TURN, LEAST_COST, LIGHT_BYTES, LIGHT_FRAMES
from mux.endpoints.websocket import WebSocketEndpoint
from mux.hub.allowance import Allowance, Pace
from mux.hub.hub import Hub
from mux.hub.subscriber import Subscriber
from mux.reasons import Reason
from mux.wire.deflate import END, deflated
from mux.wire.websocket.encoder import encode
from mux.wire.websocket.parser import INFLATED_PER_FRAME, WebSocketParser
from tests.hub.fakes import FakeClient

KEY = b"\x00\x00\x00\x00"
PING = b"\x89\x80" + KEY
CLOSE = b"\x88\x82" + KEY + b"\x03\xe8"
CLOSE_ECHO = b"\x88\x02\x03\xe8"
LIMIT = 65536


def text(payload: bytes) -> bytes:
    """Return a client's frame with a short text."""
    return b"\x81%c%b%b" % (0x80 | len(payload), KEY, payload)


def numbered(count: int) -> list[bytes]:
    """Return so many different messages of four bytes."""
    return [b"%04d" % number for number in range(count)]


class Rig:
    """An endpoint, what its clients have published, and whether there is room for more.

    Args:
        pace: how fast they may speak.
    """

    def __init__(self, pace: Pace[WebSocketClient] | None = None) -> None:
        self.hub = Hub(max_pending_bytes=1 << 20, max_unwritable_seconds=10, ping_seconds=25, pong_seconds=10)
        self.room = 10**9
        self.published: list[bytes] = []
        self.endpoint = WebSocketEndpoint(
            self.hub,
            max_message_bytes=LIMIT,
            on_message=self._publish,
            on_leave=lambda client, channels: None,
            pace=pace or Pace(None, None),
            is_writable=lambda: self.room > 0,
        )

    def _publish(self, client: WebSocketClient, payload: bytes, binary: bool) -> None:
        assert self.room > 0, "published while there is no room"
        self.room -= 1
        self.published.append(payload)

    def connect(self) -> FakeClient:
        """Return a client in a channel."""
        client = FakeClient(self.hub)
        client.ends_one_side = True
        client.subscriber = Subscriber(client, endpoint=self.endpoint, encode=encode, backlog=self.hub)
        client.subscriber.session = WebSocketSession(publishes_to=b"feed:lobby")
        self.hub.connected(client.subscriber)
        self.hub.router.join(client.subscriber, b"feed:lobby")
        return client

    def make_room(self, count: int = 10**9) -> None:
        """Have room for so many messages, and say so."""
        self.room = count
        self.endpoint.resume()

    async def settle(self, *clients: FakeClient) -> None:
        """Let turns pass until all is handled that there is room for."""
        before = -1
        while before != len(self.published) or (self.room > 0 and any(c.is_reading_paused for c in clients)):
            before = len(self.published)
            await asyncio.sleep(0)


async def test_one_read_of_many_frames_takes_many_turns() -> None:
    """42,000 messages in one read once held the loop for a tenth of a second and more; and all come, in order."""
    rig = Rig()
    client = rig.connect()
    messages = numbered(5000)
    client.subscriber.data_received(b"".join(map(text, messages)))
    assert rig.published == messages[:FRAMES_PER_SLICE]
    seen = len(rig.published)
    while len(rig.published) < len(messages):
        assert client.is_reading_paused
        await asyncio.sleep(0)
        assert 0 < len(rig.published) - seen <= FRAMES_PER_TURN
        seen = len(rig.published)
    assert rig.published == messages
    assert not client.is_reading_paused


FLOODS = {
    "messages": text(b"x"),
    "pings": PING,
    "pongs": b"\x8a\x80" + KEY,
    "fragments": b"\x01\x80" + KEY + (b"\x00\x81" + KEY + b"x") * 8 + b"\x80\x80" + KEY,
    "closes": CLOSE,
}


@pytest.mark.parametrize("frames", FLOODS.values(), ids=FLOODS)
async def test_a_turn_is_for_so_many_frames_whoever_sent_them(frames: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred clients flood at once: a turn is no longer than for one, and whoever says little does not wait."""
    parsed = 0
    parse = WebSocketParser.parse

    def counted(parser: WebSocketParser, *limits: int) -> int:
        nonlocal parsed
        count = parse(parser, *limits)
        parsed += count
        return count

    monkeypatch.setattr(WebSocketParser, "parse", counted)
    rig = Rig()
    clients = [rig.connect() for _ in range(100)]
    for client in clients:
        client.subscriber.data_received(frames * (4000 // len(frames)))
    assert parsed <= FRAMES_PER_TURN
    assert all(client.is_reading_paused for client in clients) or frames == CLOSE
    parsers = [session.parser for client in clients if (session := client.subscriber.session) is not None]
    assert rig.hub.pending_bytes == sum(parser.kept_bytes for parser in parsers if parser is not None)
    quiet = rig.connect()
    quiet.subscriber.data_received(text(b"hello"))
    assert rig.published[-1] == b"hello"
    while any(client.is_reading_paused for client in clients):
        parsed = 0
        await asyncio.sleep(0)
        assert parsed <= FRAMES_PER_TURN


async def test_many_small_reads_are_cut_short_as_well() -> None:
    """A read that need not wait brings a few frames; the rest of it has its turn like any other."""
    rig = Rig()
    clients = [rig.connect() for _ in range(50)]
    for client in clients:
        client.subscriber.data_received(text(b"x") * (LIGHT_BYTES // 7))
    assert len(rig.published) == 50 * LIGHT_FRAMES
    await rig.settle(*clients)
    assert len(rig.published) == 50 * (LIGHT_BYTES // 7)


async def test_a_few_bytes_that_become_many_take_their_turns() -> None:
    """A hundred clients each send some 80 bytes that are a message of 64 KiB: a turn is for a part of them."""
    rig = Rig()
    clients = [rig.connect() for _ in range(100)]
    bomb = deflated(bytes(LIMIT)).removesuffix(END)
    frame = b"\xc2\xfe" + len(bomb).to_bytes(2) + KEY + bomb
    for client in clients:
        client.subscriber.session = CompressedSession(publishes_to=b"feed:lobby")
        client.subscriber.data_received(frame)
    at_once = len(rig.published)
    assert at_once <= 2 * FRAMES_PER_TURN // (LIMIT // INFLATED_PER_FRAME)
    while len(rig.published) < len(clients):
        before = len(rig.published)
        await asyncio.sleep(0)
        assert 0 < len(rig.published) - before <= at_once
    assert rig.published == [bytes(LIMIT)] * len(clients)


async def test_clients_that_wait_are_served_one_after_the_other() -> None:
    """Nobody gets a second slice before the others had one."""
    rig = Rig()
    clients = [rig.connect() for _ in range(FRAMES_PER_TURN // FRAMES_PER_SLICE * 2)]
    for number, client in enumerate(clients):
        client.subscriber.data_received(text(b"%02d" % number) * 500)
    for _ in range(8):
        await asyncio.sleep(0)
    counts = [rig.published.count(b"%02d" % number) for number in range(len(clients))]
    assert max(counts) - min(counts) <= FRAMES_PER_SLICE


async def test_it_stops_with_the_message_that_takes_the_last_room() -> None:
    """20 MB were once queued for Redis out of one read; then it goes on where it stopped, and is read again."""
    rig = Rig()
    client, quiet = rig.connect(), rig.connect()
    messages = numbered(1000)
    rig.room = 10
    client.subscriber.data_received(b"".join(map(text, messages)))
    quiet.subscriber.data_received(text(b"hi"))
    await rig.settle()
    assert rig.published == messages[:10]
    assert client.is_reading_paused
    assert quiet.is_reading_paused
    for room in (1, 70, 300):
        rig.make_room(room)
        await rig.settle()
        assert rig.room == 0
    rig.make_room()
    await rig.settle(client, quiet)
    assert [payload for payload in rig.published if payload != b"hi"] == messages
    assert rig.published.count(b"hi") == 1


async def test_pings_are_answered_while_there_is_no_room() -> None:
    """Who publishes nothing waits for nothing."""
    rig = Rig()
    client = rig.connect()
    rig.room = 0
    client.subscriber.data_received(PING * 3)
    assert client.written == [b"\x8a\x00" * 3]
    assert not client.is_reading_paused


async def test_a_goodbye_in_the_same_segment_comes_after_the_messages() -> None:
    """Though there is no room for them just now: they are published, and then it is echoed."""
    rig = Rig()
    client = rig.connect()
    rig.room = 3
    client.subscriber.data_received(b"".join(map(text, numbered(5))) + PING + CLOSE)
    await rig.settle()
    assert (rig.published, client.written) == (numbered(3), [])
    rig.make_room()
    await rig.settle(client)
    assert (rig.published, client.written) == (numbered(5), [b"\x8a\x00" + CLOSE_ECHO, b"EOF"])


def goodbye(reason: Reason) -> bytes:
    """Return the close frame for a reason."""
    return b"\x88%c%b%b" % (2 + len(reason.sentence), reason.code.to_bytes(2), reason.sentence.encode())


@pytest.mark.parametrize("reason", [reasons.LEAVING, reasons.GAP])
async def test_a_drain_lets_a_client_finish_what_it_has_sent(reason: Reason) -> None:
    """Its goodbye comes when all of one read has been published, and once."""
    rig = Rig()
    client = rig.connect()
    client.subscriber.data_received(text(b"x") * 3000)
    for _ in range(2):
        rig.endpoint.close(client.subscriber, reason)
    assert client.written == []
    await rig.settle(client)
    assert len(rig.published) == 3000
    assert client.written == [goodbye(reason)]
    assert not client.is_reading_paused
    client.subscriber.data_received(text(b"late") + CLOSE)
    await rig.settle(client)
    assert len(rig.published) == 3000
    assert client.written[1:] == [b"EOF"]


async def test_a_drain_does_not_wait_for_room() -> None:
    """Redis may never take anything any more."""
    rig = Rig()
    client = rig.connect()
    rig.room = 1
    client.subscriber.data_received(text(b"x") * 3)
    rig.endpoint.close(client.subscriber, reasons.LEAVING)
    assert client.written == [goodbye(reasons.LEAVING)]


async def test_who_is_closed_while_it_waits_is_heard_without_room() -> None:
    """It is told that its last messages may be lost, and its answer is found behind them."""
    rig = Rig()
    client = rig.connect()
    rig.room = 1
    client.subscriber.data_received(text(b"x") * 3000 + CLOSE)
    rig.endpoint.close(client.subscriber, reasons.REDIS_UNAVAILABLE)
    assert client.written == [goodbye(reasons.REDIS_UNAVAILABLE)]
    for _ in range(200):
        await asyncio.sleep(0)
    assert client.written == [goodbye(reasons.REDIS_UNAVAILABLE), b"EOF"]
    assert rig.published == [b"x"]


@pytest.mark.parametrize("is_evicted_first", [True, False])
async def test_nothing_stays_of_a_client_that_goes_while_it_waits(is_evicted_first: bool) -> None:
    """Evicted or gone by itself: what it sent is dropped, and others go on."""
    rig = Rig()
    gone, other = rig.connect(), rig.connect()
    for client in (gone, other):
        client.subscriber.data_received(text(b"x") * 1000)
    rig.endpoint.close(gone.subscriber, reasons.LEAVING)
    if is_evicted_first:
        gone.abort()
        await rig.settle(other)
    gone.subscriber.connection_lost(None)
    await rig.settle(other)
    assert 1000 <= len(rig.published) < 2000
    assert not rig.endpoint._afterwards
    assert gone.subscriber not in rig.endpoint._turns
    assert rig.hub.pending_bytes == 0


async def test_the_pace_is_asked_message_by_message() -> None:
    """The hundred messages of a burst are published, and no more are looked at than a slice."""
    rig = Rig(Pace(Allowance(per_second=0.001, burst=100), None))
    client = rig.connect()
    client.subscriber.data_received(text(b"x") * 30_000)
    while not client.written:
        await asyncio.sleep(0)
    assert len(rig.published) == 100
    assert client.written == [b"\x88\x13\x03\xf0too many messages"]
    assert rig.hub.refused == {"messages": 1}


async def test_what_is_kept_of_a_client_is_known_to_the_hub() -> None:
    """Half a frame, fragments, and what waits for its turn count; and nothing is left when all is handled."""
    rig = Rig()
    client = rig.connect()
    receive = client.subscriber.data_received
    receive(b"\x81\xfe\x10\x00" + KEY + b"x" * 1000)
    assert rig.hub.pending_bytes == 1008
    receive(b"x" * 3096 + b"\x01\x85" + KEY + b"hello")
    assert (rig.published, rig.hub.pending_bytes) == ([b"x" * 4096], 5)
    receive(b"\x80\x80" + KEY + text(b"x") * 1000)
    assert rig.hub.pending_bytes > 6000
    await rig.settle(client)
    assert rig.hub.pending_bytes == 0


@pytest.mark.parametrize(
    "half",
    [b"\x81", b"\x81\x85" + KEY + b"hell", b"\x01\x85" + KEY + b"hello", b"\x89\x85" + KEY],
    ids=["a byte", "a frame", "a fragment", "a ping"],
)
async def test_half_a_message_does_not_stay(half: bytes) -> None:
    """Of any kind: its client has so many seconds, however often it sends a little more, and is told."""
    rig = Rig()
    rig.hub = Hub(
        max_pending_bytes=1 << 20, max_unwritable_seconds=10, ping_seconds=25, pong_seconds=10, message_seconds=5
    )
    rig.endpoint._hub = rig.hub
    slow, steady = rig.connect(), rig.connect()
    for now in range(8):
        rig.hub.tick(now)
        slow.subscriber.data_received(PING if half[0] == 1 else b"")
        if not now:
            slow.subscriber.data_received(half)
        steady.subscriber.data_received(half + half if now == 0 and half[0] == 1 else half[:0])
        steady.subscriber.data_received(text(b"x") + text(b"y")[:3])
        steady.subscriber.data_received(text(b"y")[3:])
    assert rig.hub.refused["too_slow"] == 1
    assert b"\x03\xf0a message was not complete in time" in b"".join(slow.written)


frames = st.sampled_from(
    [
        *map(text, numbered(4)),
        PING,
        b"\x8a\x80" + KEY,
        b"\x82\xfe\x50\x00" + KEY + b"big!" * 0x1400,
        b"\x01\x82" + KEY + b"ab" + PING + b"\x00\x80" + KEY + b"\x80\x81" + KEY + b"c",
        text(b"x") * 100,
        b"\x01\x82" + KEY + b"ab",
        text(b"\xff"),
        b"\x80\x80" + KEY,
        CLOSE,
    ]
)


def cut(stream: bytes, places: list[int]) -> Iterator[bytes]:
    """Yield the stream in pieces."""
    for start, end in pairwise([0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]):
        yield stream[start:end]


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=60, deadline=None)
@given(
    st.lists(frames, max_size=12).map(b"".join),
    st.lists(st.integers(0, 10**6), max_size=4),
    st.lists(st.integers(0, 30), max_size=6),
)
def test_slices_and_pauses_change_nothing(stream: bytes, places: list[int], rooms: list[int]) -> None:
    """Whatever is sent, however it is cut and whenever there is room: the same is published and answered."""
    at_once = WebSocketParser(max_message_bytes=LIMIT)
    at_once.feed(stream)
    at_once.parse()
    answer, ends = at_once.outgoing()

    async def in_slices() -> tuple[list[bytes], bytes, bool]:
        rig = Rig()
        client = rig.connect()
        rig.room = 5
        waiting = list(rooms)
        for piece in cut(stream, places):
            client.subscriber.data_received(piece)
            while client.is_reading_paused:
                await rig.settle()
                if client.is_reading_paused:
                    rig.make_room(waiting.pop() if waiting else 10**6)
        return rig.published, b"".join(each for each in client.written if each != b"EOF"), b"EOF" in client.written

    assert asyncio.run(in_slices()) == ([payload for payload, _ in at_once.messages], answer, ends)


@pytest.mark.parametrize("by", ["server", "client"])
def test_what_waits_to_be_delivered_comes_before_the_close_frame(by: str) -> None:
    """Nothing may follow it, and what was read from Redis before is not lost."""
    rig = Rig()
    client = rig.connect()
    rig.hub.router.collect([[b"pmessage", b"feed:*", b"feed:lobby", b"hi"]])
    if by == "server":
        rig.endpoint.close(client.subscriber, reasons.LEAVING)
    else:
        client.subscriber.data_received(CLOSE)
    assert client.written[0] == b"\x81\x02hi"
    assert client.written[1].startswith(b"\x88")


def test_a_slice_costs_something() -> None:
    """Or a turn could be for any number of clients that have one frame each."""
    assert LEAST_COST > 1
