"""Take a Redis URL apart.

A mistyped URL mostly has its password in the wrong place: with a / ? or # that is not percent-encoded, without a
scheme, without an @. So:

1. No sentence about a URL that cannot be read has text of the URL in it. A known option is named, an unknown one is
   counted. No error of urllib or redis-py is chained, for those quote what they read.
2. A URL that can be read, but hardly in the way it was meant, is refused: with an @ behind the host, with characters
   that hosts and names do not have, with a database that is no number. So a host, port, path or name may be shown.

Pure: no I/O.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote, unquote_plus

from mux.errors import InvalidSetting

_SCHEMES = {
    "redis": ("redis", ""),
    "rediss": ("rediss", ""),
    "unix": ("unix", ""),
    "redis+sentinel": ("redis", "sentinel"),
    "rediss+sentinel": ("rediss", "sentinel"),
    "redis+cluster": ("redis", "cluster"),
    "rediss+cluster": ("rediss", "cluster"),
}

_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|([\w.%-]+))(?::([0-9]{1,5}))?")
_SOCKET = re.compile(r"[\w/.~+%-]*")
_NAME = re.compile(r"[A-Za-z0-9._-]+")

MAX_PORT = 65535


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a URL's query; number counts the options from 1."""

    number: int
    name: str
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """The parts of a Redis URL, percent-decoded.

    Attributes:
        scheme: redis, rediss or unix.
        kind: sentinel, cluster, or empty for a single server.
        hosts: hosts with their ports, None where none is given; one host for a single server, none for unix.
        path: of the socket for unix, name of the master for sentinel; else empty.
        options: the options of the query that have a value.
    """

    scheme: str
    kind: str
    username: str | None = field(repr=False)
    password: str | None = field(repr=False)
    hosts: list[tuple[str, int | None]]
    path: str
    options: list[Option]


def split_url(url: str) -> RedisUrl:
    """Return the parts of a URL.

    Raises:
        InvalidSetting: it cannot be read; nothing of it is in the sentence.
    """
    url = url.strip()
    if not url.isprintable():  # surrogates, which stand for bytes that are no UTF-8, are not printable
        raise _unreadable("it has a character that cannot be printed")
    if "\0" in unquote(url):
        raise _unreadable("it has a NUL byte")
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in _SCHEMES:
        raise _unreadable(
            "it must begin with redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://, without quotes"
        )
    scheme, kind = _SCHEMES[scheme]
    authority, delimiter, tail = re.fullmatch(r"([^/?#]*)([/?#]?)(.*)", rest).groups()  # type: ignore[union-attr]
    if "@" in tail or "#" in delimiter + tail:
        raise _unreadable(
            "an @ or # stands behind its host; in a user name or password write / as %2F, ? as %3F, # as %23 and @ as "
            "%40"
        )
    credentials, _, hosts = authority.rpartition("@")
    if "password=" in credentials.lower():  # host:6379,password=… of other programs, with an @ in the password
        raise _unreadable("write the password before the host, as redis://:password@host:6379")
    username, _, password = credentials.partition(":")
    path, _, query = (delimiter + tail).partition("?")
    return RedisUrl(
        scheme=scheme,
        kind=kind,
        username=unquote(username) or None,
        password=unquote(password) or None,
        hosts=_split_hosts(hosts, scheme, kind),
        path=_read_socket(path) if scheme == "unix" else _read_name(path, kind),
        options=_split_options(query),
    )


def join_hosts(hosts: list[tuple[str, int]]) -> str:
    """Return hosts and ports as a URL has them."""
    return ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in hosts)


def _unreadable(why: str, which: str = "Redis") -> InvalidSetting:
    return InvalidSetting(f"the {which} URL cannot be read: {why}")


def _split_hosts(hosts: str, scheme: str, kind: str) -> list[tuple[str, int | None]]:
    if scheme == "unix":
        if hosts:
            raise _unreadable("it has no host, as unix:///run/redis.sock", "unix://")
        return []
    if not kind and "," in hosts:
        raise _unreadable("it names several servers; that is for redis+sentinel:// and redis+cluster://")
    if not kind:
        return [_read_host(hosts)] if hosts else [("localhost", None)]
    return [_read_host(host.strip()) for host in hosts.split(",")]


def _read_host(text: str) -> tuple[str, int | None]:
    if not text:
        raise _unreadable("a host is missing; name it, as host:6379")
    found = _HOST.fullmatch(text)
    if not found or "%" in unquote(found[2] or "") or not (host := unquote(found[1] or found[2])).isprintable():
        raise _unreadable("what stands for a host is not host or host:port")
    if found[2] and not re.fullmatch(r"[\w.-]+", host):
        raise _unreadable("a host has characters that hosts do not have")
    port = int(found[3]) if found[3] else None
    if port is not None and not 1 <= port <= MAX_PORT:
        raise _unreadable(f"its port must be from 1 to {MAX_PORT}")
    return host, port


def _read_socket(path: str) -> str:
    if not _SOCKET.fullmatch(path):
        raise _unreadable("in its path write everything but letters, digits and /._~+- as %XX", "unix://")
    if not path.strip("/"):
        raise _unreadable("the path is missing, as unix:///run/redis.sock", "unix://")
    return unquote(path)


def _read_name(path: str, kind: str) -> str:
    """Return the name of a master, which stands before the number of a database if there are both."""
    name, _, database = path[1:].partition("/") if kind == "sentinel" else ("", "", path[1:])
    if kind == "sentinel" and not name:
        raise InvalidSetting("the master is missing: name it, as redis+sentinel://host1,host2/mymaster")
    if name and not _NAME.fullmatch(name):
        raise _unreadable("the name of the master has characters it cannot have")
    if database and not (database.isascii() and database.isdigit()):
        raise _unreadable("what stands behind its host is no number of a database")
    return name


def _split_options(query: str) -> list[Option]:
    options = []
    for number, text in enumerate(query.split("&") if query else (), 1):
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise _unreadable(f"its option {number} is not name=value")
        if value:
            options.append(Option(number, unquote_plus(name), unquote_plus(value)))
    return options
