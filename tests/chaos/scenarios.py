"""Every fault by name.

A fault on the link concerns server a alone, one on the door only who comes through it, and both servers
feel what happens to Redis. What a scenario does not mend, Rig.mend() mends after it.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from random import Random
from typing import TypeAlias

from tests.chaos.processes import PREFIX, USER
from tests.chaos.proxy import Proxy
from tests.chaos.rig import PROCESSES, SERVING, Rig, Scenario
from tests.support.servers import is_replaced, until

Fault: TypeAlias = Callable[[Rig, Random, float], Awaitable[None]]

SCENARIOS: dict[str, Scenario] = {}

UNSUBSCRIBED = b">3\r\n$12\r\npunsubscribe\r\n$6\r\nfeed:*\r\n:0\r\n"
"""What Redis says when the subscription has ended."""

SWAPS_SECONDS = 60.0
"""Longest time until a process has noticed twice that its order is not that of others; they beat every 9 s."""

NOBODY, A, B, BOTH = frozenset(""), frozenset("a"), frozenset("b"), frozenset("ab")


def scenario(
    name: str,
    *,
    must_gap: frozenset[str] = NOBODY,
    may_gap: frozenset[str] = NOBODY,
    heals: frozenset[str] = NOBODY,
    resumes: bool = False,
    refused_for: tuple[str, ...] = (),
    unordered: frozenset[str] = NOBODY,
) -> Callable[[Fault], Fault]:
    """Give a fault its name, and say what is promised while it lasts; see Scenario."""

    def register(fault: Fault) -> Fault:
        SCENARIOS[name] = Scenario(name, fault, must_gap, may_gap, heals, resumes, refused_for, unordered)
        return fault

    return register


async def _slow(proxy: Proxy, random: Random, hold: float) -> None:
    for way in (proxy.up, proxy.down):
        way.delay_seconds = random.uniform(0.005, 0.02)
        way.slice_bytes = random.randint(20, 200)
    await asyncio.sleep(hold)


async def _reset(proxy: Proxy, random: Random, hold: float) -> None:
    for _ in range(random.randint(1, 4)):
        proxy.reset()
        await asyncio.sleep(hold / 4)


async def _drop_new(proxy: Proxy, random: Random, hold: float) -> None:
    proxy.drops_new = True
    proxy.reset()
    await asyncio.sleep(hold)


async def _black_hole(proxy: Proxy, random: Random, hold: float) -> None:
    proxy.black_hole()
    await asyncio.sleep(hold)


@scenario("nothing")
async def nothing(rig: Rig, random: Random, hold: float) -> None:
    """Break nothing: whoever finds something here is wrong himself."""
    await asyncio.sleep(hold)


@scenario("link-slow", may_gap=A)
async def link_slow(rig: Rig, random: Random, hold: float) -> None:
    """Redis is far away, and its bytes come in slices."""
    await _slow(rig.link, random, hold)


@scenario("link-stall-down", may_gap=A)
async def link_stall_down(rig: Rig, random: Random, hold: float) -> None:
    """What Redis sends is under way for a while."""
    rig.link.down.stall()
    await asyncio.sleep(hold)


@scenario("link-stall-up", may_gap=A)
async def link_stall_up(rig: Rig, random: Random, hold: float) -> None:
    """What is sent to Redis is under way for a while, messages come."""
    rig.link.up.stall()
    await asyncio.sleep(hold)


@scenario("link-black-hole", heals=A)
async def link_black_hole(rig: Rig, random: Random, hold: float) -> None:
    """The connection is there and nothing passes, for ever; a new one works later."""
    await _black_hole(rig.link, random, hold)


@scenario("link-reset", heals=A)
async def link_reset(rig: Rig, random: Random, hold: float) -> None:
    """The connection is reset, some times in a row."""
    await _reset(rig.link, random, hold)


@scenario("link-corrupt", heals=A)
async def link_corrupt(rig: Rig, random: Random, hold: float) -> None:
    """Something that is not RESP comes from Redis."""
    rig.link.down.corrupt_chunks = 1
    await until(lambda: not rig.link.down.corrupt_chunks)


@scenario("link-drop-new", heals=A)
async def link_drop_new(rig: Rig, random: Random, hold: float) -> None:
    """The connection is lost, and new ones are for a while."""
    await _drop_new(rig.link, random, hold)


@scenario("link-unsubscribed", heals=A)
async def link_unsubscribed(rig: Rig, random: Random, hold: float) -> None:
    """Something on the way ends the subscription, and the connection lives on: it answers, and hears nothing."""
    await until(lambda: rig.link.slip_in(b"*1\r\n$12\r\nPUNSUBSCRIBE\r\n", UNSUBSCRIBED))
    await asyncio.sleep(hold)


@scenario("link-led-elsewhere", may_gap=A)
async def link_led_elsewhere(rig: Rig, random: Random, hold: float) -> None:
    """A proxy leads the connection to another server, which knows nothing of it; a new connection is led back."""
    await until(lambda: rig.link.lead_to(("127.0.0.1", rig.spare.port)))
    await asyncio.sleep(hold)


@scenario("redis-kill", must_gap=BOTH)
async def redis_kill(rig: Rig, random: Random, hold: float) -> None:
    """Redis is killed and started again, with nothing in it."""
    rig.redis.kill()
    await asyncio.sleep(hold)
    await rig.redis.start()


@scenario("redis-stop", may_gap=BOTH)
async def redis_stop(rig: Rig, random: Random, hold: float) -> None:
    """Redis does nothing for a while, and its connections stay."""
    rig.redis.signal(signal.SIGSTOP)
    await asyncio.sleep(hold)


@scenario("redis-stop-and-kill", must_gap=BOTH)
async def redis_stop_and_kill(rig: Rig, random: Random, hold: float) -> None:
    """Redis hangs before it dies: what it was sent meanwhile is lost."""
    rig.redis.signal(signal.SIGSTOP)
    await asyncio.sleep(hold)
    rig.redis.kill()


@scenario("client-kill", must_gap=BOTH)
async def client_kill(rig: Rig, random: Random, hold: float) -> None:
    """Redis closes every subscriber."""
    await rig.command("CLIENT", "KILL", "TYPE", "pubsub")


@scenario("output-buffer", may_gap=BOTH)
async def output_buffer(rig: Rig, random: Random, hold: float) -> None:
    """A slow link and a burst: Redis closes who does not keep up."""
    await rig.command("CONFIG", "SET", "client-output-buffer-limit", "pubsub 262144 0 0")
    rig.link.down.stall()
    for _ in range(200):
        await rig.command("PUBLISH", f"{PREFIX}burst", "x" * 65536)
    await rig.command("CONFIG", "SET", "client-output-buffer-limit", "pubsub 33554432 8388608 60")


@scenario("replica-of", may_gap=BOTH)
async def replica_of(rig: Rig, random: Random, hold: float) -> None:
    """Our master becomes a replica of nobody who is there, and a master again."""
    await rig.command("REPLICAOF", "127.0.0.1", "1")
    await asyncio.sleep(hold)
    await rig.command("REPLICAOF", "NO", "ONE")


@scenario("acl-channels", must_gap=BOTH)
async def acl_channels(rig: Rig, random: Random, hold: float) -> None:
    """The right to our channels is taken away; Redis closes who listens to them."""
    await rig.command("ACL", "SETUSER", USER, "resetchannels")
    await asyncio.sleep(hold)
    await rig.command("ACL", "SETUSER", USER, f"&{PREFIX}*")


@scenario("acl-publish", may_gap=BOTH)
async def acl_publish(rig: Rig, random: Random, hold: float) -> None:
    """The right to publish is taken away; messages come."""
    await rig.command("ACL", "SETUSER", USER, "-publish")
    await asyncio.sleep(hold)
    await rig.command("ACL", "SETUSER", USER, "+publish")


@scenario("worker-kill", may_gap=B)
async def worker_kill(rig: Rig, random: Random, hold: float) -> None:
    """One of two workers is killed, and replaced."""
    said = rig.said(SERVING)
    os.kill(random.choice(sorted(rig.b.workers())), signal.SIGKILL)
    await until(lambda: rig.said(SERVING) > said)


@scenario("rolling-restart", resumes=True)
async def rolling_restart(rig: Rig, random: Random, hold: float) -> None:
    """Worker after worker is replaced, and clients come back with their positions."""
    before = rig.b.workers()
    rig.b.signal(signal.SIGHUP)
    await is_replaced(rig.b.pid, before, len(before))


@scenario("gate-reset", resumes=True)
async def gate_reset(rig: Rig, random: Random, hold: float) -> None:
    """Event streams are reset, some times in a row, and come back with their positions."""
    await _reset(rig.gate, random, hold)


@scenario("client-kill-while-away", must_gap=BOTH, refused_for=("other_epoch",))
async def client_kill_while_away(rig: Rig, random: Random, hold: float) -> None:
    """Every connection to Redis is closed while clients are away: no process knows what passed, and each says so."""
    rig.gate.drops_new = True
    rig.gate.reset()
    told = rig.gaps_told()
    await rig.command("CLIENT", "KILL", "TYPE", "pubsub")
    await until(lambda: rig.gaps_told() >= told + PROCESSES)
    await asyncio.sleep(hold)


@scenario("link-swaps", must_gap=BOTH, refused_for=("other_epoch", "no_order"), unordered=A)
async def link_swaps(rig: Rig, random: Random, hold: float) -> None:
    """Messages of the feed change places on the way to a process: it shares no positions with the others any more.

    Messages about the order keep their places, so that all counts agree. A process stops that has seen two epochs void
    within ten minutes, until it has a new connection. One that a scenario before has started anew has seen one of them,
    and goes on alone, in an epoch that it shares with nobody.
    """
    rig.link.down.swaps_every, rig.link.down.spared = 2, f"{PREFIX}$".encode()
    rig.link.reset()
    try:
        async with asyncio.timeout(SWAPS_SECONDS):
            apart = 0
            while apart < 5:  # between two epochs nobody has a position for one second or two
                await asyncio.sleep(1)
                own, others = [(await server.position()).partition("-")[0] for server in (rig.a, rig.b)]
                apart = 0 if own and own == others else apart + 1
            while not all(follower.missed for follower in rig.followers):
                rig.gate.reset()
                await asyncio.sleep(2)  # a follower that comes back is answered within one
    finally:
        rig.link.heal()
        await rig.command("CLIENT", "KILL", "TYPE", "pubsub")


@scenario("mux-stop", may_gap=A)
async def mux_stop(rig: Rig, random: Random, hold: float) -> None:
    """A server does nothing for a while."""
    rig.a.signal(signal.SIGSTOP)
    await asyncio.sleep(hold)


@scenario("mux-stop-and-client-kill", must_gap=BOTH)
async def mux_stop_and_client_kill(rig: Rig, random: Random, hold: float) -> None:
    """A server does nothing while its connection is closed: what it reads later is from long ago."""
    rig.a.signal(signal.SIGSTOP)
    await asyncio.sleep(hold)
    await rig.command("CLIENT", "KILL", "TYPE", "pubsub")
    await asyncio.sleep(5 * hold)


@scenario("door-slow")
async def door_slow(rig: Rig, random: Random, hold: float) -> None:
    """A client is far away."""
    await _slow(rig.door, random, hold)


@scenario("door-stall-down")
async def door_stall_down(rig: Rig, random: Random, hold: float) -> None:
    """A client reads nothing for a while."""
    rig.door.down.stall()
    await asyncio.sleep(hold)


@scenario("door-stall-up")
async def door_stall_up(rig: Rig, random: Random, hold: float) -> None:
    """What a client sends is under way for a while."""
    rig.door.up.stall()
    await asyncio.sleep(hold)


@scenario("door-black-hole")
async def door_black_hole(rig: Rig, random: Random, hold: float) -> None:
    """A client is gone and does not say so."""
    await _black_hole(rig.door, random, hold)


@scenario("door-reset")
async def door_reset(rig: Rig, random: Random, hold: float) -> None:
    """Connections of clients are reset, some times in a row."""
    await _reset(rig.door, random, hold)


@scenario("door-corrupt")
async def door_corrupt(rig: Rig, random: Random, hold: float) -> None:
    """What comes from clients, and to them, is not WebSocket."""
    rig.door.up.corrupt_chunks = rig.door.down.corrupt_chunks = random.randint(1, 3)
    await until(lambda: not (rig.door.up.corrupt_chunks or rig.door.down.corrupt_chunks))


@scenario("door-drop-new")
async def door_drop_new(rig: Rig, random: Random, hold: float) -> None:
    """Connections of clients are lost, and new ones are for a while."""
    await _drop_new(rig.door, random, hold)
