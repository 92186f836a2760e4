"""Where Redis is and how to get in, read from a URL as redis-py reads it."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from redis.asyncio import Connection, ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import RedisError

from mux.errors import InvalidSetting

CONNECT_SECONDS = 5.0
"""How long connecting and introducing ourselves may take, unless the URL has socket_connect_timeout."""


@dataclass(frozen=True, slots=True)
class Address:
    """Either host and port, or the path of a unix socket. str() is fit for a log: it has no password."""

    host: str = ""
    port: int = 0
    path: str = ""
    tls: ssl.SSLContext | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    connect_seconds: float = CONNECT_SECONDS

    def __str__(self) -> str:
        if self.path:
            return f"unix://{self.path}"
        return f"{'rediss' if self.tls else 'redis'}://{self.host}:{self.port}"


def parse_address(url: str) -> Address:
    """Read a redis://, rediss:// or unix:// URL with redis-py's options.

    The options that concern connecting (credentials, TLS, socket_connect_timeout) are used; those of
    redis-py's pools and retries have no meaning here and are ignored. So is the number of a database:
    PUBLISH reaches all of them.

    Raises:
        InvalidSetting: it is no such URL, or an option is unknown or cannot be used.
    """
    try:
        pool = ConnectionPool.from_url(url)
        options = pool.connection_class(**pool.connection_kwargs)
        tls = options.ssl_context.get() if isinstance(options, SSLConnection) else None
    except (ValueError, TypeError, OSError, RedisError) as error:
        raise InvalidSetting(f"the Redis URL {_without_credentials(url)} cannot be used: {_reason(error)}") from error
    named = pool.connection_kwargs.get("socket_connect_timeout")
    if named is not None and named <= 0:
        raise InvalidSetting(f"socket_connect_timeout is {named:g} in the Redis URL; it must be more than 0")
    address = Address(
        tls=tls,
        username=options.username,
        password=options.password,
        connect_seconds=float(named) if named else CONNECT_SECONDS,
    )
    if isinstance(options, UnixDomainSocketConnection):
        return replace(address, path=options.path)
    assert isinstance(options, Connection), "redis-py has no other kind"
    return replace(address, host=options.host, port=int(options.port))


def _reason(error: Exception) -> str:
    # A class that does not know a keyword: the keyword was an option of the URL.
    option = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    return f"it has an unknown option '{option[1]}'" if option else str(error)


def _without_credentials(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return "given"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
