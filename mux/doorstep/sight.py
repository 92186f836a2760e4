"""A handshake for the feed as nearly all clients send it, known by sight: in one read, with nothing odd about it.

llhttp reads it, as it reads all other requests (wire/http/head.py), and what is asked here beyond that is narrower than
what is asked there. So whatever is known by sight means the same to the strict reader, and the rest is left to it.

Pure: bytes in, values out.
"""

from __future__ import annotations

import re

import httptools

MAX_BYTES = 4096
"""Most bytes of a request that is known by sight."""

# A query that may ask for the past of a channel or the latest messages, or have a token, is read elsewhere, and so is
# what is percent-encoded.
_asks_for_feed = re.compile(
    rb"GET /feed/([A-Za-z0-9._~!$&'()*+,;=:@-][A-Za-z0-9._~!$&'()*+,;=:@/-]*)"
    rb"(?:\?(?![^ ]*(?:last|latest|since|token))[A-Za-z0-9._~!$&'()*+,;=:@/?-]*)? HTTP/1\.1\r\n"
).match
_is_host = re.compile(r"[A-Za-z0-9.-]+(?::[0-9]+)?").fullmatch
_UPGRADES = ("websocket", "WebSocket")
_OF_OTHER_REQUESTS = frozenset(("content-length", "expect", "last-event-id", "transfer-encoding"))


class _Fields(list[tuple[str, str]]):
    """Takes header fields from llhttp."""

    __slots__ = ()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one; a value that is not ASCII is an error that ends the reading."""
        self.append((name.decode("ascii").lower(), value.strip().decode("ascii")))


def handshake_at_sight(data: bytes) -> tuple[bytes, dict[str, str], int] | None:
    """Return the channel of a handshake, the values of its fields by name in lower case, and its size in bytes.

    Args:
        data: all that a client has sent; something may follow the handshake.

    Returns:
        None when it is anything else, or a handshake with something unusual, as two fields of one name.
    """
    found = _asks_for_feed(data)
    if found is None:
        return None
    fields, size = _Fields(), 0
    try:
        httptools.HttpRequestParser(fields).feed_data(data)
    except httptools.HttpParserUpgrade as upgrade:
        size = upgrade.args[0]
    except httptools.HttpParserError:
        return None
    values = dict(fields)
    if (
        not 0 < size <= MAX_BYTES
        or len(values) != len(fields)
        or values.get("upgrade") not in _UPGRADES
        or not _is_host(values.get("host", ""))
        or not _OF_OTHER_REQUESTS.isdisjoint(values)
    ):
        return None
    return found[1], values, size
