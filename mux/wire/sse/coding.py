"""The forms of event streams: in chunks for HTTP/1.1 and bare for 1.0, as they are or compressed.

A compressed stream is one body in gzip or deflate (RFC 1952 and 1950), and every part of it is whole blocks that refer
to nothing before them. So a batch is compressed once for all streams of a version, gzip and deflate alike, and a small
batch travels in a block as it is. The body has no last block, for the checksum behind it would differ from client to
client. No reader misses it: a stream goes on until it is cut off.

Pure: no I/O, no clock, no asyncio.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from mux.wire.deflate import AT_ONCE_BYTES, deflated, stored
from mux.wire.publication import Encoder, Publication
from mux.wire.sse.encoder import Events

BEGINNINGS = {"gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff", "deflate": b"\x78\x01"}
"""The first bytes of a body, by its content coding: a gzip header of no file and time (RFC 1952, section 2.3.1), and a
zlib header (RFC 1950, section 2.2), which HTTP means by deflate."""

LAST_CHUNK = b"0\r\n\r\n"
"""The end of a body in chunks (RFC 9112, section 7.1)."""

TYPE = "text/event-stream"
"""The content type; an event stream is UTF-8 whatever else is said (HTML standard, section 9.2.5)."""

NOT_KEPT = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}
"""Header fields by which proxies neither keep, compress nor gather a stream; nginx and others read the second."""

STREAM = {"Content-Type": TYPE, **NOT_KEPT, "Connection": "close"}
"""The headers of every stream. It is the last response on its connection."""


def chunk(data: bytes) -> bytes:
    """Return data, of which there is some, as one chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


@dataclass(frozen=True, slots=True)
class Coding:
    """The form of an event stream in one version of HTTP and one content coding.

    Attributes:
        encode: turns publications into what is sent.
        wrap: turns lines of the stream into what is sent.
        begin: does so with the first lines.
        end: the end of the body, after which the connection ends.
        fields: header fields of its own.
    """

    encode: Encoder
    wrap: Callable[[bytes], bytes]
    begin: Callable[[bytes], bytes]
    end: bytes
    fields: dict[str, str] = field(default_factory=dict)

    def head(self, headers: Mapping[str, str]) -> bytes:
        """Return the head of the response (RFC 9112, section 4), with further headers."""
        lines = [f"{name}: {value}\r\n" for name, value in {**STREAM, **headers, **self.fields}.items()]
        # Sanic reads headers in this way, and a value that came from a request goes back as it came.
        return "".join(["HTTP/1.1 200 OK\r\n", *lines, "\r\n"]).encode(errors="surrogateescape")


class Packed:
    """Compressed streams of one version of HTTP.

    Args:
        events: makes the events.
        frame: makes a part of a body of some bytes.
        min_bytes: smaller parts of a stream are not compressed.
    """

    def __init__(self, events: Events, frame: Callable[[bytes], bytes], min_bytes: int) -> None:
        self._events = events
        self._frame = frame
        self._min_bytes = min_bytes

    def encode(self, channel: bytes, publications: Sequence[Publication]) -> bytes:
        """Return the events of a batch, in order; as Events.encode(), and AT_ONCE_BYTES are compressed."""
        data = self._events.encode_plain(channel, publications)
        if not data:
            return b""
        if len(data) < self._min_bytes:
            return self.wrap(data)
        return self._frame(deflated(data[:AT_ONCE_BYTES]) + stored(data[AT_ONCE_BYTES:]))

    def wrap(self, lines: bytes) -> bytes:
        """Return lines of the stream as what is sent; they are few, and not compressed."""
        return self._frame(stored(lines))

    def begin(self, beginning: bytes, lines: bytes) -> bytes:
        """Do as wrap(), after the first bytes of the body."""
        return self._frame(beginning + stored(lines))


def codings(events: Events, compress_min_bytes: int | None = None) -> dict[tuple[str, str], Coding]:
    """Return how event streams travel, by the version of the request and the content coding, which is empty for none.

    Args:
        events: makes the events.
        compress_min_bytes: smaller parts of a compressed stream are not compressed; None is for no compressed streams.
    """
    chunked = {"Transfer-Encoding": "chunked"}
    found = {
        ("1.1", ""): Coding(events.encode, chunk, chunk, LAST_CHUNK, chunked),
        ("1.0", ""): Coding(events.encode_plain, _bare, _bare, b""),
    }
    if compress_min_bytes is None:
        return found
    for (version, _), plain in list(found.items()):
        packed = Packed(events, plain.wrap, compress_min_bytes)
        encode = packed.encode  # one object, for streams of both codings to be written the same bytes
        for name, beginning in BEGINNINGS.items():
            fields = {**plain.fields, "Content-Encoding": name}
            found[version, name] = Coding(encode, packed.wrap, partial(packed.begin, beginning), plain.end, fields)
    return found


def _bare(data: bytes) -> bytes:
    return data
