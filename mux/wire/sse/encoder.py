"""Publications to Server-Sent Events, and the HTTP around them.

An event stream (HTML standard, section 9.2) is text: fields, a line each, and an empty line after every event.
It is the body of one response that does not end, and a body without a length comes in chunks (RFC 9112, section
7.1). All of that is the same for every client: a batch is encoded once, as one chunk, and the very same bytes
object is written to every subscriber. An HTTP/1.0 client does not know chunks (a proxy may be one, nginx is by
default) and gets the bare events; its body ends with the connection. The two are a Coding each.

What a client reads:

1. Text is one event whose data is the text, but for one thing: the stream knows lines and not how they ended, so
   CRLF and CR arrive as LF.
2. Binary is an event named `binary` whose data is base64, and an announcement one named `joined` or `left`, so that
   a page that expects JSON in every message is not given a sentence. The name comes after the data, where the
   standard allows it as well, so that every event starts with the same bytes, and a batch is one join.
3. The events of a wildcard, which stands for many channels, are named by their channels, percent-encoded. `?` cannot be
   in such a name, and tells those that are no text apart: `orders.a?binary`, `orders.a?joined`, `orders.a?left`.
4. The position of an event is its `id`, the last line of it. A client gives the last one back when it comes again. An
   event without a position, after others that had one, has an `id` that nobody can resume from.
5. Whatever is said of the connection itself is a comment, or the time to wait before coming back. No empty line
   follows it, for some clients make an event without data of it then; a client acts on a line as soon as it is whole.

Pure: no I/O, no clock, no asyncio.
"""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote_from_bytes

import orjson

from mux.wire.channel import is_wildcard
from mux.wire.position import NOWHERE, Numbering
from mux.wire.publication import BINARY, JOINED, LEFT, Kind, Publication, is_text, matched

GROWTH = 8
"""An encoded payload is at most so many times as long as it was: each line end becomes 7 bytes, with a few around
all."""

_LF, _CR = 0x0A, 0x0D

_FIRST = b"data: "  # with a space: a client takes one away, and one that belongs to the text stays
_BETWEEN = b"\n" + _FIRST
_LAST = b"\n\n"
_NEXT = _LAST + _FIRST
_NOWHERE = b"\nid: " + NOWHERE.encode()
_NAMES = {BINARY: b"binary", JOINED: b"joined", LEFT: b"left"}
_KEPT = "!*'()"  # with letters, digits and -_.~ all that encodeURIComponent() of JavaScript leaves as it is
_TAKEN = frozenset(
    (
        b"binary",
        b"error",
        b"expired",
        b"joined",
        b"left",
        b"message",
        b"missed",
        b"open",
        b"position",
        b"refused",
        b"skipped",
    )
)
"""Names of events that mean something already, to mux or to an EventSource."""


class Events:
    """Turns publications into events, each with its position while there is one.

    Args:
        numbering: says the positions; without it, events have none.
        on_encoded: called with each channel or wildcard and the number of its last message, when there is a numbering.
        prefix: what the Redis channels of all channels begin with.
    """

    def __init__(
        self,
        numbering: Numbering | None = None,
        on_encoded: Callable[[bytes, int], None] | None = None,
        *,
        prefix: bytes = b"",
    ) -> None:
        self._numbering = numbering
        self._on_encoded = on_encoded
        self._prefix = prefix
        self._has_numbered = False

    def encode(self, channel: bytes, publications: Sequence[Publication]) -> bytes:
        """Return the events of a batch, in order, as one chunk; of an empty batch nothing: an empty chunk is the last.

        A publication known to be binary becomes a binary event, and so does one that is not valid UTF-8; announcements
        have events of their own; everything else becomes text. An event names its channel where the stream is for a
        wildcard.
        """
        contents = self._contents(channel, publications)
        if not contents:
            return b""
        # Into the ends of the list and not around the joined events: these may be megabytes, and are copied once.
        size = sum(map(len, contents)) + len(_NEXT) * len(contents)
        contents[0] = b"%x\r\n%b%b" % (size, _FIRST, contents[0])
        contents[-1] += b"\n\n\r\n"
        return _NEXT.join(contents)

    def encode_plain(self, channel: bytes, publications: Sequence[Publication]) -> bytes:
        """Return the events of a batch, in order, without a chunk around them; otherwise as encode()."""
        contents = self._contents(channel, publications)
        if not contents:
            return b""
        contents[0] = _FIRST + contents[0]
        contents[-1] += _LAST
        return _NEXT.join(contents)

    def withhold(self, channel: bytes, publications: Sequence[Publication]) -> bytes:
        """Return nothing, for a client that is still given what came before."""
        if publications and self._on_encoded is not None:
            self._on_encoded(channel, publications[-1][2])
        return b""

    def heartbeat(self, number: int) -> bytes:
        """Return lines that no client shows, and from which it knows that it has everything up to a number.

        An EventSource takes the position of an event although nobody listens to its name. The event has a name and
        empty data, for some clients take a position alone for a message without data.
        """
        numbering = self._numbering
        if numbering is None or not numbering.epoch:
            return comment("still here")
        return b"event: position\nid: %b-%d\ndata:\n\n" % (numbering.epoch.encode(), numbering.base + number)

    def missed(self, asked: str, reason: str, number: int) -> bytes:
        """Return the event that tells a client that not all of what it missed can be given to it.

        Args:
            asked: the position it has asked for.
            reason: why, in a word.
            number: everything after the message of this number follows.
        """
        numbering = self._numbering
        told = {"since": asked, "reason": reason}
        position = NOWHERE.encode()
        if numbering is not None and numbering.epoch:
            position = b"%b-%d" % (numbering.epoch.encode(), numbering.base + number)
        return b"event: missed\nid: %b\ndata: %b\n\n" % (position, orjson.dumps(told))

    def _contents(self, channel: bytes, publications: Sequence[Publication]) -> list[bytes]:
        """Return what stands between the first `data: ` of each event and its empty line."""
        if is_wildcard(channel):
            contents = [_content(payload, kind, self._name(own)) for payload, kind, _, own in matched(publications)]
        else:
            contents = [
                # One line of ASCII is done. A byte is looked for several times faster than a string of one byte.
                payload
                if not kind and payload.isascii() and _LF not in payload and _CR not in payload
                else _content(payload, kind)
                for payload, kind, _ in publications
            ]
        return self.with_positions(channel, contents, publications)

    def with_positions(
        self, channel: bytes | None, contents: list[bytes], publications: Sequence[Publication]
    ) -> list[bytes]:
        """Return the contents of the events of publications, each with its position as the last line.

        Args:
            channel: the channel or wildcard of which the last message is taken note of; None for none.
            contents: what stands in the events before that line.
            publications: the messages.
        """
        numbering = self._numbering
        if numbering is None or not contents:
            return contents
        if self._on_encoded is not None and channel is not None:
            self._on_encoded(channel, publications[-1][2])
        if not numbering.epoch:
            return [content + _NOWHERE for content in contents] if self._has_numbered else contents
        self._has_numbered = True
        mark, base = b"\nid: %b-" % numbering.epoch.encode(), numbering.base
        return [
            b"%b%b%d" % (content, mark, base + publication[2])
            for content, publication in zip(contents, publications, strict=True)
        ]

    def _name(self, redis_channel: bytes) -> bytes:
        """Return the name of the events of a channel in a stream for a wildcard."""
        channel = redis_channel.removeprefix(self._prefix)
        if channel in _TAKEN:
            return b"%%%02X%b" % (channel[0], channel[1:])
        return quote_from_bytes(channel, _KEPT).encode()


def inflation(data: bytes) -> int:
    """Return how many bytes of events stand before lines of data; they are most of what a text of line ends becomes."""
    return data.count(_BETWEEN) * len(_FIRST)


def missed_in_gap(count: int | None) -> bytes:
    """Return the event that tells a client in the middle of its stream that messages may have been missed.

    It has no position, for the client cannot continue from there as if it had everything before.

    Args:
        count: the number of messages of all channels that were missed; None when it is not known.
    """
    return told("missed", {"reason": "gap"} if count is None else {"reason": "gap", "missed": count})


def told(name: str, fields: Mapping[str, object]) -> bytes:
    """Return an event that tells a client something that is no message; it has no position."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps(fields))


def comment(text: str) -> bytes:
    """Return a line that no client shows; text is one line."""
    return f": {text}\n".encode()


def come_back(milliseconds: int) -> bytes:
    """Return how long a client waits before it connects again, from now on."""
    return b"retry: %d\n" % milliseconds


EXPIRED = b"event: expired\ndata: token expired\n\n"
"""The event that tells a client to come back with another token. It has data, as browsers drop events without."""


def _content(payload: bytes, kind: Kind, channel: bytes = b"") -> bytes:
    """Return the data of an event, and after it its name, of which that of a channel is a part where it is given."""
    if kind == BINARY or not is_text(payload):
        kind = BINARY
        data = b2a_base64(payload, newline=False)
    else:
        data = payload.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", _BETWEEN)
    name = _NAMES.get(kind, b"")
    if channel:
        name = b"%b?%b" % (channel, name) if name else channel
    return b"%b\nevent: %b" % (data, name) if name else data
