"""Where a server is, how to reach it, and what to say when it does not answer.

A URL is given by a person, so whatever is wrong with it is said in one sentence. So is whatever comes back
instead of an answer: other programs listen on ports too.
"""

from __future__ import annotations

import http.client
import os
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from mux.errors import InvalidSetting

TIMEOUT_SECONDS = 10.0
"""How long a server may take to answer."""

# C0 and C1 control characters would be obeyed by a terminal.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is; path is what stands before /feed and /stats, without a slash at its end."""

    url: str
    tls: bool
    host: str
    port: int | None
    netloc: str
    path: str

    def connection(self) -> http.client.HTTPConnection:
        """Return a connection that is opened by its first request, and again by the next one after a close."""
        kind = http.client.HTTPSConnection if self.tls else http.client.HTTPConnection
        return kind(self.host, self.port, timeout=TIMEOUT_SECONDS)

    def feed_path(self, channel: str) -> str:
        """Return the path of a channel, which may be any argument of a command line."""
        return f"{self.path}/feed/{quote(os.fsencode(channel), safe='')}"

    def websocket_url(self, channel: str) -> str:
        """Return where the WebSocket of a channel is."""
        return f"{'wss' if self.tls else 'ws'}://{self.netloc}{self.feed_path(channel)}"


def parse_address(url: str) -> Address:
    """Return the parts of a URL.

    Raises:
        InvalidSetting: it is no URL of a server.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidSetting(f"the URL {url!r} cannot be used: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidSetting(f"the URL {url!r} must look like http://127.0.0.1:8000")
    return Address(url, parts.scheme == "https", parts.hostname, port, parts.netloc, parts.path.rstrip("/"))


def escape_controls(text: str) -> str:
    r"""Return text that a terminal does not obey: control characters become \x1b and the like."""
    return text.translate(_CONTROLS)


def first_line(answer: bytes | bytearray) -> str:
    """Return the first line of an answer, for people."""
    return escape_controls(answer.decode(errors="replace").strip().partition("\n")[0])


def reason(answer: bytes, response: http.client.HTTPResponse) -> str:
    """Return why a server said no: its own sentence when it is mux, else the status."""
    # A plain sentence is mux'; a page is somebody else's who listens at this address.
    if response.getheader("Content-Type", "").startswith("text/plain"):
        return first_line(answer)
    return f"{response.status} {escape_controls(response.reason)}"


def cause(error: BaseException) -> str:
    """Return what went wrong with a connection, in a few words."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return escape_controls(said.lower()) or type(error).__name__


def unreachable(url: str, error: Exception) -> str:
    """Return the sentence for a server that cannot be reached."""
    return f"no mux answers at {url}: {cause(error)}; start one with `mux`, or name it with --url"
