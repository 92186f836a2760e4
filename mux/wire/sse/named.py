"""The events of streams that have several channels: the data of each names its channel.

    data: {"channel":"price:7","data":{"bid":3}}
    id: <position>

Text that is JSON stands there as it came, other text as a string, and binary as base64 under "base64". Announcements
have the events `joined` and `left`, as on other streams.

Pure: no I/O, no clock, no asyncio.
"""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Sequence
from typing import cast

import orjson

from mux.wire.channel import is_wildcard
from mux.wire.publication import BINARY, JOINED, LEFT, Kind, Matched, Publication, is_text, matched
from mux.wire.sdk.payloads import as_json
from mux.wire.sse.encoder import Events

_NAMES = {JOINED: b"\nevent: joined", LEFT: b"\nevent: left"}


class NamedEvents:
    """Turns publications into events that name their channel.

    Args:
        events: adds the positions.
        prefix: what the Redis channels of all channels begin with.
    """

    def __init__(self, events: Events, prefix: bytes) -> None:
        self._events = events
        self._prefix = prefix

    def encode(self, channel: bytes, publications: Sequence[Publication]) -> dict[int, bytes]:
        """Return the events of a batch by the numbers of the messages, in order."""
        if is_wildcard(channel):
            contents = [self._content(own, payload, kind) for payload, kind, _, own in matched(publications)]
        else:
            contents = [self._content(channel, payload, kind) for payload, kind, _ in publications]
        contents = self._events.with_positions(channel, contents, publications)
        return {publication[2]: content + b"\n\n" for publication, content in zip(publications, contents, strict=True)}

    def encode_matched(self, publications: Sequence[Matched]) -> dict[int, bytes]:
        """Return the events of messages that were taken note of, by their numbers, in order."""
        contents = [self._content(channel, payload, kind) for payload, kind, _, channel in publications]
        contents = self._events.with_positions(None, contents, cast("Sequence[Publication]", publications))
        return {one[2]: content + b"\n\n" for one, content in zip(publications, contents, strict=True)}

    def _content(self, channel: bytes, payload: bytes, kind: Kind) -> bytes:
        name = orjson.dumps(self.name(channel))
        if kind == BINARY or not is_text(payload):
            return b'data: {"channel":%b,"base64":"%b"}' % (name, b2a_base64(payload, newline=False))
        return b'data: {"channel":%b,"data":%b}%b' % (name, as_json(payload, kind)[0], _NAMES.get(kind, b""))

    def name(self, channel: bytes) -> str:
        """Return the name of the channel of a Redis channel."""
        return channel[len(self._prefix) :].decode()
