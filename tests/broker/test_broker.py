"""The broker, against real servers of every kind there is on this machine."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

from mux.broker.broker import Broker
from mux.broker.connection import MAX_UNANSWERED, MAX_UNANSWERED_BYTES, Connection
from mux.broker.gap import Gap
from mux.broker.holding import Holding
from mux.broker.location import check_redis, parse_location
from mux.errors import BrokerBusy, BrokerError, BrokerLost, BrokerRefused, BrokerUnavailable
from mux.hub.router import Router
from mux.serve.embedded import embedded_server
from mux.wire.resp import Push, Reply
from tests.support.servers import BOTH_LOOPS, PATIENCE_SECONDS, until


class Heard:
    """What came, and a way to wait for it."""

    def __init__(self) -> None:
        self.messages: list[tuple[bytes, bytes]] = []

    def __call__(self, read: bytes, batch: list[Push], is_whole: bool) -> None:
        Router().dispatch(batch)  # refuses what is no message, as it does in a server
        self.messages += [(channel, payload) for _, _, channel, payload in batch if PROBE not in channel]

    async def wait_for(self, count: int) -> list[tuple[bytes, bytes]]:
        await until(lambda: len(self.messages) >= count)
        return self.messages


PROBE = b"$probe:test"


def make_broker(
    url: str,
    pattern: bytes = b"feed:*",
    *,
    heard: Heard | None = None,
    gaps: list[Gap] | None = None,
    probe_seconds: float = 5,
    max_held_bytes: int = 2**20,
    max_held_seconds: float = 0,
    on_writable: Callable[[], None] = lambda: None,
) -> Broker:
    """Return a broker that nothing keeps from being deaf for a while, and that holds nothing unless told to."""
    prefix = pattern.replace(b"\\", b"")[:-1]
    return Broker(
        parse_location(url),
        pattern,
        probe_prefix=prefix + PROBE,
        probe_seconds=probe_seconds,
        holding=Holding(max_bytes=max_held_bytes, max_seconds=max_held_seconds),
        on_read=heard or Heard(),
        on_writable=on_writable,
        on_gap=(gaps if gaps is not None else []).append,
    )


@asynccontextmanager
async def broker_on(url: str, pattern: bytes = b"feed:*", **options: Any) -> AsyncIterator[tuple[Broker, Heard]]:
    """Run a broker for as long as the block runs."""
    heard = Heard()
    broker = make_broker(url, pattern, heard=heard, **options)
    await broker.start()
    try:
        yield broker, heard
    finally:
        await broker.aclose()


@BOTH_LOOPS
async def test_publishes_and_hears_on_one_connection(every_redis: str) -> None:
    """On every server: what is published comes back, over the only connection there is."""
    with redis.Redis.from_url(every_redis) as control:
        async with broker_on(every_redis) as (broker, heard):
            for n in range(100):
                await broker.outbox.publish(b"feed:lobby", b"%d" % n)
            assert await heard.wait_for(100) == [(b"feed:lobby", b"%d" % n) for n in range(100)]
            clients = [client["name"] for client in control.client_list() if client["name"]]
            assert len(clients) == 1
            assert clients[0].startswith("mux-")
        await until(lambda: len(control.client_list()) == 1)


async def test_a_probe_is_its_process_own(redis_url: str) -> None:
    """Drawn when the broker was made, the name of the channel was shared by all processes forked from one app."""
    with redis.Redis.from_url(redis_url) as control, control.pubsub() as watch:
        watch.psubscribe(b"feed:" + PROBE + b"*")
        assert watch.get_message(timeout=PATIENCE_SECONDS)["type"] == "psubscribe"
        broker = make_broker(redis_url)
        channels = set()
        for _ in range(2):
            await broker.start()
            channels.add(watch.get_message(timeout=PATIENCE_SECONDS)["channel"])
            await broker.aclose()
    assert len(channels) == 2


async def test_pattern_with_glob_characters_hears_only_its_own(redis_url: str) -> None:
    """A prefix is taken literally, whatever Redis' patterns mean by its characters."""
    with redis.Redis.from_url(redis_url) as other:
        async with broker_on(redis_url, rb"a\[b\]\*:*") as (broker, heard):
            other.publish(b"ab*:x", b"not this")
            other.publish(b"a[b]x:x", b"nor this")
            await broker.outbox.publish(b"a[b]*:x", b"this")
            assert await heard.wait_for(1) == [(b"a[b]*:x", b"this")]


@BOTH_LOOPS
async def test_publishes_of_one_turn_leave_in_one_write(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many messages are published in a turn of the loop, the socket is written once."""
    async with broker_on(redis_url) as (broker, heard):
        connection = broker._connection
        assert connection is not None
        writes: list[bytes] = []
        transport = connection._transport

        class Recorder:
            def write(self, data: bytes) -> None:
                writes.append(data)
                transport.write(data)

            def is_closing(self) -> bool:
                return False

            def abort(self) -> None:
                transport.abort()

        connection._transport = Recorder()  # type: ignore[assignment]
        for n in range(50):
            broker.outbox.send(b"feed:lobby", b"%d" % n, lambda reply: None)
        await heard.wait_for(50)
        assert len(writes) == 1
        connection._transport = transport


@BOTH_LOOPS
async def test_connection_is_made_again_and_subscribed(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """A killed connection comes back by itself, and the outage is told of once."""
    caplog.set_level(logging.WARNING, "mux.broker")
    with redis.Redis.from_url(redis_url) as control:
        async with broker_on(redis_url, b"again:*") as (broker, heard):
            first = broker._connection
            control.client_kill_filter(skipme=True, _type="pubsub")
            await until(lambda: broker._connection not in (None, first))
            await broker.outbox.publish(b"again:x", b"back")
            assert await heard.wait_for(1) == [(b"again:x", b"back")]
    texts = [record.message for record in caplog.records]
    assert len([line for line in texts if line.startswith("lost Redis")]) == 1
    assert len([line for line in texts if line.startswith("gap 1: ")]) == 1


@BOTH_LOOPS
async def test_published_without_connection_is_refused_at_once(free_port: int) -> None:
    """Nothing waits for a Redis that is not there; the sender is told."""
    async with broker_on(f"redis://127.0.0.1:{free_port}") as (broker, _):
        assert not broker.is_connected
        with pytest.raises(BrokerUnavailable):
            await broker.outbox.publish(b"feed:lobby", b"hi")


@BOTH_LOOPS
async def test_published_and_not_answered_is_reported_lost() -> None:
    """A publish whose reply never comes is neither repeated nor forgotten."""
    silent = asyncio.Event()
    async with scripted_redis(then=silent) as url, broker_on(url) as (broker, _):
        pending = [asyncio.create_task(broker.outbox.publish(b"feed:lobby", b"hi")) for _ in range(3)]
        await until(lambda: broker._connection is not None and len(broker._connection._unanswered) == 3)
        silent.set()
        results = await asyncio.gather(*pending, return_exceptions=True)
        assert [type(result) for result in results] == [BrokerLost] * 3


async def test_refused_publish_says_so(redis_url: str) -> None:
    """A user who may publish no more gets Redis' own words."""
    with redis.Redis.from_url(redis_url) as control:
        control.execute_command("ACL", "SETUSER", "mute", "on", ">pw", "&feed:*", "+@all")
        async with broker_on(_with_user(redis_url, "mute")) as (broker, _):
            control.execute_command("ACL", "SETUSER", "mute", "-publish")
            with pytest.raises(BrokerRefused, match="NOPERM"):
                await broker.outbox.publish(b"feed:lobby", b"hi")


async def test_documented_user_gets_in(every_redis: str) -> None:
    """The documented lines as they stand, on every version of Redis and Valkey that there is."""
    page = (Path(__file__).parents[2] / "mux/serve/README.md").read_text()
    lines = re.findall(r"^    (ACL SETUSER mux .*)$", page, re.MULTILINE)
    newest, newer, oldest = lines
    with redis.Redis.from_url(every_redis, decode_responses=True) as control:
        info = control.info("server")
        version = tuple(map(int, info["redis_version"].split(".")[:2]))
        has_setinfo = "valkey_version" in info or version >= (7, 2)
        for line in [newest, newer] if has_setinfo else [newer] if version >= (7, 0) else [newer, oldest]:
            control.execute_command("ACL", "DELUSER", "mux")
            control.acl_log_reset()
            control.execute_command(*line.split())
            async with broker_on(f"{every_redis}?username=mux&password=secret") as (broker, heard):
                await broker.outbox.publish(b"feed:lobby", b"hi")
                assert await heard.wait_for(1) == [(b"feed:lobby", b"hi")]
                copied = await _ask(broker, b"SET", b"feed:$copy:x", b"copy", b"EX", b"10")
                got = await _ask(broker, b"GETDEL", b"feed:$copy:x")
                assert ((copied, got) == (b"OK", b"copy")) == (line != oldest)
                (entry,) = [entry for entry in control.client_list() if entry["name"].startswith("mux-")]
                assert entry["user"] == "mux"
            if line == newest:
                assert control.acl_log() == []
        control.execute_command("ACL", "DELUSER", "mux")


async def _ask(broker: Broker, *words: bytes) -> Reply:
    answered: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    broker.ask(*words, done=answered.set_result)
    return await answered


async def test_wrong_password_is_told(redis_url: str) -> None:
    """The sentence names the URL, not the password."""
    with pytest.raises(BrokerRefused, match="refused the credentials") as refused:
        await check_redis(parse_location(_with_user(redis_url, "nobody")), b"feed:*", b"feed:" + PROBE)
    assert "pw" not in str(refused.value)


async def test_missing_password_is_told() -> None:
    """A server that wants a password gets none."""
    with embedded_server() as url, redis.Redis.from_url(url) as control:
        control.config_set("requirepass", "secret")
        with pytest.raises(BrokerRefused, match="refused the credentials"):
            await check_redis(parse_location(url), b"feed:*", b"feed:" + PROBE)
        await check_redis(parse_location(f"{url}?password=secret"), b"feed:*", b"feed:" + PROBE)


async def test_replica_is_refused() -> None:
    """On a replica PUBLISH succeeds and reaches nobody."""
    with embedded_server() as url, redis.Redis.from_url(url) as control:
        control.replicaof("127.0.0.1", "1")
        with pytest.raises(BrokerRefused, match="is a replica"):
            await check_redis(parse_location(url), b"feed:*", b"feed:" + PROBE)


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (b"-ERR unknown command 'HELLO'\r\n", BrokerRefused, "Redis 6 or later"),
        (b"-NOPROTO unsupported protocol version\r\n", BrokerRefused, "Redis 6 or later"),
        (b"%1\r\n$5\r\nproto\r\n:2\r\n", BrokerRefused, "Redis 6 or later"),
        (b"+OK\r\n", BrokerRefused, "Redis 6 or later"),
        (b"-LOADING Redis is loading the dataset in memory\r\n", BrokerBusy, "LOADING"),
        (b"-ERR max number of clients reached\r\n", BrokerBusy, "max number"),
        (b"-ERR strange\r\n", BrokerRefused, "strange"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", BrokerUnavailable, "lost"),
        (b"", BrokerUnavailable, "lost"),
    ],
)
async def test_server_that_is_no_use_is_told_apart(answer: bytes, error: type[BrokerError], words: str) -> None:
    """Whether to wait or to do something about it depends on what a server says to HELLO."""
    async with scripted_redis(hello=answer) as url:
        with pytest.raises(BrokerError, match=words) as told:
            await open_once(url)
    assert type(told.value) is error


@BOTH_LOOPS
async def test_server_that_says_nothing_is_not_waited_for() -> None:
    """A listening socket with nobody behind it costs the connect timeout, no more."""
    async with scripted_redis(hello=None) as url:
        for seconds in ("0.05", "0.5", "5"):  # a busy machine takes longer to connect at all
            with pytest.raises(BrokerUnavailable, match=rf" in {seconds} s$") as told:
                await check_redis(
                    parse_location(f"{url}?socket_connect_timeout={seconds}"), b"feed:*", b"feed:" + PROBE
                )
            if "was not reached" not in str(told.value):
                break
        assert "did not answer" in str(told.value)


@BOTH_LOOPS
@pytest.mark.parametrize(
    "words",
    [
        pytest.param(b"?!\r\n", id="not RESP"),
        pytest.param(b">3\r\n$8\r\npmessage\r\n+feed:*\r\n+feed:a\r\n", id="a message without a payload"),
    ],
)
async def test_garbage_ends_the_connection_and_it_is_made_again(words: bytes) -> None:
    """What is not RESP cannot be followed by anything that is; a push cut short once raised into the event loop."""
    garble = asyncio.Event()
    async with scripted_redis(then=garble, last_words=words) as url, broker_on(url) as (broker, _):
        first = broker._connection
        assert first is not None
        garble.set()
        loss = await asyncio.wait_for(asyncio.shield(first.lost), PATIENCE_SECONDS)
        assert loss.cause == "garbled"
        await until(lambda: broker._connection not in (None, first))


async def test_refusal_at_the_start_ends_the_start(redis_url: str) -> None:
    """Trying again would not help, so start() raises and nothing is left running."""
    broker = make_broker(_with_user(redis_url, "nobody"))
    with pytest.raises(BrokerRefused):
        await broker.start()
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "mux-broker"]


@BOTH_LOOPS
async def test_a_command_on_a_lost_connection_is_answered() -> None:
    """Between the loss and its discovery by the broker a command is lost, and said to be."""
    async with scripted_redis(then=asyncio.Event()) as url:
        connection = await open_once(url)
        connection.abort()
        await connection.lost
        replies: list[object] = []
        connection.ask(b"PUBLISH", b"feed:x", b"hi", done=replies.append)
        assert isinstance(replies[0], BrokerLost)


@BOTH_LOOPS
@pytest.mark.parametrize("size", [0, 65536])
async def test_publishers_wait_while_much_is_unanswered(redis_url: str, size: int) -> None:
    """Redis takes commands faster than it sends what they cause; bounded by number alone, it closed us over 64 MB."""
    told: list[bool] = []
    most: list[int] = []
    async with broker_on(redis_url, on_writable=lambda: told.append(True)) as (broker, heard):
        connection = broker._connection
        assert connection is not None
        count = min(MAX_UNANSWERED, MAX_UNANSWERED_BYTES // (size + 1)) + 1
        for _ in range(count):
            broker.outbox.send(b"feed:lobby", b"x" * size, lambda reply: most.append(connection._unanswered_bytes))
        writable = [broker.outbox.is_writable]
        await heard.wait_for(count)
        await until(lambda: broker.outbox.is_writable)
        assert writable == [False]
        assert told == [True]
        assert max(most) <= MAX_UNANSWERED_BYTES


async def open_once(url: str) -> Connection:
    """Try to connect, once."""
    return await Connection.open(
        await parse_location(url).locate(),
        b"feed:*",
        probe_channel=b"feed:" + PROBE,
        client_name=b"x",
        on_read=Heard(),
        on_writable=lambda: None,
    )


async def test_pauses_grow_while_redis_comes_and_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis that lets everybody in and drops them is not stormed, not even by the first retry."""
    failures: list[int] = []

    def pause(number: int) -> float:
        failures.append(number)
        return 0.0

    monkeypatch.setattr("mux.broker.broker._pause", pause)
    gone = asyncio.Event()
    gone.set()
    async with scripted_redis(then=gone) as url, broker_on(url):
        await until(lambda: failures)
        assert failures[0] == 1


async def test_an_unforeseen_error_ends_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The start neither hangs nor returns as if nothing had happened."""
    broker = make_broker("redis://127.0.0.1:1")

    async def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(broker, "_open", fail)
    with pytest.raises(ZeroDivisionError):
        await broker.start()
    assert broker._task is None


async def test_a_gap_never_begins_before_the_start(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the connection of a former run of the app had proven says nothing of this run."""
    gaps: list[Gap] = []
    broker = make_broker(redis_url, gaps=gaps)
    await broker.start()
    await broker.aclose()

    async def fail() -> Connection:
        raise BrokerUnavailable("away")

    monkeypatch.setattr(broker, "_open", fail)
    started_at = time.time()
    await broker.start()
    monkeypatch.undo()
    await until(lambda: gaps)
    await broker.aclose()
    assert gaps[0].since >= started_at - 0.001
    assert broker.reconnects == {"unreachable": 1}


@BOTH_LOOPS
async def test_host_that_cannot_be_one_is_unreachable() -> None:
    """The resolver says so with a UnicodeError."""
    with pytest.raises(BrokerUnavailable, match="cannot reach"):
        await check_redis(parse_location("redis://a..b"), b"feed:*", b"feed:" + PROBE)


def _with_user(url: str, name: str) -> str:
    return f"{url}?username={name}&password=pw"


_HELLO = b"%2\r\n$5\r\nproto\r\n:3\r\n$4\r\nrole\r\n$6\r\nmaster\r\n"
_SUBSCRIBED = b">3\r\n$10\r\npsubscribe\r\n$6\r\nfeed:*\r\n:1\r\n"


_CONVERSATION = (
    (b"SETNAME", _HELLO),
    (b"LIB-NAME", b"+OK\r\n"),
    (b"LIB-VER", b"+OK\r\n"),
    (b"INFO", b"-NOPERM this user may not\r\n"),
    (b"PSUBSCRIBE", _SUBSCRIBED),
    (b"PUBLISH", b":1\r\n>4\r\n$8\r\npmessage\r\n$6\r\nfeed:*\r\n$16\r\nfeed:$probe:test\r\n$0\r\n\r\n"),
)


@asynccontextmanager
async def scripted_redis(
    *,
    hello: bytes | None = _HELLO,
    subscribed: bytes = _SUBSCRIBED,
    then: asyncio.Event | None = None,
    last_words: bytes = b"",
) -> AsyncIterator[str]:
    """Run a server that says what real ones say only in trouble.

    Args:
        hello: the answer to HELLO; None is silence. Anything but the usual one ends the connection.
        subscribed: the answer of the first connection to PSUBSCRIBE.
        then: when set, the first connection ends, with the last words.
        last_words: see then.
    """
    ends: list[asyncio.StreamWriter] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends.append(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await converse(reader, writer)
        if not (then is not None and then.is_set() and last_words):
            writer.close()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"HELLO")
        if hello is None:
            await reader.read()
        elif hello != _HELLO:
            writer.write(hello)
        else:
            for word, answer in _CONVERSATION:
                await reader.readuntil(word)
                writer.write(subscribed if word == b"PSUBSCRIBE" and len(ends) == 1 else answer)
            if len(ends) == 1 and then is not None:
                await then.wait()
                writer.write(last_words)
            else:
                await reader.read()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        try:
            yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            for writer in ends:
                writer.transport.abort()


async def test_what_is_sent_aside_is_neither_counted_nor_held(redis_url: str) -> None:
    """What processes say to each other is of no use later, and is no message of the feed."""
    heard = Heard()
    broker = make_broker(redis_url, b"aside:*", heard=heard, max_held_seconds=60)
    broker.outbox.send_aside(b"aside:a", b"before there is a connection")
    await broker.start()
    broker.outbox.send_aside(b"aside:a", b"hi")
    assert await heard.wait_for(1) == [(b"aside:a", b"hi")]
    assert (broker.outbox.published, broker.outbox.refused) == (0, {})
    await broker.aclose()
