"""Do what a backend asks for, on all processes.

    publish, broadcast                          by the outbox, as what clients send
    history                                     from the journal of this process
    channels, info, presence, presence_stats    asked of all processes
    disconnect, unsubscribe, refresh            done by all processes

An answer that some processes are missing in names them.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import asdict
from fnmatch import fnmatchcase
from functools import partial
from time import time
from typing import Any, NamedTuple, TypeAlias, TypeVar

from msgspec import Raw

from mux import reasons
from mux.backend import commands, past
from mux.backend.commands import check_count, message_of, read
from mux.backend.errors import BAD_REQUEST, EXPECTED, NOT_AVAILABLE, NOT_FOUND, ApiError, told
from mux.backend.once import Once
from mux.broker.outbox import Outbox
from mux.endpoints.past import Past
from mux.errors import MessageTooLarge, MuxError, Refused
from mux.hub.hub import Hub
from mux.inspect.inspector import Inspector
from mux.inspect.listing import MAX_NAMES, is_printable
from mux.presence.act import MAX_RENEWAL_SECONDS, Act
from mux.presence.acts import Acts
from mux.presence.presence import Presence
from mux.settings.settings import Settings
from mux.wire.channel import MAX_CHANNEL_BYTES, Namespace, binary_variant, check_channel

AT_ONCE = 64
"""Most messages of a broadcast, and most commands of a parallel batch, that are under way at the same time."""

LARGE = frozenset(("channels", "history", "info", "presence"))
"""Commands whose answers may be megabytes long."""

MAX_LARGE = 16
"""Most commands with large answers in one batch."""

_WILD = re.compile(r"[*?\[]")

Result: TypeAlias = dict[str, Any]

T = TypeVar("T")
C = TypeVar("C")


class Parts(NamedTuple):
    """The parts of one run of an app that the API works with."""

    hub: Hub
    outbox: Outbox
    past: Past | None
    inspector: Inspector
    presence: Presence
    acts: Acts
    once: Once


class Backend:
    """Carries out the commands of backends.

    Args:
        parts: what it works with.
        settings: prefix, max_message_bytes and inspect.
    """

    def __init__(self, parts: Parts, settings: Settings) -> None:
        self._parts = parts
        self._namespace = Namespace(settings.prefix)
        self._max_message_bytes = settings.max_message_bytes
        self._gives_names = settings.inspect
        self._methods: dict[str, Callable[[bytes | Raw], Awaitable[Result]]] = {
            "publish": _reads(commands.Publish, self._publish),
            "broadcast": _reads(commands.Broadcast, self._broadcast),
            "history": _reads(commands.History, self._history),
            "history_remove": _reads(commands.Channel, _refuses("messages leave the journal by themselves")),
            "channels": _reads(commands.Pattern, self._channels),
            "info": _reads(commands.Nothing, self._info),
            "presence": _reads(commands.Channel, self._presence),
            "presence_stats": _reads(commands.Channel, self._presence_stats),
            "disconnect": _reads(commands.User, self._disconnect),
            "unsubscribe": _reads(commands.User, self._unsubscribe),
            "refresh": _reads(commands.User, self._refresh),
            "subscribe": _reads(commands.Subscribe, self._subscribe),
            "rpc": _reads(commands.Nothing, _no_rpc),
        }

    def has(self, method: str) -> bool:
        """Tell whether there is a method."""
        return method in self._methods or method == "batch"

    async def answer(self, method: str, body: bytes) -> Result:
        """Do a command that there is, and return the whole answer: its result, or its error.

        Raises:
            Refused: the body is no JSON.
        """
        commands.check_json(body)
        try:
            if method == "batch":
                return {"replies": await self._batch(read(body, commands.Batch))}
            return {"result": await self._methods[method](body)}
        except EXPECTED as error:
            return {"error": self._told(error)}

    def _told(self, error: MuxError) -> Result:
        """Count an error, and return what is told of it."""
        if isinstance(error, Refused):
            self._parts.hub.refuse(error.reason)
        elif isinstance(error, ApiError):
            self._parts.hub.refuse(reasons.API_COMMAND)
        return told(error)

    async def _batch(self, asked: commands.Batch) -> list[Result]:
        check_count(asked.commands, "commands")
        if sum(not LARGE.isdisjoint(command) for command in asked.commands) > MAX_LARGE:
            raise ApiError(BAD_REQUEST, f"a batch has at most {MAX_LARGE} of {', '.join(sorted(LARGE))}")
        return await _all(self._reply, asked.commands, AT_ONCE if asked.parallel else 1)

    async def _reply(self, command: dict[str, Raw]) -> Result:
        try:
            if len(command) != 1:
                raise ApiError(BAD_REQUEST, "a command of a batch is an object with one method")
            (method, body), *_ = command.items()
            if method not in self._methods:
                raise ApiError(NOT_FOUND, "a batch has no such method in it")
            return {method: await self._methods[method](body)}
        except EXPECTED as error:
            return {"error": self._told(error)}

    async def _publish(self, asked: commands.Publish) -> Result:
        return await self._publish_to(asked.channel, asked, message_of(asked, self._max_message_bytes))

    async def _broadcast(self, asked: commands.Broadcast) -> Result:
        check_count(asked.channels, "channels")
        message = message_of(asked, self._max_message_bytes)

        async def response(channel: str) -> Result:
            try:
                return {"result": await self._publish_to(channel, asked, message)}
            except EXPECTED as error:
                return {"error": self._told(error)}

        return {"responses": await _all(response, asked.channels, AT_ONCE)}

    async def _publish_to(self, channel: str, asked: commands.Content, message: tuple[bytes, bool]) -> Result:
        redis_channel = self._redis_channel(channel)
        size = len(message[0])
        if size > self._max_message_bytes:
            raise MessageTooLarge(f"the message has {size} bytes; at most {self._max_message_bytes} are allowed")
        publish = partial(self._send, redis_channel, message)
        if asked.idempotency_key:
            return await self._parts.once.publish(channel, asked.idempotency_key, publish)
        return await publish()

    async def _send(self, redis_channel: bytes, message: tuple[bytes, bool]) -> Result:
        payload, binary = message
        known = self._parts.past
        after = 0 if known is None else known.history.last
        await self._parts.outbox.publish(binary_variant(redis_channel) if binary else redis_channel, payload)
        return await past.offset_of(known, redis_channel, message, after)

    async def _history(self, asked: commands.History) -> Result:
        return await past.page(self._parts.past, self._redis_channel(asked.channel), asked)

    async def _channels(self, asked: commands.Pattern) -> Result:
        if not self._gives_names:
            raise ApiError(NOT_AVAILABLE, "names of channels are not given out: the setting inspect is off")
        pattern = asked.pattern or "*"
        if len(pattern) > MAX_CHANNEL_BYTES or not is_printable(pattern):
            raise ApiError(BAD_REQUEST, "a pattern has at most 255 printable ASCII characters")
        prefix = _WILD.split(pattern, maxsplit=1)[0]
        found = await self._parts.inspector.channels(prefix=prefix, sort="subscribers", limit=MAX_NAMES)
        channels = {
            channel["name"]: {"num_clients": channel["subscribers"]}
            for channel in found["channels"]
            if fnmatchcase(channel["name"], pattern)
        }
        return {"channels": channels, "complete": found["complete"], **_missing(found["missing"])}

    async def _info(self, asked: commands.Nothing) -> Result:
        stats = await self._parts.inspector.stats()
        return {"nodes": [_node(process) for process in stats["processes"]], **_missing(stats["missing"])}

    async def _presence(self, asked: commands.Channel) -> Result:
        people = await self._parts.presence.clients(asked.channel)
        presence = {client: {"client": client, "user": user or ""} for client, user in people.clients.items()}
        more = {"complete": False} if people.has_more else {}
        return {"presence": presence, **more, **_missing(map(asdict, people.missing))}

    async def _presence_stats(self, asked: commands.Channel) -> Result:
        numbers = await self._parts.presence.numbers(asked.channel)
        return {
            "num_clients": numbers.num_clients,
            "num_users": numbers.num_users,
            **_missing(map(asdict, numbers.missing)),
        }

    async def _disconnect(self, asked: commands.User) -> Result:
        if asked.whitelist:
            raise ApiError(NOT_AVAILABLE, "clients cannot be left out of a disconnect")
        told = asked.disconnect or commands.Goodbye()
        usual = reasons.DISCONNECTED
        act = Act(
            act="disconnect",
            subject=asked.user or "",
            client=asked.client or None,
            code=told.code or usual.code,
            sentence=told.reason or usual.sentence,
        )
        return await self._act(asked, act)

    async def _unsubscribe(self, asked: commands.User) -> Result:
        channel = asked.channel or ""
        return await self._act(
            asked, Act(act="unsubscribe", subject=asked.user or "", client=asked.client or None, channel=channel)
        )

    async def _subscribe(self, asked: commands.Subscribe) -> Result:
        if any(map(_is_given, (asked.info, asked.b64info, asked.b64data, asked.recover_since, asked.override))):
            raise ApiError(NOT_AVAILABLE, "a subscription begins now and with data alone")
        act = Act(
            act="subscribe",
            subject=asked.user or "",
            client=asked.client or None,
            channel=asked.channel or "",
            until=float(asked.expire_at or 0),
            data=bytes(asked.data).translate(None, b"\r\n").decode() if _is_given(asked.data) else "",
        )
        return await self._act(asked, act)

    async def _refresh(self, asked: commands.User) -> Result:
        until = time() if asked.expired else asked.expire_at or time() + MAX_RENEWAL_SECONDS
        return await self._act(
            asked, Act(act="refresh", subject=asked.user or "", client=asked.client or None, until=until)
        )

    async def _act(self, asked: commands.User | commands.Subscribe, act: Act) -> Result:
        if asked.session:
            raise ApiError(NOT_AVAILABLE, "connections have no session here; name a client")
        try:
            outcome = await self._parts.acts.everywhere(act)
        except ValueError as error:
            raise ApiError(BAD_REQUEST, str(error)) from None
        return _missing(map(asdict, outcome.missing))

    def _redis_channel(self, channel: str) -> bytes:
        return self._namespace.redis_channel(check_channel(channel))


def _is_given(value: Raw | str | None) -> bool:
    """Tell whether a member of a command was given, and is not null."""
    return bool(value) and value != b"null"


def _reads(kind: type[C], do: Callable[[C], Awaitable[Result]]) -> Callable[[bytes | Raw], Awaitable[Result]]:
    """Return a method that reads a command of a kind and does it."""
    return lambda body: do(read(body, kind))


def _refuses(sentence: str) -> Callable[[object], Awaitable[Result]]:
    """Return a method that this server has not, and says why."""

    async def refuse(asked: object) -> Result:
        raise ApiError(NOT_AVAILABLE, sentence)

    return refuse


async def _no_rpc(asked: object) -> Result:
    raise ApiError(NOT_FOUND, "there is no rpc here")


async def _all(do: Callable[[T], Awaitable[Result]], items: Sequence[T], at_once: int) -> list[Result]:
    """Return the results of all items in their order; so many are under way at the same time."""
    results: list[Result] = []
    for start in range(0, len(items), at_once):
        results += await asyncio.gather(*[do(item) for item in items[start : start + at_once]])
    return results


def _node(process: dict[str, Any]) -> Result:
    """Return what is told of a process. A client has one channel, so it is one subscription; users are not counted."""
    return {
        "uid": process["id"],
        "name": f"{process['host']}_{process['pid']}",
        "version": process["version"],
        "num_clients": process["connections"],
        "num_users": 0,
        "num_subs": process["connections"],
        "num_channels": process["channels"],
        "uptime": int(process["uptime_seconds"]),
        "process": {"rss": int(process["memory_bytes"])},
    }


def _missing(processes: Iterable[Result]) -> Result:
    """Return the processes that did not answer, when there are some."""
    missing = list(processes)
    return {"missing": missing} if missing else {}
