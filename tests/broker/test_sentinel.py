"""Finding a master by its sentinels: real ones, with passwords and TLS, and some that are of no use."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from mux.broker import sentinel
from mux.broker.connection import Connection
from mux.broker.location import Location, check_redis, parse_location
from mux.errors import BrokerError, BrokerRefused, BrokerUnavailable
from mux.wire.resp import encode_command
from tests.broker.redis_processes import client, free_ports, redis_process
from tests.broker.tls import Authority, tls_front
from tests.support.servers import PATIENCE_SECONDS, until

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the servers of this module listen."""

    master: int
    open: int
    """A sentinel that tells everybody."""
    locked: int
    """A sentinel with the password "s/cret" and a user "asker" that may only ask."""


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ports]:
    """Run a master and two sentinels."""
    directory = tmp_path_factory.mktemp("sentinels")
    ports = Ports(*free_ports(3))
    with ExitStack() as stack:
        stack.enter_context(redis_process(directory, ports.master))
        for port in (ports.open, ports.locked):
            stack.enter_context(redis_process(directory, port, f"sentinel monitor main 127.0.0.1 {ports.master} 2"))
        with client(ports.locked) as control:
            rights = ("on", ">pw", "-@all", "+auth", "+ping", "+sentinel|get-master-addr-by-name")
            control.execute_command("ACL", "SETUSER", "asker", *rights)
            control.execute_command("ACL", "SETUSER", "mute", "on", ">pw", "-@all", "+auth", "+ping")
            control.execute_command("ACL", "SETUSER", "default", "resetpass", ">s/cret")
        yield ports


@asynccontextmanager
async def listening(talk: Talk) -> AsyncIterator[int]:
    """Run a server that is no sentinel, or a made up one; gives its port."""
    ends: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends.append(writer)
        await talk(reader, writer)

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        try:
            yield int(server.sockets[0].getsockname()[1])
        finally:
            for writer in ends:
                writer.transport.abort()


async def be_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take everything and say nothing."""
    await reader.read()


def saying(answer: bytes) -> Talk:
    """Return what answers the first question so, and ends the connection."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        writer.close()

    return talk


def naming(port: int, epoch: int, *, after: asyncio.Event | None = None, flags: bytes = b"master") -> Talk:
    """Return a sentinel that names a master, once an event has happened."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        if after is not None:
            await after.wait()
        writer.write(b"+PONG\r\n")
        for words in ([b"127.0.0.1", b"%d" % port], [b"flags", flags, b"config-epoch", b"%d" % epoch]):
            writer.write(encode_command(*words))
        await reader.read()

    return talk


async def found(location: Location) -> int:
    """Return the port that a location gives."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        return (await location.locate()).port


@pytest.mark.parametrize("credentials", ["sentinel_password=s%2Fcret", "sentinel_username=asker&sentinel_password=pw"])
async def test_sentinels_with_a_password_are_asked(ports: Ports, credentials: str) -> None:
    """A password of their own, and a user that may ask where the master is and nothing else."""
    url = f"redis+sentinel://127.0.0.1:{ports.locked}/main?{credentials}"
    await check_redis(parse_location(url), b"feed:*", b"feed:$probe:test")


async def test_sentinels_with_tls_are_asked(ports: Ports, tmp_path: Path) -> None:
    """With the TLS of the master, and with TLS where the master has none."""
    authority = Authority(tmp_path)
    async with tls_front(authority.context("127.0.0.1"), port=ports.locked) as port:
        where = f"sentinel://127.0.0.1:{port}/main?sentinel_password=s%2Fcret"
        assert await found(parse_location(f"rediss+{where}&ssl_ca_certs={authority.path}")) == ports.master
        mixed = f"redis+{where}&sentinel_ssl=yes&sentinel_ssl_ca_certs={authority.path}"
        await check_redis(parse_location(mixed), b"feed:*", b"feed:$probe:test")
        with pytest.raises(BrokerUnavailable, match="not reached: its certificate is not trusted"):
            await found(parse_location(f"rediss+{where}"))


@pytest.mark.parametrize(
    ("who", "query", "error", "words"),
    [
        ("locked", "", BrokerRefused, "a password is wanted; add sentinel_password"),
        ("locked", "?sentinel_password=wrong", BrokerRefused, "the credentials are refused; check sentinel_username"),
        ("locked", "?sentinel_username=x&sentinel_password=pw", BrokerRefused, "the credentials are refused"),
        ("locked", "?sentinel_username=mute&sentinel_password=pw", BrokerRefused, r"give it \+sentinel\|get-master"),
        ("open", "?sentinel_ssl=yes", BrokerUnavailable, "TLS handshake|does not speak TLS|no answer"),
        ("master", "", BrokerRefused, "this is no sentinel"),
        ("free", "", BrokerUnavailable, "not reached: connection refused"),
        ("silent", "", BrokerUnavailable, "no answer in 0.1 s"),
        ("web", "", BrokerUnavailable, "no sentinel: .*it is a web server"),
        ("hasty", "", BrokerUnavailable, "closed without an answer; if it speaks TLS, add sentinel_ssl=yes"),
        ("strange", "", BrokerUnavailable, "an error for an answer"),
        ("loading", "", BrokerUnavailable, "no questions are taken now"),
        ("odd", "", BrokerUnavailable, "an answer that cannot be understood"),
    ],
)
async def test_problems_of_sentinels_are_told_apart(
    ports: Ports,
    free_port: int,
    monkeypatch: pytest.MonkeyPatch,
    who: str,
    query: str,
    error: type[BrokerError],
    words: str,
) -> None:
    """All of them were "knows no master"; each is half a sentence beside the sentinel's address, and no secret."""
    made_up = {
        "silent": be_silent,
        "web": saying(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        "hasty": saying(b""),
        "strange": saying(b"-ERR wrong: AUTH wrong\r\n" * 3),
        "loading": saying(b"-LOADING\r\n" * 3),
        "odd": saying(b"+OK\r\n*2\r\n$1\r\nh\r\n$1\r\nx\r\n*1\r\n:1\r\n"),
    }
    async with AsyncExitStack() as stack:
        named = {"locked": ports.locked, "open": ports.open, "master": ports.master, "free": free_port}
        port = named.get(who) or await stack.enter_async_context(listening(made_up[who]))
        seconds = 0.2  # for those that are waited for in vain
        if who != "silent" and "ssl" not in query:
            seconds = PATIENCE_SECONDS
            monkeypatch.setattr(sentinel, "TRY_SECONDS", PATIENCE_SECONDS)
        timeout = f"{'&' if query else '?'}socket_connect_timeout={seconds}"
        location = parse_location(f"redis+sentinel://127.0.0.1:{port}/main{query}{timeout}")
        with pytest.raises(
            BrokerError, match=f"no sentinel names the master 'main': 127.0.0.1:{port}: .*{words}"
        ) as told:
            await found(location)
    assert type(told.value) is error
    assert not any(secret in str(told.value) for secret in ("wrong", "pw", "mute"))


async def test_an_unknown_name_is_told_apart_from_a_sentinel_that_is_away(ports: Ports, free_port: int) -> None:
    """Each sentinel has its own reason, and those that have the same stand together."""
    hosts = f"127.0.0.1:{ports.open},127.0.0.1:{free_port},127.0.0.1:{ports.locked}"
    location = parse_location(f"redis+sentinel://{hosts}/other?sentinel_password=s%2Fcret")
    with pytest.raises(BrokerUnavailable) as told:
        await found(location)
    assert str(told.value) == (
        f"no sentinel names the master 'other': 127.0.0.1:{ports.open},127.0.0.1:{ports.locked}: this master is "
        f"not known there; 127.0.0.1:{free_port}: not reached: connection refused"
    )


async def test_silent_sentinels_cost_nothing_while_one_answers(
    ports: Ports, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One that was silent cost 59 s at the start and at each reconnect; it is told of once, not each time."""
    caplog.set_level(logging.INFO, "mux.broker")
    monkeypatch.setattr(sentinel, "TRY_SECONDS", 100 * PATIENCE_SECONDS)
    async with listening(be_silent) as one, listening(be_silent) as two:
        hosts = f"127.0.0.1:{one},127.0.0.1:{ports.open},127.0.0.1:{two}"
        location = parse_location(f"redis+sentinel://{hosts}/main?socket_connect_timeout=10000")
        assert [await found(location) for _ in range(2)] == [ports.master] * 2
    assert [record.message for record in caplog.records] == [
        f"found redis://127.0.0.1:{ports.master} (the master 'main'); 127.0.0.1:{one},127.0.0.1:{two}: no answer yet"
    ]


async def test_asking_and_connecting_share_the_connect_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the sentinels took is taken from the time of the connection."""
    monkeypatch.setattr(sentinel, "GRACE_SECONDS", 0.01)
    async with listening(be_silent) as silent, listening(naming(silent, 1)) as one:
        url = f"redis+sentinel://127.0.0.1:{one},127.0.0.1:{silent}/main?socket_connect_timeout=0.3"
        address = await parse_location(url).locate()
        assert 0 < address.spent_seconds < address.connect_seconds == 0.3
        with pytest.raises(BrokerUnavailable, match=r"\(the master 'main'\) did not answer in 0\.3 s"):
            await Connection.open(
                address,
                b"feed:*",
                probe_channel=b"feed:$probe",
                client_name=b"x",
                on_read=lambda read, messages, is_whole: None,
                on_writable=lambda: None,
            )


async def test_newest_configuration_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sentinel that was cut off names the old master, and may be the fastest."""
    monkeypatch.setattr(sentinel, "GRACE_SECONDS", PATIENCE_SECONDS)
    stale_asked = asyncio.Event()

    async def stale(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stale_asked.set()
        await naming(1111, 3)(reader, writer)

    async with (
        listening(stale) as one,
        listening(naming(2222, 12, after=stale_asked)) as two,
        listening(naming(3333, 99, flags=b"master,s_down,disconnected")) as three,
    ):
        hosts = ",".join(f"127.0.0.1:{port}" for port in (one, two, three))
        assert await found(parse_location(f"redis+sentinel://{hosts}/main")) == 2222


async def test_master_that_is_away_is_told_with_what_the_sentinels_say(free_port: int) -> None:
    """The sentinels answer, the master does not: that is no problem of the sentinels."""
    async with listening(naming(free_port, 1, flags=b"master,o_down")) as one:
        location = parse_location(f"redis+sentinel://127.0.0.1:{one}/main")
        with pytest.raises(BrokerUnavailable, match=r"cannot reach Redis .*'main', which its sentinels hold for down"):
            await check_redis(location, b"feed:*", b"feed:$probe")


async def test_replica_that_sentinels_name_is_for_now(ports: Ports, caplog: pytest.LogCaptureFixture) -> None:
    """In a failover they may name a master that is one no more; the start waits until they name the new one."""
    with client(ports.master) as control:
        control.replicaof("127.0.0.1", "1")
        location = parse_location(f"redis+sentinel://127.0.0.1:{ports.open}/main")
        try:
            probing = asyncio.create_task(check_redis(location, b"feed:*", b"feed:$probe"))
            await until(lambda: "have not agreed on a new master yet; waiting for that to pass" in caplog.text)
        finally:
            control.replicaof("NO", "ONE")
        await probing
