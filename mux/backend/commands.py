"""The bodies of requests, and what they must have in them.

A body is JSON as orjson reads it: valid UTF-8, at most 1,024 levels deep, without halves of surrogate pairs. The data
of a message is not read any further. It is published as it was written, but for spaces and line breaks between its
tokens, so numbers of any size and precision arrive as they were sent.
"""

from __future__ import annotations

import re
from binascii import Error, a2b_base64
from typing import Any, TypeVar

import msgspec
import orjson
from msgspec import Raw, Struct

from mux import reasons
from mux.backend.errors import BAD_REQUEST, NOT_AVAILABLE, ApiError
from mux.errors import Refused

MAX_ITEMS = 10_000
"""Most channels of a broadcast, and most commands of a batch."""

LONGEST = 4
"""Data that is so many times as long as a message may be is too large, and its spaces are not looked for."""

_SPACES = re.compile(rb'("(?:[^"\\]|\\.)*+")|[ \t\r\n]++')

T = TypeVar("T")


class Content(Struct):
    """The content of a message to publish; a client may leave out every name whose default is None."""

    data: Raw = Raw()
    b64data: str | None = None
    idempotency_key: str | None = None
    tags: dict[str, str] | None = None
    version: int | None = None


class Publish(Content, kw_only=True):
    """A message for one channel."""

    channel: str


class Broadcast(Content, kw_only=True):
    """A message for several channels."""

    channels: list[str]


class Channel(Struct):
    """A question about one channel."""

    channel: str


class Pattern(Struct):
    """A question about all channels that match a pattern."""

    pattern: str | None = None


class Position(Struct):
    """The position of a message in the common order."""

    offset: int = 0
    epoch: str = ""


class History(Struct):
    """A question about the latest messages of a channel."""

    channel: str
    limit: int | None = None
    since: Position | None = None
    reverse: bool | None = None


class Goodbye(Struct):
    """The code and the reason that a disconnected client is told."""

    code: int = 0
    reason: str = ""


class User(Struct, kw_only=True):
    """An act on the clients of a user; without one, on clients that have none."""

    user: str | None = None
    client: str | None = None
    session: str | None = None
    channel: str | None = None
    whitelist: list[str] | None = None
    disconnect: Goodbye | None = None
    expired: bool | None = None
    expire_at: int | None = None


class Subscribe(Struct, kw_only=True):
    """A command that lets the clients of a user into a channel; without a user, those that have none."""

    user: str | None = None
    client: str | None = None
    session: str | None = None
    channel: str | None = None
    expire_at: int | None = None
    data: Raw = Raw()
    b64data: str | None = None
    info: Raw = Raw()
    b64info: str | None = None
    recover_since: Raw = Raw()
    override: Raw = Raw()


class Batch(Struct):
    """Several commands."""

    commands: list[dict[str, Raw]]
    parallel: bool | None = None


class Nothing(Struct):
    """A command that has nothing in it that is read."""


def check_json(body: bytes) -> None:
    """Let a body pass that is JSON.

    Raises:
        Refused: it is not.
    """
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(reasons.API_COMMAND, f"the body is no JSON: {error}") from None


def read(body: bytes | Raw, kind: type[T]) -> T:
    """Return a command from JSON that has been checked.

    Raises:
        ApiError: it has not what is needed.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ApiError(BAD_REQUEST, str(error).replace("`", "'")) from None


def message_of(content: Content, max_bytes: int) -> tuple[bytes, bool]:
    """Return the message that is to be published, and whether it is binary; one over max_bytes may have its spaces yet.

    Raises:
        ApiError: there is none, or it asks for what no client can be given.
    """
    if content.tags or content.version:
        raise ApiError(NOT_AVAILABLE, "a message has neither tags nor a version here: put them into its data")
    if content.b64data:
        try:
            return a2b_base64(content.b64data.encode(), strict_mode=True), True
        except (Error, UnicodeError) as error:
            raise ApiError(BAD_REQUEST, f"b64data is no base64: {error}") from None
    data = bytes(content.data)
    if not data:
        raise ApiError(BAD_REQUEST, "there is neither data nor b64data")
    return _SPACES.sub(rb"\1", data) if len(data) <= LONGEST * max_bytes else data, False


def check_count(items: list[Any], name: str) -> None:
    """Let a list pass that is not too long.

    Raises:
        ApiError: it is.
    """
    if len(items) > MAX_ITEMS:
        raise ApiError(BAD_REQUEST, f"{name} has {len(items)} entries; at most {MAX_ITEMS} are allowed")
