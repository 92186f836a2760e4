"""Find out where Redis is just now.

One server is always at its address. With Sentinel the master moves, and is asked for before every connection. In a
cluster classic PUBLISH reaches every node, so any node that lives will do, and after a failure the next one is tried.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from itertools import cycle
from typing import Protocol

from mux.broker.address import REDIS_PORT, Address, make_address
from mux.broker.connection import Connection
from mux.broker.sentinel import SENTINEL_PORT, SentinelMaster
from mux.broker.url import RedisUrl, join_hosts, split_url
from mux.errors import BrokerBusy, BrokerUnavailable, InvalidSetting

_OF_SENTINELS = "sentinel_"
_YES_AND_NO = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}

BUSY_SECONDS = 0.25
"""Seconds between two tries of check_redis() while Redis says that it takes nobody now."""

logger = logging.getLogger("mux.broker")


class Location(Protocol):
    """Gives the address for the next try to connect. str() is fit for a log."""

    @property
    def tries(self) -> int:
        """The number of tries until every address where Redis may be has been tried."""

    async def locate(self) -> Address:
        """Return where to connect now.

        Raises:
            BrokerUnavailable: the address is not known now.
            BrokerRefused: the address cannot be found out; the operator has to do something.
        """


class ServerAddresses:
    """One server, or some nodes of a cluster of which any will do.

    Args:
        addresses: the server's, or the nodes', of which the next one is tried each time.
        shown: what a log calls it.
    """

    def __init__(self, addresses: list[Address], shown: str) -> None:
        self._next = cycle(addresses)
        self._shown = shown
        self.tries = len(addresses)

    def __str__(self) -> str:
        return self._shown

    async def locate(self) -> Address:
        return next(self._next)


def parse_location(url: str) -> Location:
    """Read a Redis URL of any kind.

    `redis://`, `rediss://` and `unix://` are one server. `redis+sentinel://host1,host2:port/master-name` is a master
    by its sentinels, `redis+cluster://host1,host2:port` any node of a cluster; with `rediss+` all of them are reached
    by TLS. User, password and options are those of Redis; those of the sentinels begin with sentinel_.

    Raises:
        InvalidSetting: it is none of these; nothing of the URL is in the sentence.
    """
    parts = split_url(url)
    if parts.kind == "sentinel":
        return _parse_sentinel(parts)
    address = make_address(parts)
    if parts.kind == "cluster":
        nodes = [(host, port or REDIS_PORT) for host, port in parts.hosts]
        addresses = [replace(address, host=host, port=port) for host, port in nodes]
        return ServerAddresses(addresses, f"the cluster of {join_hosts(nodes)}")
    return ServerAddresses([address], str(address))


def _parse_sentinel(url: RedisUrl) -> SentinelMaster:
    of_master = [option for option in url.options if not option.name.startswith(_OF_SENTINELS)]
    of_sentinels = []
    has_tls = url.scheme == "rediss"
    for option in url.options:
        if option.name == "sentinel_ssl":
            if option.value.lower() not in _YES_AND_NO:
                raise InvalidSetting("the Redis URL's option sentinel_ssl must be yes or no")
            has_tls = _YES_AND_NO[option.value.lower()]
        elif option.name.startswith(_OF_SENTINELS):
            of_sentinels.append(replace(option, name=option.name.removeprefix(_OF_SENTINELS)))
    if has_tls:
        of_sentinels += [option for option in of_master if option.name.startswith("ssl_")]
    sentinel = make_address(
        replace(url, scheme="rediss" if has_tls else "redis", username=None, password=None, options=of_sentinels)
    )
    return SentinelMaster(
        [replace(sentinel, host=host, port=port or SENTINEL_PORT) for host, port in url.hosts],
        url.path,
        make_address(replace(url, options=of_master)),
    )


async def check_redis(location: Location, pattern: bytes, probe_channel: bytes) -> None:
    """See whether a Redis would take us, and leave.

    A Redis that says that it takes nobody now, for it loads or fails over, is waited for; that is logged.

    Raises:
        BrokerUnavailable: it cannot be reached, at none of its addresses.
        BrokerRefused: it would not take us.
    """
    told = ""
    while (busy := await _try_each(location, pattern, probe_channel)) is not None:
        if str(busy) != told:
            told = str(busy)
            logger.warning("%s; waiting for that to pass", busy)
        await asyncio.sleep(BUSY_SECONDS)


async def _try_each(location: Location, pattern: bytes, probe_channel: bytes) -> BrokerBusy | None:
    """Try each address once; return None when one takes us, or what a Redis said that takes nobody now."""
    failures: list[BrokerUnavailable] = []
    for _ in range(location.tries):
        try:
            connection = await Connection.open(
                await location.locate(),
                pattern,
                probe_channel=probe_channel,
                client_name=b"mux-probe",
                on_read=lambda read, messages, is_whole: None,
                on_writable=lambda: None,
            )
        except BrokerUnavailable as error:
            failures.append(error)
        else:
            await connection.aclose()
            await connection.lost
            return None
    busy = next((failure for failure in failures if isinstance(failure, BrokerBusy)), None)
    if busy is None:
        raise failures[-1]
    return busy
