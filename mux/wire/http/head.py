"""The head of a request, read strictly: a request line, fields, an empty line (RFC 9112, sections 2 to 7).

llhttp reads it, through httptools. Heads that llhttp lets pass and RFC 9112 or nginx does not are refused here: more
than one blank in the request line, another version, a fragment, a missing or second Host, an absolute target without a
host, a transfer coding other than chunked.

1. The answer follows from the bytes alone, never from how they were sliced: llhttp refuses at the first wrong byte, and
   every limit is a fixed number of bytes that is checked in its turn.
2. A head that passes is well-formed and means one thing: names in lower case, values without blanks around them, a
   target that begins with a slash, one Host, and at most one way to tell where the body ends.
3. An upgrade to anything but a WebSocket is ignored (RFC 9110, section 7.8).

Pure: no I/O, no clock, no asyncio.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import httptools

from mux import reasons
from mux.errors import Refused

MAX_HEAD_BYTES = 32 * 1024
"""Most bytes of a head, its last empty line included: nginx takes as much (large_client_header_buffers 4 8k)."""

MAX_TARGET_BYTES = 8 * 1024
"""Most bytes of a request's target (RFC 9112, section 3, asks for 8,000 at least)."""

_MAX_LINE_BYTES = MAX_TARGET_BYTES + 64
"""Most bytes of a request line: the longest method and the version take 30."""

_HEAD_END = b"\r\n\r\n"
_EMPTY_LINES = re.compile(rb"(?:\r\n)*")
_request_line = re.compile(rb"[A-Z-]+ [!\"$-~]+ HTTP/[0-9]\.[0-9](?=\r\n)").match  # every visible character but #
_ABSOLUTE = re.compile("https?://([^/?]*)(.*)", re.IGNORECASE)
_HOST = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")
_is_host = lru_cache(maxsize=64)(_HOST.fullmatch)  # nearly all requests have one of a few hosts
_OF_BODIES = frozenset(("content-length", "expect", "transfer-encoding"))
_MEANT = _OF_BODIES.union(("connection", "host", "upgrade"))
"""Fields that mean something to whoever reads the head."""

_NOT_FORWARDED = _OF_BODIES.union(
    ("connection", "http2-settings", "keep-alive", "proxy-connection", "te", "trailer", "upgrade")
)
"""Fields that are about this connection, or about how the body travelled, are not handed on."""


@dataclass(slots=True)
class RequestHead:
    """A request without its body.

    Attributes:
        method: in capitals.
        target: begins with a slash, or is `*`.
        version: 1.0 or 1.1.
        fields: names in lower case, in their order.
        size: how many bytes the head had.
        length: of the body in bytes; None when it comes in chunks.
        host: the value of Host, and nothing when there is none.
        is_kept: True when the client wants to send another request on this connection.
        is_websocket: True for a GET that asks to become a WebSocket.
        expects_continue: True when the client waits to be told to send its body (RFC 9110, section 10.1.1).
    """

    method: str
    target: str
    version: str
    fields: list[tuple[str, str]]
    size: int
    length: int | None = 0
    host: str = ""
    is_kept: bool = False
    is_websocket: bool = False
    expects_continue: bool = False

    @property
    def has_body(self) -> bool:
        """True when bytes of a body follow."""
        return self.length != 0

    def forwarded(self, body_bytes: int) -> list[tuple[str, str]]:
        """Return the fields as they are handed on, for a body of so many bytes; 0 is none."""
        if self.is_websocket:
            return [field for field in self.fields if field[0] not in _OF_BODIES]
        fields = [field for field in self.fields if field[0] not in _NOT_FORWARDED]
        fields.append(("connection", "keep-alive" if self.is_kept else "close"))
        if body_bytes:
            fields.append(("content-length", str(body_bytes)))
        return fields

    def canonical(self, body_bytes: int) -> bytes:
        """Return the head as bytes, for a body of so many."""
        lines = [f"{self.method} {self.target} HTTP/{self.version}"]
        lines += [f"{name}: {value}" for name, value in self.forwarded(body_bytes)]
        return "\r\n".join([*lines, "\r\n"]).encode("utf-8", "surrogateescape")


class _Fields:
    """Takes the fields of a head from a parser, which holds it, so that the two do not hold each other."""

    __slots__ = ("found", "is_complete")

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []
        self.is_complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field."""
        self.found.append((name.decode("ascii").lower(), value.strip().decode("utf-8", "surrogateescape")))

    def on_headers_complete(self) -> None:
        """Take the end."""
        self.is_complete = True


def read_at_once(buffer: bytes | bytearray) -> RequestHead | None:
    """Return the head that a buffer begins with if it is whole and short, as nearly all are; None otherwise.

    Raises:
        Refused: as HeadReader.read().
    """
    end = buffer.find(_HEAD_END, 0, _MAX_LINE_BYTES)
    if end < 0:
        return None
    size, fields = end + len(_HEAD_END), _Fields()
    _feed(httptools.HttpRequestParser(fields), buffer[:size])
    return _understood(buffer, fields, size)


class HeadReader:
    """Reads one head that comes in pieces, or is long."""

    __slots__ = ("_fed", "_fields", "_parser")

    def __init__(self) -> None:
        self._fed = 0
        self._fields = _Fields()
        self._parser = httptools.HttpRequestParser(self._fields)

    def read(self, buffer: bytes | bytearray) -> RequestHead | None:
        """Return the head that a buffer begins with, None as long as it is not whole.

        Args:
            buffer: all that has come since the head began; it grows from call to call.

        Raises:
            Refused: it is no request that can be answered, and what follows it cannot be told apart.
        """
        end = buffer.find(_HEAD_END, max(0, self._fed - 3))
        size = end + len(_HEAD_END) if end >= 0 else len(buffer)
        if self._fed < _MAX_LINE_BYTES <= size:
            self._feed_to(buffer, _MAX_LINE_BYTES)
            if buffer.find(b"\r\n", 0, _MAX_LINE_BYTES) < 0:
                raise Refused(reasons.TARGET, f"the target has more than {MAX_TARGET_BYTES} bytes")
        self._feed_to(buffer, min(size, MAX_HEAD_BYTES))
        if size > MAX_HEAD_BYTES or (end < 0 and size == MAX_HEAD_BYTES):
            raise Refused(reasons.HEAD, f"the head of a request may have at most {MAX_HEAD_BYTES} bytes")
        return None if end < 0 else _understood(buffer, self._fields, size)

    def _feed_to(self, buffer: bytes | bytearray, to: int) -> None:
        if to > self._fed:
            piece = buffer[self._fed : to]
            self._fed = to
            _feed(self._parser, piece)


def _feed(parser: httptools.HttpRequestParser, piece: bytes | bytearray) -> None:
    try:
        parser.feed_data(piece)
    except httptools.HttpParserUpgrade:
        pass  # the bytes after the head are read by another reader
    except httptools.HttpParserError as error:
        # The words of llhttp name a rule of HTTP and nothing of the request.
        raise Refused(reasons.MALFORMED, f"this is no HTTP/1.1: {str(error).lower()}") from None


def empty_lines(buffer: bytes | bytearray) -> int:
    """Return how many bytes of empty lines come before a request; they mean nothing (RFC 9112, section 2.2)."""
    found = _EMPTY_LINES.match(buffer)
    assert found is not None, "it matches nothing as well"
    return found.end()


def _understood(head: bytes | bytearray, from_parser: _Fields, size: int) -> RequestHead:
    if not from_parser.is_complete:
        raise Refused(reasons.MALFORMED, "the request's head is no HTTP/1.1")
    found, fields = _request_line(head), from_parser.found
    if found is None:
        raise Refused(
            reasons.MALFORMED, "the request line is a method, a target and a version, with one blank between them"
        )
    method, target, protocol = found[0].decode().split(" ")
    version = protocol.removeprefix("HTTP/")
    if version not in ("1.0", "1.1"):
        raise Refused(reasons.VERSION)
    if method == "CONNECT":
        raise Refused(reasons.METHOD)
    if len(target) > MAX_TARGET_BYTES:
        raise Refused(reasons.TARGET, f"the target has more than {MAX_TARGET_BYTES} bytes")
    if not target.startswith("/"):
        target, fields = _from_absolute(method, target, fields)
    understood = RequestHead(method, target, version, fields, size, is_kept=version == "1.1")
    _understand_fields(understood)
    return understood


def _from_absolute(method: str, target: str, fields: list[tuple[str, str]]) -> tuple[str, list[tuple[str, str]]]:
    """Return a target as a path, and the fields with the host that the target names (RFC 9112, section 3.2.2)."""
    if target == "*" and method == "OPTIONS":
        return target, fields
    found = _ABSOLUTE.fullmatch(target)
    if found is None or not _is_host(host := found[1]):
        raise Refused(reasons.MALFORMED, "the target is neither a path nor a URL that names a host")
    path = found[2] if found[2].startswith("/") else f"/{found[2]}"
    return path, [(name, host if name == "host" else value) for name, value in fields]


def _understand_fields(head: RequestHead) -> None:
    """Set the attributes of a head that follow from its fields.

    Raises:
        Refused: a field is malformed, or contradicts another.
    """
    hosts, connection, upgrades = 0, "", []
    for name, value in head.fields:
        if name not in _MEANT:
            continue
        if name == "host":
            hosts += 1
            head.host = value
            if not _is_host(value):
                raise Refused(reasons.MALFORMED, "the Host is no name of a host")
        elif name == "connection":
            connection = f"{connection},{value.lower()}"
        elif name == "upgrade":
            upgrades.append(value.lower())
        elif name == "content-length":
            head.length = int(value)  # llhttp lets pass one, and nothing but digits
        elif name == "transfer-encoding":
            _check_coding(head, value)
        elif name == "expect":
            head.expects_continue = value.lower() == "100-continue" and head.version == "1.1"
    if hosts > 1 or (not hosts and head.version == "1.1"):
        raise Refused(reasons.MALFORMED, "a request has one Host")
    if connection:
        options = {option.strip() for option in connection.split(",")}
        head.is_kept = "close" not in options and (head.is_kept or "keep-alive" in options)
        if "upgrade" in options and upgrades == ["websocket"] and head.method == "GET" and head.version == "1.1":
            head.is_websocket = not head.has_body


def _check_coding(head: RequestHead, value: str) -> None:
    if head.version == "1.0":
        raise Refused(reasons.MALFORMED, "there is no Transfer-Encoding in HTTP/1.0")
    if value.lower() != "chunked":
        raise Refused(reasons.CODING)
    head.length = None
