"""Ask, before anything is served, whether a Redis is there and for us."""

from __future__ import annotations

import asyncio
import logging

from mux.broker.connection import Connection
from mux.broker.location import Location
from mux.errors import BrokerBusy, BrokerUnavailable

PAUSE_SECONDS = 0.25
"""The time between two tries while Redis says that it takes nobody now."""

logger = logging.getLogger("mux.broker")


async def probe(location: Location, pattern: bytes, probe_channel: bytes) -> None:
    """See whether a Redis would take us, and leave.

    A Redis that takes nobody now, for it loads or fails over, is waited for as long as it says so; that is logged.

    Raises:
        BrokerUnavailable: it cannot be reached, at none of its places.
        BrokerRefused: it would not.
    """
    told = ""
    while True:
        busy = await _try_places(location, pattern, probe_channel)
        if busy is None:
            return
        if str(busy) != told:
            told = str(busy)
            logger.warning("%s; waiting for that to pass", busy)
        await asyncio.sleep(PAUSE_SECONDS)


async def _try_places(location: Location, pattern: bytes, probe_channel: bytes) -> BrokerBusy | None:
    """Try each place once; return None when one takes us, or what one said that takes nobody now."""
    unavailable: BrokerUnavailable | None = None
    for _ in range(location.places):
        try:
            connection = await Connection.open(
                await location.locate(),
                pattern,
                probe_channel=probe_channel,
                client_name=b"mux-probe",
                on_read=lambda read, messages, is_whole: None,
                on_writable=lambda: None,
            )
        except BrokerUnavailable as error:
            if not isinstance(unavailable, BrokerBusy):
                unavailable = error
        else:
            await connection.aclose()
            await connection.lost
            return None
    assert unavailable is not None, "there is at least one place"
    if isinstance(unavailable, BrokerBusy):
        return unavailable
    raise unavailable
