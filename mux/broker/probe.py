"""Ask, before anything is served, whether a Redis is there and for us."""

from __future__ import annotations

from mux.broker.connection import Connection
from mux.broker.location import Location


async def probe(location: Location, pattern: bytes, probe_channel: bytes) -> None:
    """See whether a Redis would take us, and leave.

    Raises:
        BrokerUnavailable: it cannot be reached.
        BrokerRefused: it would not.
    """
    connection = await Connection.open(
        await location.locate(),
        pattern,
        probe_channel=probe_channel,
        client_name=b"mux-probe",
        on_messages=lambda messages: None,
        on_writable=lambda: None,
    )
    await connection.aclose()
    await connection.lost
