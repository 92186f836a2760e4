"""Replies and pushes to SDK clients.

Every message is one JSON object on one line, and a frame has one or more of them, with a line break between two. What a
client cannot read ends it, in some SDKs for good; so each message is made here, from parts that are JSON already.

Pure: no I/O, no clock.
"""

from __future__ import annotations

import orjson

(
    INTERNAL,
    UNAUTHORIZED,
    UNKNOWN_CHANNEL,
    PERMISSION_DENIED,
    METHOD_NOT_FOUND,
    ALREADY_SUBSCRIBED,
    LIMIT_EXCEEDED,
    BAD_REQUEST,
    NOT_AVAILABLE,
    TOKEN_EXPIRED,
    EXPIRED,
    TOO_MANY_REQUESTS,
    UNRECOVERABLE,
) = range(100, 113)
"""The codes of errors that a command may be answered with."""

MEANINGS = {
    INTERNAL: "internal server error",
    UNAUTHORIZED: "unauthorized",
    UNKNOWN_CHANNEL: "unknown channel",
    PERMISSION_DENIED: "permission denied",
    METHOD_NOT_FOUND: "method not found",
    ALREADY_SUBSCRIBED: "already subscribed",
    LIMIT_EXCEEDED: "limit exceeded",
    BAD_REQUEST: "bad request",
    NOT_AVAILABLE: "not available",
    TOKEN_EXPIRED: "token expired",
    EXPIRED: "expired",
    TOO_MANY_REQUESTS: "too many requests",
    UNRECOVERABLE: "unrecoverable position",
}
"""The message of each error."""

TEMPORARY = frozenset((INTERNAL, TOO_MANY_REQUESTS))
"""Errors after which a client tries again by itself."""

INSUFFICIENT = 2500
"""The code of an unsubscription after which a client subscribes again at once, with the position it has."""

SUBSCRIPTION_EXPIRED = 2501
"""The code of an unsubscription whose token has ended; the client asks for the next and subscribes again."""

UNSUBSCRIBED = 2000
"""The code of an unsubscription by the server, after which a client does not subscribe again."""

PING = b"{}"
"""The message that a client answers with the same."""

EMPTY = b"{}"
"""The body of a reply that has nothing to tell."""


def reply(number: int, method: str, body: bytes = EMPTY) -> bytes:
    """Return the reply to the command of a number."""
    return b'{"id":%d,"%b":%b}' % (number, method.encode(), body)


def error(number: int, code: int, message: str = "", *, is_temporary: bool | None = None) -> bytes:
    """Return the reply that a command was not done; the message of a code need not be given."""
    told: dict[str, object] = {"code": code, "message": message or MEANINGS.get(code, "failed")}
    if code in TEMPORARY if is_temporary is None else is_temporary:
        told["temporary"] = True
    return b'{"id":%d,"error":%b}' % (number, orjson.dumps(told))


def push(channel: bytes, kind: str, body: bytes) -> bytes:
    """Return a push of a kind in a channel, whose name is given as JSON."""
    return b'{"push":{"channel":%b,"%b":%b}}' % (channel, kind.encode(), body)


def with_members(body: bytes, members: bytes) -> bytes:
    """Return a JSON object with more members, which are given without braces."""
    return b"{%b%b%b" % (members, b"," if members and body != EMPTY else b"", body[1:])


def unsubscribed(channel: bytes, code: int, reason: str) -> bytes:
    """Return the push that a subscription has ended; the name of the channel is given as JSON."""
    return push(channel, "unsubscribe", orjson.dumps({"code": code, "reason": reason}))


def disconnected(code: int, reason: str) -> bytes:
    """Return the push that a client is to disconnect, which is of no channel."""
    return b'{"push":{"disconnect":%b}}' % orjson.dumps({"code": code, "reason": reason})
