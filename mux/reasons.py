"""Every reason for which a request is refused or a client is sent away, once, with what each kind of client is told.

    an HTTP request           its status, and a sentence as the body
    a WebSocket client        its close code (RFC 6455, section 7.4), and the sentence
    an SDK client             the same, or a code of its own by which it knows whether to come back
    an event stream           a comment with both, the time to come back, and the end
    no code and no status     nothing: the connection is cut off, for the client reads or answers nothing

The table of codes in endpoints/README.md is made from this one.

Pure: values only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

RETRY_AFTER: Mapping[str, str] = {"Retry-After": "2"}
"""Seconds: the longest pause between two tries to reach Redis (broker.LAST_RETRY_SECONDS)."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason.

    Args:
        counted_as: its label in mux_refusals_total, or in mux_connections_evicted_total if it evicts; nothing when it
            is not counted.
        status: answers a request (RFC 9110, section 15); 0 when no request is refused for it.
        code: closes a WebSocket; 0 when none is closed for it.
        why: what has happened, for the documentation.
        come_back: whether a client is to come back, for the documentation.
        sentence: what a client is told; nothing where the sentence has figures or a name in it.
        evicts: the connection is ended because its client does not read or answer.
        scheme: how a request shows that it may; every 401 names it (RFC 9110, section 15.5.2; RFC 6750, section 3).
        sdk: closes an SDK client; 0 when that is closed with the code of any WebSocket.
        is_goodbye: nothing is wrong with the client. All it has sent is handled first, and an event stream ends with
            the time to come back, even one that has just been asked for.
    """

    counted_as: str
    status: int
    code: int
    why: str
    come_back: str
    sentence: str = ""
    evicts: bool = False
    scheme: str = "Bearer"
    is_goodbye: bool = False
    sdk: int = 0

    @property
    def closes_sdk_clients(self) -> bool:
        """True when no command of an SDK client is answered with it: the client is closed."""
        return 3000 <= self.code < 4000 or self is MESSAGES

    @property
    def fields(self) -> Mapping[str, str]:
        """The header fields of an answer: they say when to try again where that may help, or how to show a token."""
        if self.status == 401:
            return {"WWW-Authenticate": self.scheme}
        return RETRY_AFTER if self.status in (429, 503) else {}


_MENDED = "after mending it"
_LATER = "after a pause"
_LOST = "after a pause; the last messages may be lost"
_AWAY = "Redis is away: the last messages may be lost"

# counted as, status, close code, why, come back?, and the sentence
LEAVING = Reason(
    "draining",
    503,
    1001,
    "the server stops, or starts anew",
    "yes",
    "the server is going away",
    is_goodbye=True,
    sdk=3001,
)
GAP = Reason(
    "",
    0,
    1012,
    "a gap, with `--on-gap close`",
    "yes; read anew",
    "messages may have been missed: read anew",
    is_goodbye=True,
    sdk=3010,
)

# Too many, too much, too slow.
CONNECTIONS = Reason("connections", 503, 0, "a process has `--max-connections` clients", _LATER)
DESCRIPTORS = Reason("descriptors", 503, 0, "a process has as many connections as it may open files", _LATER)
ADDRESS = Reason("address", 429, 0, "an address has `--max-connections-per-address` clients in a process", _LATER)
CHANNELS = Reason("channels", 400, 0, "more than `--max-channels-per-connection` for one connection", "with fewer")
INQUIRIES = Reason("inquiries", 503, 0, "too many ask for `/stats`, `/channels` or messages at the same time", _LATER)
MESSAGES = Reason(
    "messages", 0, 1008, "more than `--max-messages-per-second`", "more slowly", "too many messages", sdk=3013
)
CONTROL_FRAMES = Reason(
    "control_frames",
    0,
    1008,
    "more than `--max-control-frames-per-second`",
    "more slowly",
    "too many control frames",
    sdk=3013,
)
TOO_LARGE = Reason(
    "too_large", 413, 1009, "a message over `--max-message-bytes`, or in too many fragments", "with smaller messages"
)
TOO_SLOW = Reason(
    "too_slow",
    408,
    1008,
    "a message or request not complete within `--handshake-seconds`",
    "yes",
    "a message was not complete in time",
)

# Not allowed.
ORIGIN = Reason("origin", 403, 0, "a page of another host; see `--allowed-origin`", "no")
HOST = Reason(
    "host",
    421,
    0,
    "a `Host` that is not served; see [DNS rebinding](../serve/README.md#dns-rebinding)",
    "under another name",
)
READ_ONLY = Reason(
    "read_only", 403, 1008, "clients may not publish: `--no-client-publish`", "to listen only", "this feed is read-only"
)
DISCONNECTED = Reason(
    "disconnected", 0, 4403, "the backend or the app has ended the connection", "when it may", "disconnected", sdk=3503
)
UNAUTHORIZED = Reason(
    "unauthorized",
    401,
    0,
    "no token where one is needed, or one that is not valid or has ended; see [who may do what](#who-may-do-what)",
    "with a new token",
)
API_KEY = Reason(
    "api_key",
    401,
    0,
    "the [HTTP API](../backend/README.md) without one of its keys",
    "with it",
    scheme="apikey",
)
FORBIDDEN = Reason(
    "forbidden",
    403,
    1008,
    "the token, or the app, does not allow this",
    "no",
    "this client may not publish to the channel",
)
TOKEN_EXPIRED = Reason("", 0, 4401, "the token has ended", "with a new token", "token expired", sdk=3005)
CHECKS = Reason(
    "checks",
    429,
    0,
    "an address has sent more tokens that are not valid than `--max-token-checks-per-second`",
    _LATER,
    "too many tokens that are not known yet: try again later",
)
INSPECTION = Reason(
    "inspection",
    403,
    0,
    "the numbers without their token; see [who sees the numbers](../serve/README.md#who-sees-the-numbers)",
    "with it",
)

# Not valid, or not there.
CHANNEL = Reason("channel", 400, 0, "no channel has this name", _MENDED)
HANDSHAKE = Reason(
    "handshake", 400, 0, "no valid opening handshake; 426 when `Connection` does not say `Upgrade`", _MENDED
)
QUERY = Reason("query", 400, 0, "a parameter that is not known, or that has no such value", _MENDED)
MISSED = Reason(
    "missed",
    410,
    4410,
    "not all that came since the position in `since` is known any more",
    "without `since`; read anew",
    "not all that came since this position is known any more: connect again without it",
)
BODY = Reason("body", 400, 0, "a body where none is wanted", _MENDED)
CONTENT = Reason("content", 415, 0, "a POST with a `Content-Encoding`, or a charset that is not UTF-8", _MENDED)
TEXT = Reason("invalid_text", 0, 1007, "text that is not UTF-8", _MENDED)
PROTOCOL = Reason("protocol_error", 0, 1002, "frames that RFC 6455 does not allow", _MENDED)
MALFORMED = Reason("malformed", 400, 0, "a request that is no HTTP/1.1, as RFC 9112 has it", _MENDED)
VERSION = Reason(
    "malformed", 505, 0, "another version of HTTP than 1.0 and 1.1", "with HTTP/1.1", "this server speaks HTTP/1.1"
)
CODING = Reason(
    "malformed", 501, 0, "another transfer coding than `chunked`", _MENDED, "the only transfer coding here is chunked"
)
API_COMMAND = Reason(
    "api_command",
    400,
    0,
    "a command to the [HTTP API](../backend/README.md) that is no JSON; or, with the status 200, that cannot be done",
    _MENDED,
)
NO_UPGRADE = Reason(
    "no_upgrade",
    # Without Upgrade, which RFC 9110, section 15.5.22, asks for: nginx passes it on to clients that speak HTTP/2,
    # also when Connection lists it, and to those the answer is broken then (RFC 9113, section 8.2.2).
    426,
    0,
    "a feed is asked for, and neither a WebSocket nor an event stream",
    _MENDED,
    "this is a feed: connect to it with a WebSocket client, GET it with `Accept: text/event-stream`, "
    "or POST to publish",
)
NOT_FOUND = Reason(
    "not_found", 404, 0, "a path that leads nowhere", "no", "nothing is here; feeds are at /feed/<channel>"
)
METHOD = Reason("method", 405, 0, "a method that the path does not take, or CONNECT", "no", "this server is no proxy")
TARGET = Reason("target", 414, 0, "a path and query over 8 KiB", _MENDED)
HEAD = Reason("head", 431, 0, "header fields over 32 KiB, or trailers over 8 KiB", _MENDED)

# Of SDK clients alone.
BAD_COMMAND = Reason(
    "bad_command", 0, 3501, "a frame or a command that the protocol of the SDKs does not allow", "no", "bad request"
)
INVALID_TOKEN = Reason("invalid_token", 0, 3500, "a token that is not valid", "with another token", "invalid token")
EXPIRED = Reason("expired", 0, 3005, "`refresh` with a token that has ended", "with a new token", "connection expired")
SUBSCRIPTION_EXPIRED = Reason(
    "subscription_expired",
    0,
    3006,
    "the time of a subscription that the server has begun is over",
    "yes",
    "subscription expired",
)
STALE = Reason("stale", 0, 3502, "no `connect` within `--handshake-seconds`", "no", "stale: no connect came in time")
PROTOBUF = Reason(
    "protobuf", 0, 3506, "the Protobuf form of the protocol", "with its JSON form", "this server speaks JSON alone"
)
NO_HANDLER = Reason("no_handler", 0, 3508, "`send`, which nobody takes here", "no", "nobody takes what is sent here")

# Redis does not take a message.
REDIS_UNAVAILABLE = Reason(
    "redis_unavailable", 503, 1013, "Redis is away for longer than messages are held, or does not keep up", _LOST, _AWAY
)
REDIS_BUSY = Reason("redis_busy", 503, 1013, "Redis loads its data, fails over or runs a script", _LOST, _AWAY)
REDIS_LOST = Reason("redis_lost", 503, 1013, "Redis did not answer, or delivered a message to nobody", _LOST, _AWAY)
REDIS_REFUSED = Reason(
    "redis_refused", 502, 1011, "Redis refused a message", "when its rights are mended", "Redis refused the message"
)

# The server cannot answer.
TOKEN_KEYS = Reason(
    "token_keys",
    503,
    0,
    "the keys of `--token-jwks-url` cannot be had, and the token is not known yet",
    _LATER,
    "the keys that new tokens are checked with cannot be had: try again later",
)
NO_SOCKET = Reason(
    "no_socket",
    501,
    0,
    "a feed under ASGI, as `app.asgi_client` of sanic-testing",
    "no",
    "a feed needs a socket, which Sanic's own server has and ASGI has not",
)
FAILED = Reason(
    "failed", 500, 0, "a mistake of the server, which its log tells", "no", "the server has failed; its log says how"
)
HOOK = Reason(
    "hook",
    500,
    1011,
    "a hook of the app has failed, which the log tells",
    "no",
    "the app has failed; the log of the server says how",
    sdk=3004,
)

# Cut off.
UNREAD = Reason("unread", 0, 0, "the answer to a request is not read within `--handshake-seconds`", "yes")
SILENT = Reason(
    "silent", 0, 0, "a ping is not answered within `--pong-seconds`", "yes", "no pong", evicts=True, sdk=3012
)
OVERFLOW = Reason("overflow", 0, 0, "more than `--max-pending-bytes` wait to be read", "yes", evicts=True)
UNWRITABLE = Reason(
    "unwritable", 0, 0, "nothing is read for `--max-unwritable-seconds` though something waits", "yes", evicts=True
)
MEMORY = Reason(
    "memory", 0, 0, "over `--max-pending-total-bytes` wait for all clients together, most for these", "yes", evicts=True
)
