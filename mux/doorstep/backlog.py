"""Answer whoever has connected to a listener that nobody accepts from any more.

The kernel accepts connections for a listener, and resets those that wait there when it is closed. A client whose
connection is reset does not know whether its request was taken; one that hears 503 may send it again elsewhere.
"""

from __future__ import annotations

import select
import socket
import time
from contextlib import suppress

from mux import reasons
from mux.errors import Refused
from mux.wire.http.answer import refusal

CLOSING_SECONDS = 0.25
"""How long clients that were answered have to close first: bytes that nobody reads make the kernel send a reset."""

MAX_CONNECTIONS = 1000
"""Most connections that are answered: there may be no more descriptors, and it has to end."""

READ_BYTES = 64 * 1024


def turn_away(listener: socket.socket) -> int:
    """Answer 503 to all connections that wait at a listener, and return how many there were.

    Takes at most CLOSING_SECONDS, and blocks for them.
    """
    answer = refusal(Refused(reasons.LEAVING), {}, is_bare=False)
    waiting: dict[int, socket.socket] = {}
    listener.setblocking(False)
    with suppress(OSError):  # BlockingIOError when nobody waits any more
        while len(waiting) < MAX_CONNECTIONS:
            connection, _ = listener.accept()
            connection.setblocking(False)
            waiting[connection.fileno()] = connection
            with suppress(OSError):
                connection.send(answer)
                connection.shutdown(socket.SHUT_WR)
    count = len(waiting)
    _wait_until_closed(waiting)
    return count


def _wait_until_closed(waiting: dict[int, socket.socket]) -> None:
    """Read and drop what clients send until they close, or their time is over; then close."""
    poll = select.poll()
    for descriptor in waiting:
        poll.register(descriptor, select.POLLIN)
    deadline = time.monotonic() + CLOSING_SECONDS
    while waiting and (left := deadline - time.monotonic()) > 0:
        for descriptor, _ in poll.poll(left * 1000):
            try:
                is_open = bool(waiting[descriptor].recv(READ_BYTES))
            except OSError:
                is_open = False
            if not is_open:
                poll.unregister(descriptor)
                waiting.pop(descriptor).close()
    for connection in waiting.values():
        connection.close()
