"""Where Redis is just now.

One server is always at its address. With Sentinel the master moves, and is asked for before every
connection. In a cluster classic PUBLISH reaches every node, so any node that lives will do, and after a
failure the next one is tried.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle
from typing import Any, Protocol
from urllib.parse import urlsplit

from redis.asyncio.sentinel import MasterNotFoundError, Sentinel
from redis.exceptions import RedisError

from mux.broker.address import Address, parse_address
from mux.errors import BrokerUnavailable, InvalidSetting

SENTINEL_PORT = 26379
"""Where a Sentinel listens (https://redis.io/docs/latest/operate/oss_and_stack/management/sentinel/)."""

REDIS_PORT = 6379


class Location(Protocol):
    """Gives the address for the next try to connect. str() is fit for a log."""

    async def locate(self) -> Address:
        """Return where to connect now.

        Raises:
            BrokerUnavailable: nobody knows.
        """


class Single:
    """One server."""

    def __init__(self, address: Address) -> None:
        self._address = address

    def __str__(self) -> str:
        return str(self._address)

    async def locate(self) -> Address:
        return self._address


class SentinelMaster:
    """The master of a name, as the sentinels know it.

    Args:
        sentinels: their hosts and ports.
        name: what the master is called there.
        template: credentials, TLS and timeout of the master; host and port are filled in.
    """

    def __init__(self, sentinels: list[tuple[str, int]], name: str, template: Address) -> None:
        self._sentinels = sentinels
        self._name = name
        self._template = template

    def __str__(self) -> str:
        return f"the master {self._name!r} of {_join(self._sentinels)}"

    async def locate(self) -> Address:
        seconds = self._template.connect_seconds
        options = {"socket_timeout": seconds, "socket_connect_timeout": seconds}
        sentinel: Any = Sentinel(self._sentinels, sentinel_kwargs=options)  # type: ignore[no-untyped-call]  # redis-py
        try:
            host, port = await sentinel.discover_master(self._name)
        except (MasterNotFoundError, RedisError, OSError) as error:
            raise BrokerUnavailable(
                f"no sentinel of {_join(self._sentinels)} knows the master {self._name!r}"
            ) from error
        finally:
            for client in sentinel.sentinels:
                await client.aclose()
        return replace(self._template, host=host, port=port)


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
        return f"the cluster of {_join(self._seeds)}"

    async def locate(self) -> Address:
        host, port = next(self._next)
        return replace(self._template, host=host, port=port)


def parse_location(url: str) -> Location:
    """Read a Redis URL of any kind.

    `redis://`, `rediss://` and `unix://` are one server. `redis+sentinel://host1,host2:port/master-name`
    is a master by its sentinels, `redis+cluster://host1,host2:port` any node of a cluster; with `rediss+`
    Redis is reached by TLS. User, password and options are as in a plain URL, and are those of Redis.

    Raises:
        InvalidSetting: it is none of these.
    """
    scheme, plus, kind = url.partition("://")[0].partition("+")
    if not plus:
        return Single(parse_address(url))
    if scheme not in ("redis", "rediss") or kind not in ("sentinel", "cluster"):
        raise InvalidSetting(
            f"{scheme}+{kind}:// is no kind of Redis URL; there are redis+sentinel:// and redis+cluster://"
        )
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InvalidSetting(f"the {scheme}+{kind}:// URL cannot be used: {error}") from error
    credentials, _, hosts = parts.netloc.rpartition("@")
    template = parse_address(
        f"{scheme}://{credentials}{'@' if credentials else ''}localhost{'?' if parts.query else ''}{parts.query}"
    )
    if kind == "cluster":
        return ClusterNode(_split(hosts, REDIS_PORT), template)
    name = parts.path.strip("/")
    if not name:
        raise InvalidSetting("the master is missing: name it, as redis+sentinel://host1,host2/mymaster")
    return SentinelMaster(_split(hosts, SENTINEL_PORT), name, template)


def _split(hosts: str, default_port: int) -> list[tuple[str, int]]:
    nodes = []
    for host in hosts.split(","):
        try:
            parts = urlsplit(f"//{host.strip()}")
            nodes.append((parts.hostname or "", parts.port or default_port))
        except ValueError as error:
            raise InvalidSetting(f"{host!r} in the Redis URL is not host or host:port") from error
        if not parts.hostname:
            raise InvalidSetting("a host is missing in the Redis URL: name some, as host1,host2:port")
    return nodes


def _join(nodes: list[tuple[str, int]]) -> str:
    return ",".join(f"{host}:{port}" for host, port in nodes)
