"""The machines that are broken, and one run of traffic over them.

    clients ──► door ──► server a ──► link ──► Redis
    clients ───────────► server a                ▲
    clients ───────────► server b, two workers ──┘
    followers ──► gate ──► server b

door, link and gate are fault proxies. Server b and its Redis have none between them: when only a proxy misbehaves, b
shows that nobody else is harmed. Followers are clients that come back with their position.
"""

from __future__ import annotations

import asyncio
import signal
import tempfile
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from time import time

from tests.chaos.follower import Follower
from tests.chaos.gaps import gaps_told
from tests.chaos.ledger import Problem, Verdict, check
from tests.chaos.processes import PASSWORD, USER, MuxServer, RedisServer, redis_client
from tests.chaos.proxy import Proxy, proxy
from tests.chaos.traffic import Traffic
from tests.support.servers import PATIENCE_SECONDS, until

CHANNELS = ("one", "two")
SUBSCRIBERS = 3
"""For each channel: at a, at a through the door, at b."""

FOLLOWERS = 2
"""For each channel: at b through the gate."""

HEALED, INTACT = "another process had them", "nothing was missed while"
"""What a server says when a lost connection has cost nothing."""

PROCESSES = 3
"""Of both servers together."""

SERVING = "serving on http"
"""What each process says when it is there."""

LOG_SECONDS = 0.2
"""The gaps are read from the logs, which servers write in a thread: its lines may come after the messages."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A fault, and what a server may say about it.

    Attributes:
        name: what it is called on the command line and in the summary.
        fault: breaks something and lasts as long as the fault does; what it forgets to mend is mended.
        must_gap: servers that have to tell of a gap.
        may_gap: servers that may as well; all others must not.
        heals: servers that lose their connection and have to get what they missed from others, or prove that it is
            nothing.
        resumes: whether followers have to come back and miss nothing.
        refused_for: reasons of which followers have to be told one for `missed`; none when they must not be told any.
        unordered: servers to which messages come in an order of their own; nothing is promised until they notice.
    """

    name: str
    fault: Callable[[Rig, Random, float], Awaitable[None]]
    must_gap: frozenset[str]
    may_gap: frozenset[str]
    heals: frozenset[str] = frozenset()
    resumes: bool = False
    refused_for: tuple[str, ...] = ()
    unordered: frozenset[str] = frozenset()


@dataclass(slots=True)
class Outcome:
    """How a run went."""

    name: str
    verdict: Verdict
    gaps: int
    gap_seconds: float
    recovery_seconds: float
    errors: dict[str, int]


class Rig:
    """Everything there is to break; made by rig()."""

    def __init__(
        self,
        redis: RedisServer,
        spare: RedisServer,
        link: Proxy,
        door: Proxy,
        gate: Proxy,
        servers: list[MuxServer],
    ) -> None:
        self.redis = redis
        self.spare = spare
        """A Redis that nobody uses."""
        self.link = link
        """Between server a and Redis."""
        self.door = door
        """Between some clients and server a."""
        self.gate = gate
        """Between followers and server b."""
        self.followers: list[Follower] = []
        """Those of the run."""
        self.a, self.b = servers

    async def command(self, *words: str) -> None:
        """Give Redis a command, with all rights, on a connection that no fault before has cut."""
        async with redis_client(self.redis.port, PATIENCE_SECONDS) as control:
            await control.execute_command(*words)  # type: ignore[no-untyped-call]  # redis-py's has no annotations

    def gaps_told(self) -> int:
        """Return how many gaps the servers have told of."""
        return sum(len(gaps_told(server.log, server.name)) for server in (self.a, self.b))

    def said(self, words: str) -> int:
        """Return how many times the servers have said something."""
        return self.a.log.count(words) + self.b.log.count(words)

    async def run(self, scenario: Scenario, *, seed: int, hold_seconds: float) -> Outcome:
        """Send traffic, break something for about hold_seconds, mend it, and judge the ledger."""
        traffic = Traffic()
        started, logs = time(), {server.name: len(server.log) for server in (self.a, self.b)}
        tasks = [asyncio.create_task(client, name="chaos-client") for client in self._clients(traffic)]
        stuck: list[Problem] = []
        try:
            await until(lambda: self._is_heard(traffic, started))
            try:
                await scenario.fault(self, Random(seed), hold_seconds)
            except TimeoutError as error:
                at = traceback.extract_tb(error.__traceback__)[1]
                stuck.append(Problem("stuck", f"what the fault waits for does not come: {at.line}"))
            await self.mend()
            mended = time()
            stuck += await self._recover(traffic, mended)
            recovery_seconds = time() - mended
            await asyncio.sleep(LOG_SECONDS)
        finally:
            await _cancel(tasks)
        return self._judge(scenario, traffic, stuck, started, logs, recovery_seconds)

    async def mend(self) -> None:
        """Make everything work again, whatever is broken."""
        self.link.heal()
        self.door.heal()
        self.gate.heal()
        self.a.signal(signal.SIGCONT)
        if not self.redis.is_running:
            await self.redis.start()
        self.redis.signal(signal.SIGCONT)

    @staticmethod
    def _is_heard(traffic: Traffic, since: float) -> bool:
        return traffic.is_joined(len(CHANNELS) * (SUBSCRIBERS + FOLLOWERS)) and traffic.heard_since(since)

    def _clients(self, traffic: Traffic) -> list[Coroutine[object, object, None]]:
        ports = {"a": self.a.port, "door": self.door.port, "b": self.b.port}
        self.followers = [
            Follower(traffic, "b", self.gate.port, channel, f"follower-{number}")
            for channel in CHANNELS
            for number in range(FOLLOWERS)
        ]
        clients: list[Coroutine[object, object, None]] = [follower.run() for follower in self.followers]
        for channel in CHANNELS:
            clients += [
                traffic.subscribe("b" if name == "b" else "a", port, channel, name) for name, port in ports.items()
            ]
            clients += [
                traffic.publish_by_websocket(self.a.port, channel, "ws-a"),
                traffic.publish_by_websocket(self.door.port, channel, "ws-door"),
                traffic.publish_by_post(self.b.port, channel, "post-b"),
                traffic.publish_raw(self.redis.port, channel, "raw"),
            ]
        return clients

    async def _recover(self, traffic: Traffic, mended: float) -> list[Problem]:
        """Wait until everybody hears everybody again, and then until all has come."""
        try:
            await until(lambda: self._is_heard(traffic, mended))
            traffic.stop_publishing()
            await until(traffic.is_quiet)
        except TimeoutError:
            silent = traffic.silent_since(mended)
            return [Problem("stuck", f"{PATIENCE_SECONDS:g} s after the fault not all is heard: {silent}")]
        traffic.end()
        return []

    def _judge(
        self,
        scenario: Scenario,
        traffic: Traffic,
        stuck: list[Problem],
        started: float,
        logs: dict[str, int],
        recovery_seconds: float,
    ) -> Outcome:
        ledger, problems = traffic.ledger, list(stuck)
        for server in (self.a, self.b):
            gaps = [gap for gap in gaps_told(server.log, server.name) if gap.until >= started]
            ledger.gaps += gaps
            if gaps and server.name not in scenario.must_gap | scenario.may_gap:
                problems.append(Problem("false gap", f"{server.name} tells of {gaps}, and nothing was wrong there"))
            if not gaps and server.name in scenario.must_gap:
                problems.append(Problem("no gap", f"{server.name} tells of none"))
            said = server.log[logs[server.name] :]
            if server.name in scenario.heals and HEALED not in said and INTACT not in said:
                problems.append(Problem("not healed", f"{server.name} does not say that it got back what it missed"))
            if "Traceback" in said:
                problems.append(Problem("traceback", f"{server.name} logged {said[said.index('Traceback') :][:2000]}"))
        ledger.sessions = [session for session in ledger.sessions if session.server not in scenario.unordered]
        verdict = check(ledger)
        verdict.problems += [*problems, *self._misled(scenario)]
        gap_seconds = sum(gap.until - gap.since for gap in ledger.gaps)
        return Outcome(scenario.name, verdict, len(ledger.gaps), gap_seconds, recovery_seconds, dict(traffic.errors))

    def _misled(self, scenario: Scenario) -> Iterator[Problem]:
        """Find followers that were told something else than what is promised."""
        for follower in self.followers:
            if scenario.refused_for:
                if not set(scenario.refused_for) & set(follower.missed):
                    yield Problem("not refused", f"{follower.url} was told {follower.missed}")
            elif follower.missed and follower.server not in scenario.must_gap | scenario.may_gap:
                yield Problem("refused", f"{follower.url} was told {follower.missed}, and nothing was missed")
            if scenario.resumes and follower.streams < 2:
                yield Problem("not resumed", f"{follower.url} did not come back")


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    """End the clients. Once is not always enough: before Python 3.12 wait_for() could lose a cancellation."""
    pending = set(tasks)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while pending:
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=2)


@asynccontextmanager
async def rig(seed: int) -> AsyncIterator[Rig]:
    """Run the machines for as long as the block runs."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mux-chaos-")))
        redis = RedisServer(folder)
        stack.callback(redis.kill)
        await redis.start()
        spare = RedisServer(folder)
        stack.callback(spare.kill)
        await spare.start()
        link = await stack.enter_async_context(proxy(("127.0.0.1", redis.port), seed, is_redis=True))
        servers = []
        for name, port, workers in (("a", link.port, "1"), ("b", redis.port, "2")):
            url = f"redis://{USER}:{PASSWORD}@127.0.0.1:{port}"
            server = MuxServer(name, folder, "--redis-url", url, "--workers", workers, "--drain-seconds", "0.5")
            stack.push_async_callback(server.stop)
            servers.append(server)
        for server in servers:
            await server.start()
        door, gate = [await stack.enter_async_context(proxy(("127.0.0.1", server.port), seed)) for server in servers]
        one = Rig(redis, spare, link, door, gate, servers)
        await until(lambda: one.said(SERVING) == PROCESSES)
        yield one
