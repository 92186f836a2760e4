"""Copies between processes on one node of a cluster, which takes only keys of its own slots."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack

import pytest
import redis

from tests.broker.redis_processes import client, free_ports, redis_process, wait
from tests.recovery.processes import agreed, cut, numbers, process, publish
from tests.support.servers import until

SLOTS = 16384


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[redis.Redis]]:
    """Clients of three nodes: the first has a tenth of the slots, the second all others, the third none."""
    ports = free_ports(3)
    with ExitStack() as stack:
        for port in ports:
            stack.enter_context(redis_process(tmp_path_factory.mktemp("cluster"), port, "cluster-enabled yes"))
        controls = [stack.enter_context(client(port)) for port in ports]
        for port in ports[1:]:
            controls[0].execute_command("CLUSTER", "MEET", "127.0.0.1", port)
        controls[0].execute_command("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS // 10)
        controls[1].execute_command("CLUSTER", "ADDSLOTSRANGE", SLOTS // 10 + 1, SLOTS - 1)
        wait(lambda: all(_is_up(control) for control in controls))
        yield controls


def _is_up(control: redis.Redis) -> bool:
    info: bytes = control.execute_command("CLUSTER", "INFO")  # type: ignore[no-untyped-call]  # redis-py
    return b"cluster_state:ok" in info and b"cluster_known_nodes:3" in info


def url_of(node: redis.Redis) -> str:
    """Return the address of a node of a cluster."""
    return f"redis+cluster://127.0.0.1:{node.connection_pool.connection_kwargs['port']}"


async def test_a_new_process_copies_the_journal_of_one_on_its_node(nodes: list[redis.Redis]) -> None:
    """Also in many chunks, and what a lost connection missed comes back; nothing is left in Redis."""
    url, control = url_of(nodes[0]), nodes[0]
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(process(url))
        await publish(control, 1, 2000)
        await publish(control, 1, 300, b"feed:" + b"large" * 500)
        await until(lambda: len(one.received) == 2000)
        two = await stack.enter_async_context(process(url))
        await publish(control, 2001, 2001)
        await agreed(2001, one, two)
        assert two.journal.kept_after + two.recovery.order.base == one.journal.kept_after + one.recovery.order.base
        await cut(control, two, missed=(2002, 2050))
        await publish(control, 2051, 2051)
        await agreed(2051, one, two)
        assert two.received == numbers(2001, 2051)
        assert two.gaps == []
        assert [node.dbsize() for node in nodes] == [0, 0, 0]


async def test_a_node_that_takes_no_key_is_told_of_once(
    nodes: list[redis.Redis], caplog: pytest.LogCaptureFixture
) -> None:
    """A replica is one: the process is there without a copy, and what it missed is a gap."""
    url, control = url_of(nodes[2]), nodes[2]
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(process(url))
        await publish(control, 1, 10)
        await until(lambda: one.received == numbers(1, 10))
        two = await stack.enter_async_context(process(url))
        await publish(control, 11, 11)
        await agreed(11, one, two)
        for number in (12, 13):
            await cut(control, two, missed=(number, number))
            await until(lambda: len(two.gaps) == number - 11)  # noqa: B023 - waited for here
        assert [gap.missed for gap in two.gaps] == [1, 1]
        said = [record.message for record in caplog.records]
        assert sum("this node of the cluster takes no keys" in message for message in said) == 1


async def test_a_process_on_another_node_has_nothing_to_say_of_it(
    nodes: list[redis.Redis], caplog: pytest.LogCaptureFixture
) -> None:
    """It leaves nothing under a name that was drawn for another node, and its own node is as it should be."""
    async with process(url_of(nodes[0])) as one, process(url_of(nodes[1])) as other:
        parcels = [each.recovery.copies._parcels for each in (one, other)]
        name = await parcels[0].draw()
        assert name is not None
        assert await parcels[1].leave(name, [b"1", b"2"]) is None
        assert await parcels[0].leave(name, [b"1", b"2"]) == 2
        assert [piece async for piece in parcels[0].take(name, 2, 9)] == [b"1", b"2"]
        assert caplog.records == []
