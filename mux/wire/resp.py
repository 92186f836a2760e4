"""Redis' side of the connection: bytes to messages and replies, commands to bytes.

With RESP3 messages arrive as pushes, apart from replies, so one connection can do both
(https://redis.io/docs/latest/develop/reference/protocol-spec/#pushes). hiredis parses, and this module sorts.

A message stays the list that hiredis made: to take it apart here would cost a tuple for every message without a
subscriber.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, cast

import hiredis

from mux.errors import BrokerGarbled, BrokerRefused

Push: TypeAlias = list[bytes]
"""One message: [b"pmessage", pattern, channel, payload]. Whether these are four is found where they are unpacked: to
check it here would be a twentieth of the cost of a message."""

Reply: TypeAlias = object
"""Anything but a message: bytes, int, None, bool, dict, list, an Announcement or, for an error, BrokerRefused."""

_PushNotification = hiredis.PushNotification
# hiredis' annotation says a tuple of one word, and nothing of what is returned.
_pack_command = cast("Callable[[tuple[bytes, ...]], bytes]", hiredis.pack_command)
_MORE = object()  # None and False are replies


class Announcement(list[object]):
    """A push that is not a message, as [b"psubscribe", pattern, count]."""


class RespReader:
    """Takes bytes in any slices and gives the messages and replies that they complete.

    Not usable after BrokerGarbled.
    """

    __slots__ = ("_reader", "is_whole")

    def __init__(self) -> None:
        self._reader = hiredis.Reader(protocolError=BrokerGarbled, replyError=BrokerRefused, notEnoughData=_MORE)
        self.is_whole = False
        """True if a message or reply ended where the last bytes ended, as far as feed() was asked for it."""

    def feed(self, data: bytes, *, tells_end: bool = False) -> tuple[list[Push], list[Reply]]:
        """Return the messages and all other replies that data completes, each in order.

        Args:
            data: what came.
            tells_end: whether is_whole is to be known after it, which costs half a microsecond.

        Raises:
            BrokerGarbled: data is not RESP.
        """
        messages: list[Push] = []
        others: list[Reply] = []
        try:
            if tells_end and data:
                # The last byte by itself: it completes something if a message or reply ends there. hiredis does not
                # tell: a half message of which it has parsed all that came leaves it without data.
                self._take(data[:-1], messages, others)
                before = len(messages) + len(others)
                self._take(data[-1:], messages, others)
                self.is_whole = len(messages) + len(others) > before
            else:
                self._take(data, messages, others)
                self.is_whole = False
        except (IndexError, TypeError) as error:  # an empty push; a map with a key that cannot be one in Python
            raise BrokerGarbled(f"a reply that cannot be: {error}") from error
        return messages, others

    def _take(self, data: bytes, messages: list[Push], others: list[Reply]) -> None:
        reader = self._reader
        reader.feed(data)
        gets = reader.gets
        while (reply := gets()) is not _MORE:
            if type(reply) is _PushNotification:
                if reply[0] == b"pmessage":
                    messages.append(reply)
                else:
                    others.append(Announcement(reply))
            else:
                others.append(reply)


def encode_command(*words: bytes) -> bytes:
    """Return a command as Redis reads it: an array of bulk strings."""
    return _pack_command(words)


def encode_publish(redis_channel: bytes, payload: bytes) -> bytes:
    """Return the command that publishes payload."""
    # As encode_command() would; two or three times as fast, and it is done for every message of a client.
    return b"*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (
        len(redis_channel),
        redis_channel,
        len(payload),
        payload,
    )


def encode_push(redis_channel: bytes, payload: bytes) -> bytes:
    """Return a message as Redis sends it to a connection with a pattern, but for the pattern, which is left empty."""
    return b">4\r\n$8\r\npmessage\r\n$0\r\n\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (
        len(redis_channel),
        redis_channel,
        len(payload),
        payload,
    )


def escape_name(name: str) -> bytes:
    """Return a name Redis accepts for a client: printable ASCII without space (CLIENT SETNAME)."""
    return bytes(byte if 0x21 <= byte <= 0x7E else 0x5F for byte in name.encode())
