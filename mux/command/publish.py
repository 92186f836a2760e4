"""`mux publish`: messages are POSTed one after the other, and each is answered before the next one leaves.

They go over one connection, which the server or a proxy may end while the input pauses. An end that has come is
noticed before the next message leaves. One that crosses a message on its way looks like a kept connection that ends
before a byte of the answer; then the message is sent once more, on a new connection. Whatever else goes wrong with a
message that was sent is told, and not tried again: it may have arrived.
"""

from __future__ import annotations

import http.client
import select
from collections.abc import Iterable, Mapping
from time import monotonic

from mux.command.access import NONE, Access
from mux.command.server_url import parse_server_url, reason, unreachable
from mux.errors import ServerUnreachable

REUSE_SECONDS = 15.0
"""A connection that was idle for longer is made anew: something between may have forgotten it without a word."""


MAX_ANSWER_BYTES = 64 * 1024
"""No more of an answer is read; mux' own is a line."""


def publish(url: str, channel: str, messages: Iterable[bytes], access: Access = NONE) -> int:
    """POST messages, in order, over one connection; return how many.

    Raises:
        InvalidSetting: url is none, or access has no use there.
        ServerUnreachable: nobody answers at url, or the answer was no. What came before is published.
    """
    address = parse_server_url(url, access)
    path = address.feed_path(channel)
    count = 0
    connection = address.connection()
    used_at = monotonic()
    try:
        for message in messages:
            if monotonic() - used_at > REUSE_SECONDS or _has_ended(connection):
                connection.close()  # the next request opens it again
            used_at = monotonic()
            response = _post(connection, path, message, address.headers)
            answer = response.read(MAX_ANSWER_BYTES)
            if response.status >= 300:
                raise ServerUnreachable(f"the server did not publish: {reason(answer, response)}")
            if response.length or response.read(1):
                raise ServerUnreachable(f"no mux answers at {address.url}: its answer breaks off, or has no end")
            count += 1
    except (OSError, UnicodeError, http.client.HTTPException) as error:
        raise ServerUnreachable(unreachable(address.url, error)) from error
    finally:
        connection.close()
    return count


def _post(
    connection: http.client.HTTPConnection, path: str, message: bytes, headers: Mapping[str, str]
) -> http.client.HTTPResponse:
    is_kept = connection.sock is not None
    try:
        connection.request("POST", path, body=message, headers=headers)
        return connection.getresponse()
    except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
        if not is_kept:
            raise
        connection.close()
    connection.request("POST", path, body=message, headers=headers)
    return connection.getresponse()


def _has_ended(connection: http.client.HTTPConnection) -> bool:
    """Tell whether a connection that waits for a request has something to read: its end, or nothing of ours."""
    return connection.sock is not None and bool(select.select([connection.sock], [], [], 0)[0])
