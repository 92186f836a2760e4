"""What Redis says of itself when a connection begins, and what it means for us."""

from __future__ import annotations

import re

from mux.broker.address import Address
from mux.errors import BrokerBusy, BrokerError, BrokerRefused
from mux.wire.resp import Reply


def is_useful(hello: Reply) -> bool:
    """Tell from a reply to HELLO whether what is published here reaches everybody.

    On a replica it reaches nobody, but for a cluster, where any node tells all others.
    """
    return isinstance(hello, dict) and (hello.get(b"role") == b"master" or hello.get(b"mode") == b"cluster")


def buffer_kills(stats: Reply) -> int | None:
    """Read from INFO how many clients were closed because their output buffers were full (Redis 7.2, Valkey)."""
    found = re.search(rb"client_output_buffer_limit_disconnections:(\d+)", stats if isinstance(stats, bytes) else b"")
    return int(found[1]) if found else None


def hello_refused(error: BrokerRefused, address: Address) -> BrokerError:
    """Say what to do about an error reply to HELLO."""
    if error.is_temporary:
        return BrokerBusy(f"Redis at {address} takes no clients now: {error}")
    if error.code in ("WRONGPASS", "NOAUTH", "NOPERM") or "AUTH" in str(error):
        return BrokerRefused(
            f"Redis at {address} refused the credentials ({error}); check the user and password in its URL"
        )
    if error.code == "NOPROTO" or "unknown command" in str(error):
        return BrokerRefused(
            f"Redis at {address} does not speak RESP3 ({error}); mux needs Redis 6 or later, or Valkey"
        )
    return BrokerRefused(f"Redis at {address} refused: {error}")
