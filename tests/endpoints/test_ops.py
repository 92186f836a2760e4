"""What an operator's machines see: of one process, of several behind one port, and of an app."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import Any

import orjson
import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families
from sanic import Sanic
from websockets.exceptions import ConnectionClosed

from mux import Mux
from mux.metrics.catalogue import METRICS
from tests.support.requests import exchange, request
from tests.support.servers import (
    AUTHORIZATION,
    PATIENCE_SECONDS,
    RawClient,
    mux_serve,
    raw_client,
    receive,
    serving,
    until,
)


async def ask(port: int, path: str, *headers: str, method: str = "GET", body: bytes = b"") -> tuple[int, bytes]:
    """Return the status and the body of an answer to who has the token."""
    answer = await exchange(port, request(method, path, "Connection: close", AUTHORIZATION, *headers, body=body))
    return answer.status, answer.body


async def scrape(port: int) -> dict[str, float]:
    """Return every number of /metrics that is no bucket, as mux_refusals_total{reason="draining"} is named there."""
    status, body = await ask(port, "/metrics")
    assert status == 200
    return {
        sample.name + "".join(f"{{{key}={value}}}" for key, value in sample.labels.items()): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
        if "le" not in sample.labels
    }


async def test_healthz_and_readyz_of_a_server_in_order(redis_url: str, prefix: str) -> None:
    """200, and each condition by name; HEAD asks as well as GET."""
    async with serving(redis_url=redis_url, prefix=prefix, ops=True) as feed:
        assert await ask(feed.port, "/healthz") == (200, b"alive\n")
        assert await ask(feed.port, "/healthz", method="HEAD") == (200, b"")
        await until(lambda: all(feed.mux._core.conditions().values()))  # the journal is copied, or found to be nowhere
        status, body = await ask(feed.port, "/readyz")
        assert status == 200
        assert orjson.loads(body) == {
            "ready": True,
            "failing": [],
            "conditions": {"subscribed": True, "probe_heard": True, "not_draining": True, "journal_copied": True},
        }


async def test_readyz_says_what_is_missing(free_port: int) -> None:
    """Without Redis the process lives and is of no use."""
    async with serving(redis_url=f"redis://127.0.0.1:{free_port}", ops=True) as feed:
        status, body = await ask(feed.port, "/readyz")
        assert status == 503
        assert orjson.loads(body)["failing"] == ["subscribed", "probe_heard"]
        assert (await ask(feed.port, "/healthz"))[0] == 200
        assert (await scrape(feed.port))["mux_subscribed"] == 0


async def test_an_app_has_these_routes_only_when_it_asks(redis_url: str, prefix: str) -> None:
    """It may have a /metrics of its own."""
    async with serving(redis_url=redis_url, prefix=prefix) as feed:
        for path in ("/healthz", "/readyz", "/metrics"):
            assert (await ask(feed.port, path))[0] == 404


async def test_metrics_count_what_happened(redis_url: str, prefix: str, publisher: redis.Redis) -> None:
    """Two clients, one message, one nobody hears, and the probe that the connection began with.

    A batch more is there: the fleet's own, which is no message of the feed.
    """
    async with serving(journal_bytes=0, redis_url=redis_url, prefix=prefix, ops=True, probe_seconds=3600) as feed:
        async with feed.connect() as one, feed.connect() as other, feed.connect("aside"):
            await one.send("hi")
            await receive(one, 1)
            await receive(other, 1)
            publisher.publish(f"{prefix}nobody", "hi")
            await until(lambda: feed.mux._core.hub.router.unheard == 2)
            await until(lambda: feed.mux._core.broker.outbox.published)
            numbers = await scrape(feed.port)
            expected = {
                "mux_connections": 3,
                "mux_channels": 2,
                "mux_pending_bytes": 0,
                "mux_subscribed": 1,
                "mux_messages_received_total": 3,
                "mux_messages_unheard_total": 2,
                "mux_messages_delivered_total": 2,
                "mux_messages_published_total": 1,
                "mux_batch_messages_count": 4,
                "mux_batch_messages_sum": 4,
                "mux_fan_out_seconds_count": 4,
                "mux_loop_stalls_total": 0,
            }
            assert numbers | expected == numbers
            assert numbers["mux_fan_out_seconds_sum"] < PATIENCE_SECONDS
            await until(lambda: sum(feed.mux._core.observer._loop_lag.lags.counts))
        await until(lambda: not len(feed.mux._core.hub))
        await _until_scraped(feed.port, mux_connections=0)  # what was scraped just now is remembered for a moment


def masked(first: int, payload: bytes) -> bytes:
    """Return a frame of a client, with a mask that changes nothing."""
    return bytes((first, 0x80 | len(payload), 0, 0, 0, 0)) + payload


async def test_every_refusal_is_counted_by_its_reason(redis_url: str, prefix: str) -> None:
    """Of requests, of messages, and of what Redis does not take."""

    async def fails(client: RawClient, data: bytes) -> None:
        client.send(data)
        assert (await client.read_to_end())[:1] == b"\x88"

    async with serving(redis_url=redis_url, prefix=prefix, ops=True, max_message_bytes=100) as feed:
        assert (await ask(feed.port, "/feed/a%20b"))[0] == 400
        assert (await ask(feed.port, "/feed/a", "Origin: https://else.where"))[0] == 403
        assert (await ask(feed.port, "/feed/a", method="POST", body=b"x" * 101))[0] == 413
        assert (await ask(feed.port, "/feed/a", "Upgrade: websocket"))[0] == 426
        for data in (masked(0x81, b"\xff"), masked(0x82, b"x" * 101), masked(0xF1, b"")):
            async with raw_client(feed.port) as client:
                await fails(client, data)
        # One that says goodbye, and one that breaks the protocol after its failure, are no more refusals.
        async with feed.connect():
            pass
        refused = dict(feed.mux._core.hub.refused)
        assert refused == {
            "channel": 1,
            "origin": 1,
            "too_large": 2,
            "handshake": 1,
            "invalid_text": 1,
            "protocol_error": 1,
        }
        numbers = await scrape(feed.port)
        assert {name: value for name, value in numbers.items() if "refusals" in name} == {
            f"mux_refusals_total{{reason={reason}}}": count for reason, count in refused.items()
        }


async def test_a_stall_of_the_loop_is_logged_once_and_counted(
    redis_url: str, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A handler that blocks for 1.3 s is found out."""
    app: Sanic[Any, Any] = Sanic(f"stall-{prefix[:-1]}", configure_logging=False)
    async with serving(app=app, redis_url=redis_url, prefix=prefix, ops=True) as feed:
        await until(lambda: feed.mux._core.observer._ticks > 1)
        time.sleep(1.3)  # noqa: ASYNC251 - it is what is tested
        await until(lambda: feed.mux._core.observer._loop_lag.stalls)
        assert (await scrape(feed.port))["mux_loop_stalls_total"] == 1
    assert sum("the event loop stood still for 1." in line for line in caplog.messages) == 1


async def test_an_observer_that_never_started_is_closed_without_ado(redis_url: str) -> None:
    """An app may fail before it serves."""
    app: Sanic[Any, Any] = Sanic("never", configure_logging=False)
    try:
        await Mux(app, redis_url=redis_url)._core.aclose()
    finally:
        Sanic.unregister_app(app)


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_scrape_covers_all_processes(redis_url: str, prefix: str, workers: int) -> None:
    """Whichever process answers, it answers for all; counters do not go back when one is killed."""
    options = ("--redis-url", redis_url, "--prefix", prefix, "--workers", str(workers), "--no-announce")
    clients = 20
    with mux_serve(*options) as server:
        await _until_scraped(server.port, mux_subscribed=workers)
        connections = [await server.connect(f"c{number}") for number in range(clients)]
        for connection in connections:
            await connection.send("hi")
            assert await receive(connection, 1) == ["hi"]
        # Every process receives everything, probes as well, and one of them delivers it.
        numbers = await _until_scraped(
            server.port,
            mux_connections=clients,
            mux_channels=clients,
            mux_messages_delivered_total=clients,
            mux_messages_published_total=clients,
        )
        if workers > 1:
            control = redis.Redis.from_url(redis_url)
            names = {client["name"] for client in control.client_list()}
            pids = [int(name.rpartition("-")[2]) for name in names if name.startswith("mux-")]
            own = [pid for pid in pids if _parent(pid) == server.pid]
            os.kill(own[0], signal.SIGKILL)
            gone = 0
            for connection in connections:
                try:
                    await connection.send("again")
                    await receive(connection, 1)
                except (ConnectionClosed, OSError):
                    gone += 1
            await _until_scraped(server.port, mux_subscribed=workers, mux_connections=clients - gone)
            after = await scrape(server.port)
            for name, value in numbers.items():
                if name.endswith("_total"):
                    assert after[name] >= value, name
            assert after["mux_messages_delivered_total"] == clients + (clients - gone)
        for connection in connections:
            await connection.close()
        await _until_scraped(server.port, mux_connections=0)
        assert server.stop()[0] == 0


def _parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123
            return int(stat.read().rpartition(")")[2].split()[1])
    except FileNotFoundError:
        return 0


async def _until_scraped(port: int, **expected: float) -> dict[str, float]:
    """Scrape until the numbers are so: what the other processes tell is a second old at most."""
    numbers: dict[str, float] = {}
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while numbers | expected != numbers or not numbers:
                numbers = await scrape(port)
                await asyncio.sleep(0.05)
    except TimeoutError:
        pytest.fail(f"{expected} never came to be: {numbers}")
    return numbers


async def test_json_logs_are_one_object_a_line(redis_url: str, prefix: str) -> None:
    """Those of all processes, whatever they have to say."""
    options = ("--redis-url", redis_url, "--prefix", prefix, "--workers", "2", "--log-json", "--log-level", "debug")
    with mux_serve(*options) as server:
        async with server.connect():
            status, said = await asyncio.to_thread(server.stop)
    assert status == 0
    entries = [orjson.loads(line) for line in said.splitlines() if line.strip() and not line.startswith("  ")]
    assert any("drain" in entry["message"] for entry in entries)
    for entry in entries:
        assert entry.keys() >= {"time", "level", "logger", "pid", "message"}


async def test_every_metric_is_served(redis_url: str, prefix: str) -> None:
    """Also before anything happened."""
    async with serving(redis_url=redis_url, prefix=prefix, ops=True) as feed:
        status, body = await ask(feed.port, "/metrics")
        assert status == 200
        assert [line.split()[2].removesuffix("_total") for line in body.decode().splitlines() if "# TYPE" in line] == [
            metric.name for metric in METRICS
        ]
