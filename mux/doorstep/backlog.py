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
"""Clients have so many seconds to ask, and to close once they are answered: unread bytes would become a reset."""

MAX_CONNECTIONS = 1000
"""Most connections that are answered: there may be no more descriptors, and it has to end."""

READ_BYTES = 64 * 1024


def turn_away(listener: socket.socket) -> int:
    """Answer 503 to all connections that wait at a listener, close it, and return how many there were.

    Nobody can connect from then on, so no connection is reset that was there a moment before. Takes at most
    CLOSING_SECONDS, and blocks for them.
    """
    answer = refusal(Refused(reasons.LEAVING), {}, is_bare=False)
    waiting: dict[int, socket.socket] = {}
    listener.setblocking(False)
    with suppress(OSError):  # BlockingIOError when nobody waits any more
        while len(waiting) < MAX_CONNECTIONS:
            connection, _ = listener.accept()
            connection.setblocking(False)
            waiting[connection.fileno()] = connection
    listener.close()
    count = len(waiting)
    _answer_all(waiting, answer)
    return count


def _answer_all(waiting: dict[int, socket.socket], answer: bytes) -> None:
    """Answer each client once it has begun to ask, read and drop what it sends until it closes, and close.

    A client that is answered before it has asked anything does not expect that, and one that has not asked by the end
    of CLOSING_SECONDS has nothing to lose.
    """
    poll = select.poll()
    for descriptor in waiting:
        poll.register(descriptor, select.POLLIN)
    answered: set[int] = set()
    deadline = time.monotonic() + CLOSING_SECONDS
    while waiting and (left := deadline - time.monotonic()) > 0:
        for descriptor, _ in poll.poll(left * 1000):
            connection = waiting[descriptor]
            try:
                is_open = bool(connection.recv(READ_BYTES))
                if is_open and descriptor not in answered:
                    answered.add(descriptor)
                    connection.send(answer)
                    connection.shutdown(socket.SHUT_WR)
            except OSError:  # it has gone meanwhile
                is_open = False
            if not is_open:
                poll.unregister(descriptor)
                waiting.pop(descriptor).close()
    for connection in waiting.values():
        connection.close()
