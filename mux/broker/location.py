"""Where Redis is just now.

One server is always at its address. With Sentinel the master moves, and is asked for before every
connection. In a cluster classic PUBLISH reaches every node, so any node that lives will do, and after a
failure the next one is tried.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle
from typing import Protocol

from mux.broker.address import REDIS_PORT, Address, make_address
from mux.broker.sentinel import SENTINEL_PORT, SentinelMaster
from mux.broker.url import Option, RedisUrl, join_hosts, split_url
from mux.errors import InvalidSetting

_OF_SENTINELS = "sentinel_"
_YES_AND_NO = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


class Location(Protocol):
    """Gives the address for the next try to connect. str() is fit for a log."""

    @property
    def places(self) -> int:
        """How many tries it takes until every place where Redis may be has been tried."""

    async def locate(self) -> Address:
        """Return where to connect now.

        Raises:
            BrokerUnavailable: nobody knows.
            BrokerRefused: nobody tells us; the operator has to do something.
        """


class Single:
    """One server."""

    places = 1

    def __init__(self, address: Address) -> None:
        self._address = address

    def __str__(self) -> str:
        return str(self._address)

    async def locate(self) -> Address:
        return self._address


class ClusterNode:
    """Any node of a cluster.

    Args:
        seeds: hosts and ports of some nodes.
        template: credentials, TLS and timeout; host and port are filled in.
    """

    def __init__(self, seeds: list[tuple[str, int]], template: Address) -> None:
        self._seeds = seeds
        self._next = cycle(seeds)
        self._template = template

    def __str__(self) -> str:
        return f"the cluster of {join_hosts(self._seeds)}"

    @property
    def places(self) -> int:
        return len(self._seeds)

    async def locate(self) -> Address:
        host, port = next(self._next)
        return replace(self._template, host=host, port=port)


def parse_location(url: str) -> Location:
    """Read a Redis URL of any kind.

    `redis://`, `rediss://` and `unix://` are one server. `redis+sentinel://host1,host2:port/master-name`
    is a master by its sentinels, `redis+cluster://host1,host2:port` any node of a cluster; with `rediss+`
    all of them are reached by TLS. User, password and options are as in a plain URL, and are those of Redis;
    those of the sentinels begin with sentinel_.

    Raises:
        InvalidSetting: it is none of these; nothing of the URL is in the sentence.
    """
    parts = split_url(url)
    if parts.kind == "sentinel":
        return _parse_sentinel(parts)
    address = make_address(parts, parts.scheme, parts.options)
    if parts.kind == "cluster":
        return ClusterNode([(host, port or REDIS_PORT) for host, port in parts.hosts], address)
    return Single(address)


def _parse_sentinel(parts: RedisUrl) -> SentinelMaster:
    of_master = [option for option in parts.options if not option.name.startswith(_OF_SENTINELS)]
    of_sentinels = [
        replace(option, name=option.name.removeprefix(_OF_SENTINELS))
        for option in parts.options
        if option.name.startswith(_OF_SENTINELS)
    ]
    has_tls = parts.scheme == "rediss"
    for option in of_sentinels:
        if option.name == "ssl":
            if option.value.lower() not in _YES_AND_NO:
                raise InvalidSetting("the Redis URL's option sentinel_ssl must be yes or no")
            has_tls = _YES_AND_NO[option.value.lower()]
    master = make_address(parts, parts.scheme, of_master)
    sentinel = make_address(
        replace(parts, username=None, password=None),
        "rediss" if has_tls else "redis",
        [*_but_ssl(of_sentinels), *(_of_tls(of_master) if has_tls else ())],
    )
    sentinels = [replace(sentinel, host=host, port=port or SENTINEL_PORT) for host, port in parts.hosts]
    return SentinelMaster(sentinels, parts.path, master)


def _but_ssl(options: list[Option]) -> list[Option]:
    return [option for option in options if option.name != "ssl"]


def _of_tls(options: list[Option]) -> list[Option]:
    return [option for option in options if option.name.startswith("ssl_")]
