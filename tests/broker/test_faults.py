"""What goes wrong with a Redis that works, and how it is found."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis

from mux.broker.broker import Broker
from mux.broker.gap import Gap
from mux.errors import BrokerUnavailable
from mux.serve.embedded import embedded_server
from mux.wire.resp import encode_command
from tests.broker.redis_processes import client, free_ports, redis_process, wait
from tests.broker.test_broker import Heard, broker_on
from tests.chaos.proxy import proxy
from tests.chaos.scenarios import UNSUBSCRIBED
from tests.support.servers import until

PROBE_SECONDS = 0.1


@pytest.fixture
def own_redis() -> Iterator[str]:
    """Return the URL of a Valkey that a test may break."""
    with embedded_server() as url:
        yield url


async def test_outage_is_a_gap_that_holds_what_was_missed(own_redis: str) -> None:
    """What others publish while we are away lies between the two ends of the gap that is told of."""
    gaps: list[Gap] = []
    with redis.Redis.from_url(own_redis) as control:
        async with broker_on(own_redis, gaps=gaps) as (broker, heard):
            control.client_kill_filter(skipme=True, _type="pubsub")
            missed_at = time.time()
            control.publish("feed:x", "missed?")
            await until(lambda: gaps)
            await broker.outbox.publish(b"feed:x", b"back")
            await until(lambda: (b"feed:x", b"back") in heard.messages)
            (gap,) = gaps
            assert gap.since < missed_at < gap.until
            assert (gap.number, gap.cause, broker.gaps) == (1, "closed", 1)
            assert broker.gap_seconds == pytest.approx(gap.seconds)
            assert broker.reconnects == {"closed": 1}


async def test_redis_that_comes_late_is_a_gap_from_the_start(free_port: int, tmp_path: Path) -> None:
    """Who serves before it hears has missed everything so far."""
    gaps: list[Gap] = []
    before = time.time()
    async with broker_on(f"redis://127.0.0.1:{free_port}", gaps=gaps) as (broker, _):
        with redis_process(tmp_path, free_port):
            await until(lambda: broker.is_connected)
            (gap,) = gaps
            assert gap.cause == "unreachable"
            assert before <= gap.since < gap.until


async def test_held_messages_are_sent_in_order_when_redis_is_back(own_redis: str) -> None:
    """An outage shorter than the holding is nobody's business."""
    with redis.Redis.from_url(own_redis) as control:
        pid = int(control.info("server")["process_id"])
        async with broker_on(own_redis, max_held_seconds=60) as (broker, heard):
            os.kill(pid, signal.SIGKILL)
            await until(lambda: not broker.is_connected)
            publishing = [asyncio.create_task(broker.outbox.publish(b"feed:x", b"%d" % n)) for n in range(100)]
            await asyncio.gather(*publishing)
            await until(lambda: len(heard.messages) >= 100)
            assert heard.messages == [(b"feed:x", b"%d" % n) for n in range(100)]


async def test_held_messages_are_sent_before_the_end(own_redis: str) -> None:
    """A server that stops in an outage waits a little for Redis, and gives back what it could not send."""
    with redis.Redis.from_url(own_redis) as control:
        async with broker_on(own_redis, max_held_seconds=60) as (broker, _):
            control.client_kill_filter(skipme=True, _type="pubsub")
            await until(lambda: not broker.is_connected)
            publishing = asyncio.create_task(broker.outbox.publish(b"feed:x", b"last words"))
            await asyncio.sleep(0)
        await publishing


async def test_held_messages_that_get_too_old_are_given_back(free_port: int) -> None:
    """Their sender is told, and nothing waits for ever."""
    async with broker_on(f"redis://127.0.0.1:{free_port}", max_held_seconds=0.05) as (broker, _):
        results = await asyncio.gather(
            *(broker.outbox.publish(b"feed:x", b"hi") for _ in range(3)), return_exceptions=True
        )
        assert [type(result) for result in results] == [BrokerUnavailable] * 3


async def test_messages_over_the_bound_are_refused_at_once(free_port: int) -> None:
    """The memory of a process does not grow with an outage."""
    url = f"redis://127.0.0.1:{free_port}"
    async with broker_on(url, max_held_seconds=60, max_held_bytes=1000) as (broker, _):
        held = asyncio.create_task(broker.outbox.publish(b"feed:x", b"x" * 500))
        await asyncio.sleep(0)
        with pytest.raises(BrokerUnavailable):
            await broker.outbox.publish(b"feed:x", b"x" * 500)
        assert not held.done()
    with pytest.raises(BrokerUnavailable):
        await held


async def test_silence_is_probed_and_a_probe_that_is_heard_is_enough(own_redis: str) -> None:
    """A quiet evening is no fault."""
    async with broker_on(own_redis, probe_seconds=0.02) as (broker, _):
        connection = broker._connection
        assert connection is not None
        await until(lambda: connection.heard >= 5)
        assert broker._connection is connection


@pytest.mark.parametrize("how", ["told", "silent", "silent, and others hear our probes"])
async def test_lost_subscription_is_found_and_the_gap_begins_before_it(
    free_port: int, tmp_path: Path, how: str
) -> None:
    """The connection answers everything and hears nothing; the gap once began with its last answer, 3 s later."""
    gaps: list[Gap] = []
    with redis_process(tmp_path, free_port), client(free_port) as control, control.pubsub() as other:
        if "others" in how:
            other.psubscribe("feed:*")
        async with (
            proxy(("127.0.0.1", free_port), is_redis=True) as link,
            broker_on(f"redis://127.0.0.1:{link.port}", gaps=gaps, probe_seconds=PROBE_SECONDS) as (_, heard),
        ):
            lost_at: list[float] = []

            def unsubscribe() -> bool:
                lost_at.append(time.time())
                return link.slip_in(encode_command(b"PUNSUBSCRIBE"), b"" if how == "told" else UNSUBSCRIBED)

            await until(unsubscribe)
            while not gaps:
                control.publish("feed:x", "missed?")
                await asyncio.sleep(0.005)
            assert gaps[0].cause == "deaf"
            assert gaps[0].since <= lost_at[-1] < gaps[0].until
            control.publish("feed:x", "back")
            await _heard(heard, b"back")


async def test_another_server_on_the_same_connection_is_found(tmp_path: Path) -> None:
    """A proxy that leads us elsewhere keeps the connection, and the server there knows nothing of a subscription."""
    gaps: list[Gap] = []
    first, second = free_ports(2)
    with redis_process(tmp_path, first), redis_process(tmp_path, second):
        async with (
            proxy(("127.0.0.1", first), is_redis=True) as link,
            broker_on(f"redis://127.0.0.1:{link.port}", gaps=gaps, probe_seconds=PROBE_SECONDS) as (broker, _),
        ):
            assert broker._watchdog is not None
            began = broker._watchdog.good_at
            await until(lambda: broker._watchdog is not None and broker._watchdog.good_at != began)
            led_at: list[float] = []

            def lead() -> bool:
                led_at.append(time.time())
                return link.lead_to(("127.0.0.1", second))

            await until(lead)
            await until(lambda: gaps)
            assert gaps[0].cause in ("moved", "deaf")
            assert gaps[0].since <= led_at[-1]


async def test_address_that_led_to_another_server_before_we_noticed(tmp_path: Path) -> None:
    """The old server answers as ever while all others are on the new one; since when is not known, and not made up."""
    gaps: list[Gap] = []
    first, second = free_ports(2)
    with redis_process(tmp_path, second), redis_process(tmp_path, first):
        async with (
            proxy(("127.0.0.1", first), is_redis=True) as link,
            broker_on(f"redis://127.0.0.1:{link.port}", gaps=gaps, probe_seconds=PROBE_SECONDS) as (broker, _),
        ):
            first_connection = broker._connection
            assert first_connection is not None
            led_at = time.time()
            link.target = ("127.0.0.1", second)
            # The new server heard what was published meanwhile; for the old one every moment was proven.
            await until(lambda: broker._watchdog is not None and _wall(broker) > led_at)
            link.reset()
            await until(lambda: gaps)
            assert gaps[0].since <= led_at


def _wall(broker: Broker) -> float:
    proven = broker._watchdog.good_at if broker._watchdog is not None else None
    return proven.wall if proven is not None else 0.0


async def test_stopped_redis_is_found_and_found_again(own_redis: str) -> None:
    """A process that is stopped keeps its sockets open and says nothing."""
    gaps: list[Gap] = []
    with redis.Redis.from_url(own_redis) as control:
        pid = int(control.info("server")["process_id"])
        url = f"{own_redis}?socket_connect_timeout=0.2"
        async with broker_on(url, gaps=gaps, probe_seconds=PROBE_SECONDS) as (broker, _):
            os.kill(pid, signal.SIGSTOP)
            await until(lambda: not broker.is_connected)
            os.kill(pid, signal.SIGCONT)
            await until(lambda: gaps)
            assert gaps[0].cause == "deaf"


async def test_demoted_master_is_found(own_redis: str, caplog: pytest.LogCaptureFixture) -> None:
    """On a replica our probes come back and reach nobody else; its role tells, and it may become master again."""
    gaps: list[Gap] = []
    with redis.Redis.from_url(own_redis) as control:
        async with broker_on(own_redis, gaps=gaps, probe_seconds=PROBE_SECONDS) as (broker, _):
            demoted_at = time.time()
            control.replicaof("127.0.0.1", "1")
            await until(lambda: any("is a replica" in record.message for record in caplog.records))
            assert not broker.is_connected
            control.replicaof("NO", "ONE")
            await until(lambda: gaps)
            assert gaps[0].cause in ("demoted", "closed")
            # The answer that says so proved the moment of its question once.
            assert gaps[0].since <= demoted_at
            # One line for the loss, one for the reason it does not come back, one for the gap.
            assert len(caplog.records) == 3


async def test_revoked_rights_are_found(own_redis: str) -> None:
    """A user that may publish no more is deaf to itself, and is told what it lacks until it has it again."""
    gaps: list[Gap] = []
    with redis.Redis.from_url(own_redis) as control:

        def allow(*rules: str) -> None:
            control.execute_command("ACL", "SETUSER", "app", *rules)

        allow("on", ">pw", "+@all", "resetchannels", "&feed:*")
        url = f"{own_redis}?username=app&password=pw"
        async with broker_on(url, gaps=gaps, probe_seconds=PROBE_SECONDS) as (broker, _):
            allow("-publish")
            await until(lambda: not broker.is_connected)
            allow("+publish")
            await until(lambda: gaps)
            revoked_at = time.time()
            allow("resetchannels")
            await until(lambda: not broker.is_connected)
            allow("&feed:*")
            await until(lambda: len(gaps) == 2)
            assert gaps[1].since <= revoked_at


async def test_disconnect_over_the_output_buffer_is_counted_as_such(own_redis: str) -> None:
    """Redis closes a subscriber that does not keep up without a word; its statistics tell."""
    gaps: list[Gap] = []
    with redis.Redis.from_url(own_redis) as control:
        control.config_set("client-output-buffer-limit", "pubsub 65536 65536 1")
        async with broker_on(own_redis, gaps=gaps) as (broker, _):
            assert broker._connection is not None
            broker._connection._transport.pause_reading()
            with control.pipeline(transaction=False) as pipeline:
                for _ in range(5000):
                    pipeline.publish("feed:x", "x" * 500)
                pipeline.execute()
            broker._connection._transport.resume_reading()
            await until(lambda: gaps)
        assert (gaps[0].cause, broker.reconnects) == ("output_buffer", {"output_buffer": 1})


@pytest.mark.parametrize("how", ["kill", "command"])
async def test_failover_by_sentinels_is_followed(tmp_path: Path, how: str) -> None:
    """One master, one replica, three sentinels: whoever becomes master is found."""
    master, replica, *sentinels = free_ports(5)
    gaps: list[Gap] = []
    with ExitStack() as stack:
        first = stack.enter_context(redis_process(tmp_path, master))
        stack.enter_context(redis_process(tmp_path, replica, f"replicaof 127.0.0.1 {master}"))
        for port in sentinels:
            rules = ("monitor main 127.0.0.1 {} 2", "down-after-milliseconds main 500", "failover-timeout main 3000")
            stack.enter_context(redis_process(tmp_path, port, *(f"sentinel {rule.format(master)}" for rule in rules)))
        one = client(sentinels[0])
        await asyncio.to_thread(wait, lambda: _knows_all(one))
        url = f"redis+sentinel://{','.join(f'127.0.0.1:{port}' for port in sentinels)}/main"
        async with broker_on(url, gaps=gaps, probe_seconds=0.3, max_held_seconds=60) as (broker, heard):
            if how == "kill":
                first.kill()
            else:
                one.sentinel_failover("main")
            with client(replica) as new_master:
                await asyncio.to_thread(wait, lambda: new_master.role()[0] == b"master")
                promoted_at = time.time()
                await until(lambda: gaps and broker.is_connected)
                await until(lambda: mux_names(new_master))
                # The old master says for seconds that it is one, and hears our probes.
                assert gaps[0].since <= promoted_at
                await broker.outbox.publish(b"feed:x", b"followed")
                await until(lambda: (b"feed:x", b"followed") in heard.messages)


def _knows_all(sentinel: redis.Redis) -> bool:
    state: Any = sentinel.sentinel_master("main")
    return bool(state["num-other-sentinels"] == 2 and state["num-slaves"] == 1)


def mux_names(control: redis.Redis) -> list[str]:
    """Return the names of the connections that are mux'."""
    return [entry["name"] for entry in control.client_list() if entry["name"].startswith("mux-")]


async def test_cluster_that_loses_our_node(tmp_path: Path) -> None:
    """One connection to any node hears what is published on the others; when it dies another will do."""
    ports = free_ports(3)
    gaps: list[Gap] = []
    with ExitStack() as stack:
        options = ("cluster-enabled yes", "cluster-node-timeout 1000", "cluster-require-full-coverage no")
        nodes = [stack.enter_context(redis_process(tmp_path, port, *options)) for port in ports]
        controls = [stack.enter_context(client(port)) for port in ports]
        for port in ports[1:]:
            controls[0].execute_command("CLUSTER", "MEET", "127.0.0.1", port)
        for node, control in enumerate(controls):
            control.execute_command("CLUSTER", "ADDSLOTSRANGE", node * 5461, min(node * 5461 + 5460, 16383))
        await asyncio.to_thread(wait, lambda: all(_is_up(control) for control in controls))
        url = f"redis+cluster://{','.join(f'127.0.0.1:{port}' for port in ports)}"
        async with broker_on(url, gaps=gaps, max_held_seconds=60) as (broker, heard):
            controls[2].publish("feed:x", "from another node")
            await _heard(heard, b"from another node")
            killed_at = time.time()
            nodes[0].kill()
            await until(lambda: gaps and broker.is_connected)
            assert gaps[0].since <= killed_at
            controls[2].publish("feed:x", "from a node that lives")
            await _heard(heard, b"from a node that lives")


def _is_up(control: redis.Redis) -> bool:
    info: bytes = control.execute_command("CLUSTER", "INFO")  # type: ignore[no-untyped-call]  # redis-py
    return b"cluster_state:ok" in info and b"cluster_known_nodes:3" in info


async def _heard(heard: Heard, payload: bytes) -> None:
    await until(lambda: (b"feed:x", payload) in heard.messages)
