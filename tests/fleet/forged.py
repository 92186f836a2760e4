"""Messages to the fleet that anybody can publish."""

from __future__ import annotations

import orjson

from mux.fleet.messages import Identity, beat_body, write

STRANGER = "f" * 32
ROUND = "0" * 16


def question(name: str, **fields: object) -> bytes:
    """Return a stranger's question."""
    return write("ask", STRANGER, orjson.dumps({"what": name, **fields}), round_=ROUND)


def beat(number: int) -> bytes:
    """Return the first beat of a process that is not there."""
    forged = Identity("forged", number, f"{number:032x}")
    return write("beat", forged.id, beat_body(forged, is_new=True))
