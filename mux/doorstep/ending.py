"""The end of a connection that was answered for the last time.

Our side is closed, and the client is given a little time to close the other (arrivals.ENDING_SECONDS). What it sends
meanwhile is read and dropped: bytes that are not read would become a reset, which can overtake the answer.
"""

from __future__ import annotations

from asyncio import Transport
from collections.abc import Mapping

from mux.doorstep.arrivals import Arrivals
from mux.doorstep.seen_request import SeenRequest
from mux.errors import Refused
from mux.wire.http.answer import refusal

DROPPED_BYTES = 1024 * 1024
"""Most bytes that are read and dropped of a client that was answered and sends on; then it is cut off."""


class Ending:
    """The end of one connection.

    Args:
        transport: its transport.
        has_ended: True when the client has said already that it sends no more.
    """

    __slots__ = ("_dropped", "_transport")

    def __init__(self, transport: Transport, *, has_ended: bool) -> None:
        self._dropped = 0
        self._transport = transport
        if has_ended or not transport.can_write_eof():
            transport.close()
            return
        if not transport.is_reading():
            transport.resume_reading()
        try:
            transport.write_eof()
        except OSError:
            transport.abort()  # the client has reset the connection, and asyncio has not looked yet

    def drop(self, data: bytes) -> None:
        """Drop what the client has sent; cut a client off that does not stop."""
        self._dropped += len(data)
        if self._dropped > DROPPED_BYTES:
            self._transport.abort()


def refused(error: Refused, arrivals: Arrivals, request: SeenRequest | None, *, is_bare: bool) -> bytes:
    """Count a refusal and return its answer.

    Args:
        error: the reason.
        arrivals: count it.
        request: is refused; None when its head could not be read.
        is_bare: leaves the body out.
    """
    arrivals.refused[error.reason.counted_as] += 1
    fields: Mapping[str, str] = {} if request is None else arrivals.sharing(request)
    return refusal(error, fields, is_bare=is_bare)
