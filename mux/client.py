"""`mux publish` and `mux tail`: clients of a running server, through the endpoints everybody uses."""

from __future__ import annotations

import http.client
import os
import sys
from collections.abc import Iterable
from datetime import datetime
from time import monotonic
from urllib.parse import SplitResult, quote, urlsplit

from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.sync.client import connect

from mux.errors import InvalidSetting, ServerUnreachable

TIMEOUT_SECONDS = 10.0
"""How long a server may take to answer."""

REUSE_SECONDS = 15.0
"""A connection that was idle for longer is made anew: the server may be about to close it (Sanic after 120 s,
proxies sooner), and a message that is lost with it could not be told from one that arrived."""

# C0 and C1 control characters would be obeyed by a terminal.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}


def publish(url: str, channel: str, messages: Iterable[bytes]) -> int:
    """POST messages, in order, over one connection; return how many.

    Raises:
        ServerUnreachable: nobody answers at url, or the answer was no. What came before is published.
    """
    parts = _split(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    path = f"{parts.path.rstrip('/')}/feed/{quote(os.fsencode(channel), safe='')}"
    count = 0
    connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_SECONDS)
    used_at = monotonic()
    try:
        for message in messages:
            if monotonic() - used_at > REUSE_SECONDS:
                connection.close()  # the next request opens it again
            used_at = monotonic()
            connection.request("POST", path, body=message)
            response = connection.getresponse()
            answer = response.read()
            if response.status >= 300:
                raise ServerUnreachable(f"the server did not publish: {_reason(answer, response)}")
            count += 1
    except (OSError, UnicodeError, http.client.HTTPException) as error:
        raise ServerUnreachable(_unreachable(url, error)) from error
    finally:
        connection.close()
    return count


def tail(url: str, channel: str) -> None:
    """Print what passes on a channel, a line each with the time, until the connection ends.

    Raises:
        ServerUnreachable: nobody answers at url, the answer was no, or the server ended the connection.
    """
    parts = _split(url)
    scheme = {"http": "ws", "https": "wss"}[parts.scheme]
    address = f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}/feed/{quote(os.fsencode(channel), safe='')}"
    try:
        with connect(address, open_timeout=TIMEOUT_SECONDS, max_size=None, compression=None) as websocket:
            for message in websocket:
                _print_line(format_message(datetime.now(), message))
        raise ServerUnreachable(f"the server closed the connection: {websocket.close_code} {websocket.close_reason}")
    except InvalidStatus as error:
        raise ServerUnreachable(f"the server refused: {_first_line(error.response.body or b'') or error}") from error
    except ConnectionClosed as error:
        raise ServerUnreachable(f"the connection was closed: {error}") from error
    except (OSError, UnicodeError, WebSocketException) as error:
        raise ServerUnreachable(_unreachable(url, error)) from error


def _print_line(line: str) -> None:
    """Print, and end the program quietly when nobody reads any more."""
    encoding = sys.stdout.encoding
    try:
        print(line.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except BrokenPipeError:
        # As Python's own documentation has it: else the interpreter complains when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def format_message(time: datetime, message: str | bytes) -> str:
    """Return one line for a message: text with control characters escaped, binary as its size and hex."""
    if isinstance(message, bytes):
        shown = f"({len(message)} bytes) {message.hex(' ')}"
    else:
        shown = message.translate(_CONTROLS)
    return f"{time:%H:%M:%S}.{time.microsecond // 1000:03d}  {shown}"


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises for a port that is no number
    except ValueError as error:
        raise InvalidSetting(f"the URL {url!r} cannot be used: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidSetting(f"the URL {url!r} must look like http://127.0.0.1:8000")
    return parts


def _first_line(answer: bytes | bytearray) -> str:
    return answer.decode(errors="replace").strip().partition("\n")[0].translate(_CONTROLS)


def _reason(answer: bytes, response: http.client.HTTPResponse) -> str:
    # A plain sentence is mux'; a page is somebody else's who listens at this address.
    if response.getheader("Content-Type", "").startswith("text/plain"):
        return _first_line(answer)
    return f"{response.status} {response.reason}"


def _unreachable(url: str, error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"no mux answers at {url}: {reason.lower()}; start one with `mux`, or name it with --url"
