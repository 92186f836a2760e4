"""`mux publish`: messages are POSTed one after the other, and each is answered before the next one leaves."""

from __future__ import annotations

import http.client
from collections.abc import Iterable
from time import monotonic

from mux.client.address import parse_address, reason, unreachable
from mux.errors import ServerUnreachable

REUSE_SECONDS = 15.0
"""A connection that was idle for longer is made anew: the server may be about to close it (Sanic after 120 s,
proxies sooner), and a message that is lost with it could not be told from one that arrived."""


def publish(url: str, channel: str, messages: Iterable[bytes]) -> int:
    """POST messages, in order, over one connection; return how many.

    Raises:
        InvalidSetting: url is none.
        ServerUnreachable: nobody answers at url, or the answer was no. What came before is published.
    """
    address = parse_address(url)
    path = address.feed_path(channel)
    count = 0
    connection = address.connection()
    used_at = monotonic()
    try:
        for message in messages:
            if monotonic() - used_at > REUSE_SECONDS:
                connection.close()  # the next request opens it again
            used_at = monotonic()
            connection.request("POST", path, body=message)
            response = connection.getresponse()
            answer = response.read()
            if response.status >= 300:
                raise ServerUnreachable(f"the server did not publish: {reason(answer, response)}")
            count += 1
    except (OSError, UnicodeError, http.client.HTTPException) as error:
        raise ServerUnreachable(unreachable(url, error)) from error
    finally:
        connection.close()
    return count
