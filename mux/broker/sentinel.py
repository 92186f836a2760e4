"""The master of a name, as its sentinels know it.

All sentinels are asked at once, so that a silent one costs nothing, and each is asked anew before every connection.
They may disagree while a master is replaced: after the first answer the others have a moment, and the answer with the
newest configuration is taken.

redis-py's client for sentinels asks one after the other, with its own retries for each, and tells no failure from
another; this is three commands on a connection.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import NamedTuple, cast

from mux.broker.address import Address
from mux.broker.dial import DIAL_ERRORS, dial
from mux.broker.loss import reason_of, reason_of_garbage
from mux.broker.url import join_hosts
from mux.errors import BrokerError, BrokerGarbled, BrokerRefused, BrokerUnavailable
from mux.wire.resp import Reply, RespReader, encode_command

SENTINEL_PORT = 26379
"""The port on which a sentinel listens unless told otherwise."""

TRY_SECONDS = 1.0
"""Seconds in which a sentinel must answer; half of the connect timeout, if that is shorter."""

GRACE_SECONDS = 0.1
"""Seconds for which the other sentinels are waited for after one has answered."""

_READ_BYTES = 65536

_CLOSED = "the connection was closed without an answer; if it speaks TLS, add sentinel_ssl=yes to the URL"

logger = logging.getLogger("mux.broker")


class Named(NamedTuple):
    """The answer of one sentinel; of two answers the greater is to be believed."""

    is_up: bool
    epoch: int
    host: str
    port: int


class SentinelMaster:
    """Asks sentinels where the master is.

    Args:
        sentinels: where they are, with their own credentials and TLS.
        name: the name of the master there.
        template: credentials, TLS and timeout of the master; host and port are filled in.
    """

    tries = 1

    def __init__(self, sentinels: list[Address], name: str, template: Address) -> None:
        self._sentinels = sentinels
        self._name = name
        self._template = template
        self._told = ""

    def __str__(self) -> str:
        return f"the master {self._name!r} of {_join(self._sentinels)}"

    async def locate(self) -> Address:
        loop = asyncio.get_running_loop()
        started = loop.time()
        answers = await self._ask_all(min(TRY_SECONDS, self._template.connect_seconds / 2))
        named = max((answer for answer in answers if isinstance(answer, Named)), default=None)
        refusals = [isinstance(answer, BrokerRefused) for answer in answers]
        failures = self._failures(answers)
        if named is None:
            sentence = f"no sentinel names the master {self._name!r}: {failures}"
            raise BrokerRefused(sentence) if all(refusals) else BrokerUnavailable(sentence)
        address = replace(
            self._template,
            host=named.host,
            port=named.port,
            spent_seconds=loop.time() - started,
            named_as=f"the master {self._name!r}{'' if named.is_up else ', which its sentinels hold for down'}",
        )
        text = f"found {address}" + (f"; {failures}" if failures else "")
        if text != self._told:
            self._told = text
            logger.log(logging.WARNING if failures else logging.INFO, "%s", text)
        return address

    def _failures(self, answers: list[Named | BrokerError]) -> str:
        """Say which sentinels failed and how; those that failed alike stand together."""
        alike: dict[str, list[Address]] = {}
        for sentinel, answer in zip(self._sentinels, answers, strict=True):
            if isinstance(answer, BrokerError):
                alike.setdefault(str(answer), []).append(sentinel)
        return "; ".join(f"{_join(sentinels)}: {how}" for how, sentinels in alike.items())

    async def _ask_all(self, seconds: float) -> list[Named | BrokerError]:
        """Return what each sentinel said, in the order of the URL."""
        tasks = [asyncio.create_task(_ask(sentinel, self._name, seconds)) for sentinel in self._sentinels]
        waiting = set(tasks)
        is_named = False
        try:
            while waiting:
                done, waiting = await asyncio.wait(
                    waiting, timeout=GRACE_SECONDS if is_named else None, return_when=asyncio.FIRST_COMPLETED
                )
                is_named = is_named or any(isinstance(task.result(), Named) for task in done)
                if not done:
                    break
        finally:
            for task in waiting:
                task.cancel()
            if waiting:
                await asyncio.wait(waiting)
        return [BrokerUnavailable("no answer yet") if task in waiting else task.result() for task in tasks]


async def _ask(sentinel: Address, name: str, seconds: float) -> Named | BrokerError:
    """Return what one sentinel says, or why it says nothing: words for after its address."""
    try:
        async with asyncio.timeout(seconds):
            return _read(await _talk(sentinel, name), sentinel)
    except TimeoutError:
        return BrokerUnavailable(f"no answer in {seconds:g} s" + ("; does it speak TLS?" if sentinel.tls else ""))
    except DIAL_ERRORS as error:
        if isinstance(error, ConnectionResetError) and not sentinel.tls:
            return BrokerUnavailable(_CLOSED)
        return BrokerUnavailable(f"not reached: {reason_of(error)}")
    except BrokerError as error:
        return error


async def _talk(sentinel: Address, name: str) -> list[Reply]:
    """Send AUTH, or PING without a password, and both questions; return the three answers."""
    reader = asyncio.StreamReader()
    made, _ = await dial(sentinel, lambda: asyncio.StreamReaderProtocol(reader))
    transport = cast("asyncio.Transport", made)  # uvloop's has the methods, not the class
    try:
        credentials = [word.encode() for word in (sentinel.username, sentinel.password) if word]
        commands = [
            encode_command(b"AUTH", *credentials) if sentinel.password else encode_command(b"PING"),
            encode_command(b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", name.encode()),
            encode_command(b"SENTINEL", b"MASTER", name.encode()),
        ]
        transport.write(b"".join(commands))
        replies: list[Reply] = []
        resp = RespReader()
        while len(replies) < len(commands):
            data = await reader.read(_READ_BYTES)
            if not data:
                raise ConnectionResetError
            try:
                replies += resp.feed(data)[1]
            except BrokerGarbled as error:
                raise BrokerUnavailable(f"no sentinel: {reason_of_garbage(error, data)}") from None
        return replies
    finally:
        transport.abort()


def _read(replies: list[Reply], sentinel: Address) -> Named:
    """Make sense of what a sentinel answered; nothing it says is repeated, for it may quote our AUTH."""
    auth, where, state = replies[:3]
    if isinstance(where, BrokerRefused):
        raise _refusal(where, auth, sentinel)
    if not (isinstance(where, list) and len(where) == 2 and all(isinstance(word, bytes) for word in where)):
        raise BrokerUnavailable("this master is not known there")
    known = dict(zip(state[::2], state[1::2], strict=False)) if isinstance(state, list) else {}
    flags, epoch = known.get(b"flags", b""), known.get(b"config-epoch", b"0")
    try:
        return Named(b"_down" not in flags, int(epoch), where[0].decode(), int(where[1]))
    except (ValueError, TypeError):
        raise BrokerUnavailable("an answer that cannot be understood") from None


def _refusal(error: BrokerRefused, auth: Reply, sentinel: Address) -> BrokerError:
    if error.is_temporary:
        return BrokerUnavailable("no questions are taken now")
    if error.code == "NOAUTH" and not sentinel.password:
        return BrokerRefused("a password is wanted; add sentinel_password to the URL")
    if error.code == "NOAUTH" or (isinstance(auth, BrokerRefused) and auth.code == "WRONGPASS"):
        return BrokerRefused("the credentials are refused; check sentinel_username and sentinel_password in the URL")
    if error.code == "NOPERM":
        return BrokerRefused("this user may not ask; give it +sentinel|get-master-addr-by-name +sentinel|master")
    if "unknown command" in str(error):
        return BrokerRefused("this is no sentinel")
    return BrokerUnavailable("an error for an answer")


def _join(sentinels: list[Address]) -> str:
    return join_hosts([(sentinel.host, sentinel.port) for sentinel in sentinels])
