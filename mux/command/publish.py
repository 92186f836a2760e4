"""`mux publish`: POST messages one after the other; each is answered before the next one leaves.

They go over one connection, which the server or a proxy may end while the input pauses. An end that has come is
noticed before the next message leaves. An end that crosses a message on its way looks like a kept connection that ends
before a byte of the answer; then the message is sent once more, over a new connection. Any other failure after a
message was sent is told, and the message is not sent again: it may have arrived.
"""

from __future__ import annotations

import http.client
import select
from collections.abc import Iterable
from contextlib import closing
from time import monotonic

from mux.command.access import NONE, Access
from mux.command.server_url import parse_server_url, reaching, reason, request
from mux.errors import ServerUnreachable

REUSE_SECONDS = 15.0
"""A connection that was idle for longer is made anew: something between may have forgotten it without a word."""

MAX_ANSWER_BYTES = 64 * 1024
"""Most bytes of an answer that are read; mux' own is a line."""


def publish(url: str, channel: str, messages: Iterable[bytes], access: Access = NONE) -> int:
    """POST messages, in order, over one connection; return how many.

    Raises:
        InvalidSetting: url is none, or access has no use there.
        ServerUnreachable: nobody answers at url, or the answer was no. The messages before are published.
    """
    address = parse_server_url(url, access)
    path = address.feed_path(channel)
    count = 0
    used_at = monotonic()
    with reaching(address.url), closing(address.connection()) as connection:
        for message in messages:
            if monotonic() - used_at > REUSE_SECONDS or _has_ended(connection):
                connection.close()  # the next request opens it again
            used_at = monotonic()
            response = request(connection, "POST", path, address.headers, message)
            answer = response.read(MAX_ANSWER_BYTES)
            if response.status >= 300:
                raise ServerUnreachable(f"the server did not publish: {reason(answer, response)}")
            if response.length or response.read(1):
                raise ServerUnreachable(f"no mux answers at {address.url}: its answer breaks off, or has no end")
            count += 1
    return count


def _has_ended(connection: http.client.HTTPConnection) -> bool:
    """Tell whether a connection without a request has something to read: its end, or bytes that are no answer."""
    return connection.sock is not None and bool(select.select([connection.sock], [], [], 0)[0])
