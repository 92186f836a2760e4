"""Act on clients wherever they are: disconnect them, let them out of channels or into some, renew their grants.

    Acts ──► every process of the fleet ──► finds the clients that are meant ──► answers how many it were

An act means the clients that fit all it names: a subject, a channel, a client by its name in a channel. There is no
index of subjects, for that would cost memory for every client; so a process looks through its clients. All acts that
wait are done in one walk, and walks take a tenth of the time of a process, however many acts are asked for.

Rules:

1. Anybody who may publish on the reserved channel can forge an act. It can do to clients what is here and nothing else:
   no act lets a client in, or gives it a channel that it had not, without a proof; no end is later than
   MAX_RENEWAL_SECONDS.
2. A walk is done in slices. An act that finds thousands of clients ends a few in each turn of the loop.
3. An act is done once, by the processes that are there when it comes. What they say they have done may be forged.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from time import perf_counter
from typing import NamedTuple, TypeAlias

import orjson

from mux import reasons
from mux.errors import Refused
from mux.fleet.fleet import Fleet, Question
from mux.fleet.messages import Identity, is_whole, read_object
from mux.fleet.searches import CACHE_FACTOR
from mux.hub.hub import Hub
from mux.hub.subscriber import AnySubscriber
from mux.presence.act import Act, read_act
from mux.presence.roster import MAX_SUBSCRIBERS, clients_in, subject_of
from mux.wire.channel import Namespace

ANSWER_SECONDS = 2.0
"""Longest wait for the answers of other processes: they say when they have acted."""

MAX_WAITING = 400
"""Most acts that wait for a walk."""

ACTS_PER_SECOND = 100
"""Most acts that this process asks for in a second; others wait, for a process that is asked for too many does none."""

MAX_REST_SECONDS = 1.0
"""Longest rest after a walk, so that an act is not late for its answer."""

SLICE_STEPS = 256
"""Most steps in one turn of the loop, which take two milliseconds: a client is one, and so is each name of one."""

STEPS_PER_HIT = 8
"""Steps for which a client that is acted on counts."""

_BySubject: TypeAlias = dict[str | None, list[tuple[int, Act]]]
"""Acts with their places, by the subject of the clients that are meant; with None, those that name no subject."""

logger = logging.getLogger("mux.presence")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of an act on all processes."""

    clients: int
    """The number of clients that were acted on."""
    missing: list[Identity]
    """The processes that did not answer in time; they may act yet."""


class Deeds(NamedTuple):
    """The acts that only the endpoints of clients can do; each returns False when there was nothing to do."""

    renew: Callable[[AnySubscriber, float], bool]
    """Gives the grants of a client a new end, a Unix time in seconds."""
    unsubscribe: Callable[[AnySubscriber, str], bool]
    """Lets a client out of a channel, if it can be in several."""
    subscribe: Callable[[AnySubscriber, Act], bool]
    """Lets a client into a channel, if it can be in several."""


class Acts:
    """Acts on the clients of all processes.

    Args:
        fleet: all processes.
        hub: the clients of this one.
        namespace: what channels are called in Redis.
        deeds: what is done to clients.
        keys: the keys of the API, by which acts are proven.
    """

    def __init__(self, fleet: Fleet, hub: Hub, namespace: Namespace, deeds: Deeds, keys: Sequence[str]) -> None:
        self._fleet = fleet
        self._hub = hub
        self._namespace = namespace
        self._deeds = deeds
        self._keys = keys
        self._turn = asyncio.Lock()
        self._asked_at: deque[float] = deque(maxlen=ACTS_PER_SECOND)
        self._waiting: list[tuple[Act, asyncio.Future[int]]] = []
        self._walking: asyncio.Task[None] | None = None
        self._is_open = False
        fleet.handle("act", self._answer)

    def start(self) -> None:
        """Begin to act; the fleet has been started."""
        self._is_open = True

    async def aclose(self) -> None:
        """Act no more; before the fleet is closed."""
        self._is_open = False
        if self._walking is not None:
            self._walking.cancel()
            await asyncio.gather(self._walking, return_exceptions=True)

    async def everywhere(self, act: Act) -> Outcome:
        """Act on all processes, and return how many clients they were done to.

        Raises:
            ValueError: the act cannot be.
            InvalidChannel: the name of its channel cannot be.
            Refused: the process leaves.
        """
        act.check()
        question = asdict(act.proven(self._keys[0]) if act.act == "subscribe" else act)
        async with self._turn:
            await self._pause()
        if not self._is_open:
            raise Refused(reasons.LEAVING)
        hits: dict[str, int] = {}
        for id_, body in (await self._fleet.ask("act", question, seconds=ANSWER_SECONDS)).items():
            match read_object(body):
                case {"clients": int(count)} if is_whole(count, MAX_SUBSCRIBERS):
                    hits[id_] = count
        return Outcome(sum(hits.values()), [identity for identity, _ in self._fleet.silent(hits)])

    async def _pause(self) -> None:
        """Wait until the last ACTS_PER_SECOND have taken a second."""
        now = asyncio.get_running_loop().time
        if self._is_open and len(self._asked_at) == ACTS_PER_SECOND:
            await asyncio.sleep(self._asked_at[0] + 1.0 - now())
        self._asked_at.append(now())

    async def _answer(self, question: Question) -> bytes | None:
        act = read_act(question)
        if act is None or (act.act == "subscribe" and not act.is_proven(self._keys)):
            return None
        if not self._is_open or len(self._waiting) >= MAX_WAITING:
            return None
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((act, done))
        if self._walking is None:
            self._walking = asyncio.create_task(self._walk(), name="mux-acts")
        return orjson.dumps({"clients": await done})

    async def _walk(self) -> None:
        """Do all acts that wait, walk after walk, with a rest after each."""
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            walk = _Walk(self._hub, self._namespace, self._deeds)
            await walk.run([act for act, _ in waiting])
            for number, (_, done) in enumerate(waiting):
                if not done.done():
                    done.set_result(walk.hits[number])
            await asyncio.sleep(min(MAX_REST_SECONDS, CACHE_FACTOR * walk.seconds))
        self._walking = None


class _Walk:
    """One walk through the clients of a process, for several acts."""

    def __init__(self, hub: Hub, namespace: Namespace, deeds: Deeds) -> None:
        self._hub = hub
        self._namespace = namespace
        self._deeds = deeds
        self.hits: Counter[int] = Counter()
        """The clients that were found, by the place of the act."""
        self.seconds = 0.0
        """Seconds for which the walk has held the event loop, in all slices together."""

    async def run(self, acts: Sequence[Act]) -> None:
        """Walk through the clients, and do all acts to those that are meant."""
        everywhere: _BySubject = defaultdict(list)
        for number, act in enumerate(acts):
            if act.channel is None or act.act == "subscribe":
                everywhere[act.subject].append((number, act))
                continue
            redis_channel = self._namespace.redis_channel(act.channel.encode())
            members = clients_in(self._hub.router, redis_channel)
            await self._through(members, {act.subject: [(number, act)]}, redis_channel)
        spoke = 0
        while everywhere and (some := self._hub.spoke(spoke)) is not None:
            spoke += 1
            await self._through(some, everywhere)

    async def _through(self, clients: list[AnySubscriber], acts: _BySubject, channel: bytes | None = None) -> None:
        """Act on some clients, a few in each turn of the loop."""
        while clients:
            began, steps = perf_counter(), 0
            while clients and steps < SLICE_STEPS:
                steps += self._meet(clients.pop(), acts, channel)
            self.seconds += perf_counter() - began
            await asyncio.sleep(0)

    def _meet(self, client: AnySubscriber, acts: _BySubject, channel: bytes | None) -> int:
        """Do what there is to do to one client, and return how many steps that took."""
        subject = subject_of(client) or ""
        names: set[str] | None = None
        steps = 1
        for number, act in (*acts.get(subject, ()), *acts.get(None, ())):
            if act.client is not None or act.spared:
                if names is None:
                    names = self._names(client, channel)
                    steps += len(names)
                if (act.client is not None and act.client not in names) or not names.isdisjoint(act.spared):
                    continue
            try:
                self.hits[number] += self._do(act, client)
            except Exception:  # whatever is wrong with one client, others are acted on
                logger.exception("a client could not be acted on")
            steps += STEPS_PER_HIT
        return steps

    def _names(self, client: AnySubscriber, channel: bytes | None) -> set[str]:
        """Return the names of a client in a channel, or in all of its channels; none when it was never given a name."""
        if client.identity is None:
            return set()
        if client.endpoint.is_named_once:
            return {str(client.identity)}
        channels = self._hub.router.channels(client) if channel is None else (channel,)
        return {str(client.name_in(name)) for name in channels}

    def _do(self, act: Act, client: AnySubscriber) -> bool:
        """Act on a client; return False when there is nothing to act on."""
        if client.transport.is_closing() or self._hub.is_closing(client):
            return False
        if act.act == "refresh":
            return self._deeds.renew(client, act.until)
        if act.act == "subscribe":
            return self._deeds.subscribe(client, act)
        if act.act == "unsubscribe" and act.channel is not None and self._deeds.unsubscribe(client, act.channel):
            return True
        self._hub.refuse(reasons.DISCONNECTED)
        usual = reasons.DISCONNECTED
        sdk = usual.sdk if act.code == usual.code else act.code
        client.endpoint.close(client, replace(usual, code=act.code, sentence=act.sentence, sdk=sdk))
        return True
