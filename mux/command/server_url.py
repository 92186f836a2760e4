"""Find a server by its URL, send it requests, and say in one sentence why there is no answer.

A person writes the URL, so a mistake in it is one sentence; it may have a password in it, so the sentence does not
repeat it. Other programs listen on ports too, so anything that comes instead of an answer is one sentence as well.
"""

from __future__ import annotations

import http.client
import os
import re
import ssl
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import SplitResult, quote, unquote, urlsplit

from mux.command.access import NONE, Access
from mux.errors import InvalidSetting, ServerUnreachable

TIMEOUT_SECONDS = 10.0
"""Most seconds until a server answers."""

_HARMLESS = re.compile(r"([a-z]+://)?[A-Za-z0-9.-]*")
"""Matches a URL that has no room for a password."""

# C0 and C1 control characters would be obeyed by a terminal.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}


@dataclass(frozen=True, slots=True)
class ServerUrl:
    """The address of a server; path stands before /feed and /stats, without a slash at its end."""

    url: str
    """The URL as people are shown it: without user and password."""
    tls: bool
    host: str
    port: int | None
    netloc: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Headers that every request has beside its own."""
    trusted: ssl.SSLContext | None = None
    """The authorities that may vouch for a server with TLS; None is those of the machine."""

    def connection(self) -> http.client.HTTPConnection:
        """Return a connection that is opened by its first request, and again by the next one after a close."""
        if self.tls:
            return http.client.HTTPSConnection(self.host, self.port, timeout=TIMEOUT_SECONDS, context=self.trusted)
        return http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT_SECONDS)

    def feed_path(self, channel: str) -> str:
        """Return the path of a channel, which may be any argument of a command line."""
        return f"{self.path}/feed/{quote(os.fsencode(channel), safe='')}"

    def websocket_url(self, channel: str) -> str:
        """Return where the WebSocket of a channel is."""
        return f"{'wss' if self.tls else 'ws'}://{self.netloc}{self.feed_path(channel)}"


def parse_server_url(url: str, access: Access = NONE) -> ServerUrl:
    """Return where the server of a URL is, with the access that a user gave.

    Raises:
        InvalidSetting: it is no URL of a server, or --ca has no use there.
    """
    shown = repr(url) if _HARMLESS.fullmatch(url) else "of the server cannot be used; it"
    wrong = f"the URL {shown} must look like http://127.0.0.1:8000"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InvalidSetting(wrong) from None
    # An @ that is not before the host is one in a password that has a slash or the like in it.
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or "@" in f"{parts.path}{parts.query}{parts.fragment}"
    ):
        raise InvalidSetting(wrong)
    tls = parts.scheme == "https"
    if access.trusted is not None and not tls:
        raise InvalidSetting("--ca is for a server whose URL begins with https")
    netloc = parts.netloc.rpartition("@")[2]
    path = parts.path.rstrip("/")
    headers = _basic(parts) | access.headers
    return ServerUrl(
        f"{parts.scheme}://{netloc}{path}", tls, parts.hostname, port, netloc, path, headers, access.trusted
    )


def _basic(parts: SplitResult) -> dict[str, str]:
    """Return the header for user and password of a URL (RFC 7617), none without them."""
    if parts.username is None:
        return {}
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Authorization": f"Basic {b64encode(login.encode()).decode()}"}


def escape_controls(text: str) -> str:
    r"""Return text that a terminal does not obey: control characters become \x1b and the like."""
    return text.translate(_CONTROLS)


def request(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes | None = None,
) -> http.client.HTTPResponse:
    """Send a request, and return the answer.

    A server may end a connection that it has kept, at any time: then the request is sent once more, over a new one.
    """
    if connection.sock is not None:
        try:
            connection.request(method, path, body, headers)
            return connection.getresponse()
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            connection.close()
    connection.request(method, path, body, headers)
    return connection.getresponse()


@contextmanager
def reaching(url: str) -> Iterator[None]:
    """Raise a ServerUnreachable for a failure of the connection that the block raises."""
    try:
        yield
    except (OSError, UnicodeError, http.client.HTTPException) as error:
        raise ServerUnreachable(unreachable(url, error)) from error


class Fields(Protocol):
    """The header fields of an answer."""

    def get_all(self, name: str, /) -> Sequence[str] | None:
        """Return the values of a field."""


def refusal(answer: bytes | bytearray, status: int, phrase: str, fields: Fields) -> str:
    """Return why a server said no: its own sentence when it is mux, else the status."""
    # A plain sentence is mux'; a page is of another program that listens at this address.
    if "".join(fields.get_all("Content-Type") or ()).startswith("text/plain") and answer.strip():
        return escape_controls(answer.decode(errors="replace").strip().partition("\n")[0])
    # A redirect is not followed: the headers that let a command in here are not for others.
    targets = fields.get_all("Location") or () if 300 <= status < 400 else ()
    return escape_controls(" ".join((f"{status} {phrase}", *(f"to {target}" for target in targets))))


def reason(answer: bytes, response: http.client.HTTPResponse) -> str:
    """Return why a server said no, by its answer to a plain request."""
    return refusal(answer, response.status, response.reason, response.headers)


def cause(error: BaseException) -> str:
    """Return what went wrong with a connection, in a few words."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return escape_controls(said.lower()) or type(error).__name__


def unreachable(url: str, error: Exception) -> str:
    """Return the sentence for a server that cannot be reached."""
    if isinstance(error, ssl.SSLCertVerificationError):
        why = escape_controls(error.verify_message)
        return f"the certificate of {url} is not trusted: {why}; name the authority that signed it with --ca"
    if isinstance(error, ssl.SSLError):
        why = (error.reason or str(error)).lower().replace("_", " ")
        return f"no TLS is to be had at {url}: {escape_controls(why)}; is it http?"
    return f"no mux answers at {url}: {cause(error)}; start one with `mux`, or name it with --url"
