"""The messages of a channel in pages, and the position of a message that was just published.

An offset is the number of a message in the common order of all channels, so the offsets of one channel grow and have
holes. A page ends after MAX_PUBLICATIONS messages or PAGE_BYTES; the next one begins at its last offset.
"""

from __future__ import annotations

import asyncio
from binascii import b2a_base64
from collections.abc import Iterable
from typing import Any

import orjson

from mux.backend.commands import History as Asked
from mux.backend.errors import BAD_REQUEST, INTERNAL, NOT_AVAILABLE, UNRECOVERABLE, ApiError
from mux.endpoints.past import Past
from mux.errors import Missed
from mux.recovery.history import NO_ORDER
from mux.recovery.pages import Page
from mux.recovery.pages import page as page_of
from mux.wire.position import MAX_NUMBER
from mux.wire.publication import BINARY, JOINED, LEFT, Publication, is_text

MAX_PUBLICATIONS = 1000
"""Most messages in one answer."""

PAGE_BYTES = 4 * 1024 * 1024
"""An answer with this many bytes of messages takes no further message."""

TOLD_AT_ONCE = 50
"""Messages that are written as JSON in one turn of the loop."""

HEARD_SECONDS = 1.0
"""Most seconds a process waits to hear a message that it has published; after them, no offset is told."""

HEARD_POLL_SECONDS = 0.005
"""Seconds between two looks for a message that this process has published."""


async def page(past: Past | None, redis_channel: bytes, asked: Asked) -> dict[str, Any]:
    """Return what a channel had, as it was asked for.

    Raises:
        ApiError: it is not known any more, or cannot be asked for.
    """
    if past is None:
        raise ApiError(NOT_AVAILABLE, "nothing is kept: journal_bytes or journal_seconds is 0")
    since, is_reverse = asked.since, bool(asked.reverse)
    if since is not None and is_reverse and not since.offset:
        raise ApiError(BAD_REQUEST, "nothing comes before offset 0")
    if since is not None and not 0 <= since.offset <= MAX_NUMBER:
        raise ApiError(BAD_REQUEST, f"an offset is a number from 0 to {MAX_NUMBER}")
    count = MAX_PUBLICATIONS if (asked.limit or 0) < 0 else min(asked.limit or 0, MAX_PUBLICATIONS)
    wanted = Page(count, None if since is None else since.offset, "" if since is None else since.epoch, is_reverse)
    try:
        found = await page_of(past.history, past.numbering, redis_channel, wanted)
    except Missed as missed:
        if missed.reason == NO_ORDER:
            raise ApiError(INTERNAL, "messages have no positions now; try again later") from None
        raise ApiError(UNRECOVERABLE, "not all that came since this position is known any more") from None
    return {"publications": await _told(found.publications, found.base), "epoch": found.epoch, "offset": found.offset}


async def offset_of(past: Past | None, redis_channel: bytes, message: tuple[bytes, bool], after: int) -> dict[str, Any]:
    """Return the position of a message that was published; nothing while messages have none, or if it is not heard.

    It is the first message like it: whoever resumes there misses nothing that follows.

    Args:
        past: what this process has heard.
        redis_channel: where it was published.
        message: its payload, and whether it is binary.
        after: the number of the last message before it was sent.
    """
    until = asyncio.get_running_loop().time() + HEARD_SECONDS
    while past is not None and past.numbering.epoch and asyncio.get_running_loop().time() < until:
        for payload, kind, number in await past.history.after(redis_channel, after) or ():
            if (payload, kind == BINARY) == message and kind not in (JOINED, LEFT):
                return {"offset": past.numbering.base + number, "epoch": past.numbering.epoch}
        await asyncio.sleep(HEARD_POLL_SECONDS)
    return {}


async def _told(messages: Iterable[Publication], base: int) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []
    size = 0
    for payload, kind, number in messages:
        size += len(payload)
        if told and size > PAGE_BYTES:
            break
        told.append({**_data(payload, is_binary=kind == BINARY), "offset": base + number})
        if not len(told) % TOLD_AT_ONCE:
            await asyncio.sleep(0)
    return told


def _data(payload: bytes, *, is_binary: bool) -> dict[str, Any]:
    """Return a message: JSON as it is, other text as a JSON string, and bytes as base64."""
    if is_binary or not is_text(payload):
        return {"data": None, "b64data": b2a_base64(payload, newline=False).decode()}
    try:
        orjson.loads(bytes(payload))  # it may be Signed, which orjson does not take
    except orjson.JSONDecodeError:
        return {"data": payload.decode()}
    return {"data": orjson.Fragment(bytes(payload))}
