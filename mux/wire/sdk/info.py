"""Tell SDK clients who has published, joined or left.

Pure: no I/O, no clock. All that is read may be forged.
"""

from __future__ import annotations

import re

import orjson

from mux.wire.publication import Signed

_ANNOUNCED = re.compile(r"Client (.*) has (?:joined|left)", re.DOTALL)
_UUID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def info_of(client: str, user: str | None) -> bytes:
    """Return what is told of a client with an id and a subject, which it need not have."""
    return orjson.dumps({"user": user or "", "client": client})


def signed_info(payload: bytes) -> bytes | None:
    """Return what a payload says of the client that it is of; None when it says nothing that clients can read."""
    if not isinstance(payload, Signed):
        return None
    try:
        found = orjson.loads(payload.info)
    except orjson.JSONDecodeError:
        return None
    match found:
        case {"user": str(user), "client": str(client)} if client:
            return info_of(client, user)
    return None


def announced_info(announcement: bytes) -> bytes:
    """Return what an announcement says of the client that has joined or left."""
    info = signed_info(announcement)
    if info is not None:
        return info
    text = announcement.decode(errors="replace")
    found = _ANNOUNCED.fullmatch(text)
    name = (text if found is None else found[1]) or "-"
    return info_of(name, "" if _UUID.fullmatch(name) else name)
