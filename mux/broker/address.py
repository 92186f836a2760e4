"""The address of a Redis server and how to get in; the options of a URL mean what they mean to redis-py.

redis-py is imported for URLs that have options, or TLS, and for no others: its import takes a third of all that a
process takes to start.
"""

from __future__ import annotations

import errno
import inspect
import os
import ssl
from dataclasses import dataclass, field
from math import isfinite
from typing import NamedTuple
from urllib.parse import urlencode

from mux.broker.url import Option, RedisUrl, join_hosts
from mux.errors import InvalidSetting

CONNECT_SECONDS = 5.0
"""Seconds in which a connection is made, unless the URL has socket_connect_timeout."""

LONGEST_CONNECT_SECONDS = 86_400.0

REDIS_PORT = 6379

_OF_THE_URL_ITSELF = frozenset(("host", "port", "path"))


class _Options(NamedTuple):
    """The meaning that redis-py gives to the options of a URL."""

    tls: ssl.SSLContext | None = None
    username: str | None = None
    password: str | None = None
    connect_seconds: float = CONNECT_SECONDS


@dataclass(frozen=True, slots=True)
class Address:
    """Either host and port, or the path of a unix socket. str() and repr() have no user and no password.

    Attributes:
        connect_seconds: bounds finding the server, connecting and introducing ourselves together.
        spent_seconds: how much of connect_seconds is gone.
        named_as: what the server is, when sentinels told us where it is.
    """

    host: str = ""
    port: int = 0
    path: str = ""
    tls: ssl.SSLContext | None = None
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    connect_seconds: float = CONNECT_SECONDS
    spent_seconds: float = 0.0
    named_as: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix://{self.path}"
        where = f"{'rediss' if self.tls else 'redis'}://{join_hosts([(self.host, self.port)])}"
        return f"{where} ({self.named_as})" if self.named_as else where


def make_address(url: RedisUrl) -> Address:
    """Return the address of a URL's first host, with its credentials and options.

    Credentials, TLS and socket_connect_timeout are used. The options of redis-py's pools and retries have no meaning
    here and are ignored, as is the number of a database: PUBLISH reaches all of them.

    Raises:
        InvalidSetting: an option is unknown or cannot be used.
    """
    made = _try_options(url.scheme, url.options)
    if isinstance(made, Exception):
        # Raised here, where no error of others is at hand to be chained.
        raise InvalidSetting(_complain(url, made))
    if not (isfinite(made.connect_seconds) and 0 < made.connect_seconds <= LONGEST_CONNECT_SECONDS):
        raise InvalidSetting(
            f"the Redis URL's socket_connect_timeout must be more than 0 and at most {LONGEST_CONNECT_SECONDS:g}"
        )
    host, port = url.hosts[0] if url.hosts else ("", None)
    return Address(
        host=host,
        port=(port or REDIS_PORT) if host else 0,
        path="" if host else url.path,
        tls=made.tls,
        username=url.username or made.username,
        password=url.password or made.password,
        connect_seconds=made.connect_seconds,
    )


def _try_options(scheme: str, options: list[Option]) -> _Options | Exception:
    """Have redis-py make a connection, which is not connected, of these options; return its error if it cannot."""
    if not options and scheme != "rediss":
        return _Options()
    from redis.asyncio.connection import AbstractConnection, ConnectionPool, SSLConnection
    from redis.exceptions import RedisError

    query = urlencode([(option.name, option.value) for option in reversed(options)])
    try:
        if any(option.name in _OF_THE_URL_ITSELF for option in options):
            return TypeError()
        pool = ConnectionPool.from_url(f"{scheme}://{'/socket' if scheme == 'unix' else 'localhost'}?{query}")
        connection: AbstractConnection = pool.connection_class(**pool.connection_kwargs)
        return _Options(
            connection.ssl_context.get() if isinstance(connection, SSLConnection) else None,
            connection.username,
            connection.password,
            float(pool.connection_kwargs.get("socket_connect_timeout", CONNECT_SECONDS)),
        )
    except (ValueError, TypeError, AttributeError, LookupError, OSError, RedisError) as error:
        return error


def _known_options() -> set[str]:
    """Return the options that a sentence may name: they are words of redis-py, whatever the URL was meant to be."""
    from redis.asyncio import connection as made_by

    kinds = (made_by.AbstractConnection, made_by.SSLConnection, made_by.UnixDomainSocketConnection)
    known = {*made_by.URL_QUERY_ARGUMENT_PARSERS}.union(*(inspect.signature(kind).parameters for kind in kinds))
    return known - _OF_THE_URL_ITSELF


def _complain(url: RedisUrl, error: Exception) -> str:
    """Say which option is wrong, without a word of the URL."""
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        return f"the Redis URL cannot be used now: {_why_no_file(error)}"  # of the process, not of an option
    for option in url.options:
        wrong = _try_options(url.scheme, [option])
        if isinstance(wrong, Exception):
            if option.name not in _known_options():
                return f"option {option.number} of the Redis URL is unknown; there are those of redis-py"
            why = _why_no_file(wrong) or "it has a value that it cannot have"
            return f"the Redis URL's option {option.name} cannot be used: {why}"
    return f"the Redis URL's options cannot be used together: {_why_no_file(error) or 'one needs or excludes another'}"


def _why_no_file(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return "the file is no certificate or key that can be used"
    return os.strerror(error.errno).lower() if isinstance(error, OSError) and error.errno else ""
