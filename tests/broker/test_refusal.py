"""What Redis refuses for good, what it refuses for now, and that the latter is waited for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread

import pytest
import redis

from mux.broker.address import Address
from mux.broker.location import check_redis, parse_location
from mux.broker.loss import Loss
from mux.broker.refusal import closed_too_soon, command_refused, hello_refused
from mux.errors import BrokerBusy, BrokerError, BrokerRefused, BrokerUnavailable
from mux.serve.embedded import embedded_server
from tests.broker.test_broker import broker_on, open_once, scripted_redis
from tests.conftest import SERVERS
from tests.support.servers import until

ADDRESS = Address(host="h", port=1)
FOR_NOW = [
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    "LOADING Redis is loading the dataset in memory",
    "TRYAGAIN Multiple keys request during rehashing of slot",
    "CLUSTERDOWN The cluster is down",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
    "OOM command not allowed when used memory > 'maxmemory'.",
    "NOREPLICAS Not enough good replicas to write.",
    "ERR max number of clients reached",
    "ERR max number of clients + cluster connections reached",
]


@pytest.mark.parametrize("answer", FOR_NOW)
def test_what_is_for_now_is_for_now_for_every_command(answer: str) -> None:
    """Only HELLO's answers were looked at so; BUSY for PSUBSCRIBE ended a start with advice about channels."""
    refusals = [
        hello_refused(BrokerRefused(answer), ADDRESS),
        *(command_refused(name, BrokerRefused(answer), ADDRESS, b"feed:*") for name in ("PSUBSCRIBE", "PUBLISH")),
    ]
    for refused in refusals:
        assert type(refused) is BrokerBusy
        assert isinstance(refused, BrokerUnavailable)
        assert answer in str(refused)
        assert "give the user" not in str(refused)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("NOPERM this user has no permissions to run the 'psubscribe' command or its subcommand", "+psubscribe"),
        ("NOPERM this user has no permissions to run the 'psubscribe' command", "+psubscribe"),
        ("NOPERM User app has no permissions to run the 'psubscribe' command", "+psubscribe"),
        ("NOPERM User channel has no permissions to run the 'psubscribe' command", "+psubscribe"),
        ("NOPERM this user has no permissions to access one of the channels used as arguments", "channels &feed:*"),
        ("NOPERM User app has no permissions to access the 'feed:*' channel", "channels &feed:*"),
        ("ERR unknown command 'PSUBSCRIBE', with args beginning with: 'feed:*' ", "renamed or disabled"),
        ("ERR unknown command `PSUBSCRIBE`, with args beginning with: `feed:*`, ", "renamed or disabled"),
        ("ERR Unknown command psubscribe", "renamed or disabled"),
        ("ERR this is something else", "refused PSUBSCRIBE (ERR this is something else)"),
        ("EXECABORT strange", "refused PSUBSCRIBE (EXECABORT strange)"),
    ],
)
def test_refusals_of_psubscribe_are_told_apart(answer: str, words: str) -> None:
    """Every one of them advised about channels."""
    refused = command_refused("PSUBSCRIBE", BrokerRefused(answer), ADDRESS, b"feed:*")
    assert type(refused) is BrokerRefused
    assert words in str(refused)
    advice = ("+psubscribe", "channels &feed:*", "renamed or disabled")
    assert sum(word in str(refused) for word in advice) == (words in advice)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("NOAUTH HELLO must be called with the client already authenticated", "wants a password in its URL"),
        ("WRONGPASS invalid username-password pair or user is disabled.", "check the user and password in its URL"),
        ("NOPERM this user has no permissions to run the 'hello' command", "give the user +hello +auth"),
        ("DENIED Redis is running in protected mode because protected mode is enabled", "protected mode"),
        ("NOPROTO unsupported protocol version", "does not speak RESP3"),
        ("ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, ", "does not speak RESP3"),
        ("ERR strange", "refused HELLO"),
    ],
)
@pytest.mark.parametrize("password", [None, "secret"])
def test_refusals_of_hello_are_told_apart(answer: str, words: str, password: str | None) -> None:
    """The answer itself is passed on when there was no password that it could quote."""
    refused = hello_refused(BrokerRefused(answer), Address(host="h", port=1, password=password))
    assert type(refused) is BrokerRefused
    assert words in str(refused)
    assert password is None or answer not in str(refused)


@pytest.mark.parametrize(
    ("address", "cause", "words"),
    [
        (ADDRESS, "closed", "if it speaks TLS"),
        (ADDRESS, "garbled", ""),
        (Address(path="/r.sock"), "closed", ""),
    ],
)
def test_connection_that_ends_too_soon_is_told_with_a_hint_if_there_is_one(
    address: Address, cause: str, words: str
) -> None:
    """A unix socket has no TLS, and what is garbled has been read."""
    hint = closed_too_soon(Loss(cause, "it was so"), address).partition("it was so")[2]
    assert (words in hint) if words else (hint == "")


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ("&feed:* +@all -psubscribe", r"\+psubscribe$"),
        ("+@all", r"the channels &feed:\*$"),
        ("&feed:* +@all -publish", r"\+publish$"),
    ],
)
async def test_user_is_told_which_right_is_missing(every_redis: str, rules: str, words: str) -> None:
    """On every server, for each words it differently."""
    with redis.Redis.from_url(every_redis) as control:
        control.execute_command("ACL", "SETUSER", "lacking", "reset", "resetchannels", "on", ">pw", *rules.split())
    with pytest.raises(BrokerRefused, match=words):
        await check_redis(parse_location(f"{every_redis}?username=lacking&password=pw"), b"feed:*", b"feed:$probe:x")


@contextmanager
def busy_redis(binary: str | None) -> Iterator[tuple[str, redis.Redis]]:
    """Run a server that is busy with a script, until its client says SCRIPT KILL."""
    with embedded_server(binary) as url, redis.Redis.from_url(url) as control, redis.Redis.from_url(url) as other:
        control.config_set("lua-time-limit", 1)

        def loop() -> None:
            with suppress(redis.ResponseError):
                other.eval("while true do end", 0)

        thread = Thread(target=loop)
        thread.start()
        try:
            while not _is_busy(control):
                pass
            yield url, control
        finally:
            with suppress(redis.ResponseError):
                control.script_kill()
            thread.join()


def _is_busy(control: redis.Redis) -> bool:
    try:
        control.ping()
    except redis.ResponseError:
        return True
    return False


@pytest.mark.parametrize("name", [name for name, binary in SERVERS.items() if binary])
async def test_busy_redis_is_waited_for_at_the_start(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """By `mux serve`, which says once what it waits for, and by an app, which serves meanwhile."""
    caplog.set_level(logging.WARNING, "mux.broker")
    with busy_redis(SERVERS[name]) as (url, control):
        with pytest.raises(BrokerBusy, match=r"PSUBSCRIBE now .BUSY"):
            await open_once(url)
        probing = asyncio.create_task(check_redis(parse_location(url), b"feed:*", b"feed:$probe:x"))
        async with broker_on(url) as (broker, _):
            assert not broker.is_connected
            await until(lambda: len(caplog.records) == 2)
            await asyncio.to_thread(control.script_kill)
            await probing
            await until(lambda: broker.is_connected)
    said = [record.message.rpartition("; ")[2] for record in caplog.records]
    assert sorted(said)[-2:] == ["trying again until it works", "waiting for that to pass"]


async def test_probe_tries_every_node_of_a_cluster(free_port: int) -> None:
    """The first one named may be the one that is dead, or the one that is loading."""
    async with scripted_redis(hello=b"-LOADING\r\n") as loading, scripted_redis(then=asyncio.Event()) as alive:
        hosts = ",".join(url.removeprefix("redis://") for url in (loading, f"127.0.0.1:{free_port}", alive))
        await check_redis(parse_location(f"redis+cluster://{hosts}"), b"feed:*", b"feed:$probe:test")
    with pytest.raises(BrokerUnavailable, match="connection refused"):
        await check_redis(parse_location(f"redis+cluster://127.0.0.1:{free_port}"), b"feed:*", b"feed:$probe:test")


async def test_sentinel_that_is_named_as_a_redis_is_told() -> None:
    """A port of a sentinel in a redis:// URL was "a no master"."""
    hello = b"%2\r\n$5\r\nproto\r\n:3\r\n$4\r\nmode\r\n$8\r\nsentinel\r\n"
    async with scripted_redis(hello=hello) as url:
        with pytest.raises(BrokerError, match=r"is a sentinel; name it as redis\+sentinel://"):
            await open_once(url)
