"""The gaps a server tells of in its log.

One WARNING line each:

    gap 3: messages may have been missed from 1700000000.123 to 1700000001.456 (1.333 s): REASON
    gap 4: 17 messages were missed from 1700000000.123 to 1700000001.456 (1.333 s): REASON

Both times are seconds of Unix time: the last moment known to be good, and the moment it is good again.
"""

from __future__ import annotations

import re

from tests.chaos.ledger import Gap

_GAP = re.compile(
    r"\bgap \d+: (?:messages may have been|\d+ messages? w\w+) missed from (\d+\.\d{3}) to (\d+\.\d{3}) \("
)


def gaps_told(log: str, server: str) -> list[Gap]:
    """Return the gaps in the log of a server."""
    return [Gap(server, float(found[1]), float(found[2])) for found in _GAP.finditer(log)]
