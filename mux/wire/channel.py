"""The names of channels, for clients and in Redis.

A channel `lobby` is the Redis channel `feed:lobby`, where `feed:` is the prefix that keeps fleets on one Redis apart.
Any program may PUBLISH there; its message is text if it is valid UTF-8 and binary if it is not.

That guess is wrong for a binary message that happens to be valid UTF-8. So a kind that is *known* is marked by one byte
after the name: NUL for binary, 0x01 for a client that has joined, 0x02 for one that has left, 0x03 for a
message that says who has published it. Names are printable
ASCII, so a marked name is never another channel's and no client can name it; the pattern `feed:*` matches all of them;
and as they travel on one connection, their order is kept. A message with another mark, of a later version, is dropped.

A name that ends with `*` is no channel: it is a wildcard, and stands for all channels whose names begin with what is
before the last `*`. Any other `*` is a character like all others. A wildcard can be listened to, and in Redis it would
be `feed:orders.*`; nothing is published there, and what another program publishes there is heard by nobody.
"""

from __future__ import annotations

from mux.errors import InvalidChannel, InvalidSetting
from mux.wire.publication import BINARY, SIGNED, Kind

MAX_CHANNEL_BYTES = 255
"""Longest channel name, in bytes, as in Centrifugo."""

MAX_PREFIX_BYTES = 64
"""Longest prefix, in bytes."""

RESERVED = b"$"
"""Names that start with this belong to mux itself."""

WILDCARD = b"*"
"""A name that ends with this stands for all channels that begin with what is before it."""

LAST_MARK = SIGNED - BINARY
"""A kind is marked by its distance from BINARY; a Redis channel whose last byte is greater than this has no mark."""

_CHARACTERS = bytes(range(0x21, 0x7F))
_ALLOWED = frozenset(_CHARACTERS)
_GLOB = b"*?[]^\\"


def check_channel(name: str | bytes) -> bytes:
    """Return the bytes of a channel name a client may use.

    Raises:
        InvalidChannel: as check_subscription(), or the name is a wildcard.
    """
    name = check_subscription(name)
    if is_wildcard(name):
        raise InvalidChannel("a name that ends with '*' stands for many channels, and here it must be one")
    return name


def check_subscription(name: str | bytes) -> bytes:
    """Return the bytes of a name that can be subscribed to: that of a channel, or a wildcard.

    Raises:
        InvalidChannel: the name is empty, longer than 255 bytes, reserved, or has a byte that is not
            printable ASCII (space is not).
    """
    if isinstance(name, str):
        name = name.encode("utf-8", "surrogatepass")
    if not name:
        raise InvalidChannel("the channel name is empty")
    if len(name) > MAX_CHANNEL_BYTES:
        raise InvalidChannel(f"the channel name has {len(name)} bytes; at most {MAX_CHANNEL_BYTES} are allowed")
    if not _ALLOWED.issuperset(name):
        raise InvalidChannel("the channel name may have only printable ASCII characters, and no space")
    if name.startswith(RESERVED):
        raise InvalidChannel("channel names that start with '$' are reserved")
    return name


def is_wildcard(name: bytes) -> bool:
    """Tell whether a name, or what it is in Redis, is that of a wildcard."""
    return name.endswith(WILDCARD)


def marked(redis_channel: bytes, kind: Kind) -> bytes:
    """Return the Redis channel that carries the messages of redis_channel of a kind that is known."""
    return b"%b%c" % (redis_channel, kind - BINARY)


def binary_variant(redis_channel: bytes) -> bytes:
    """Return the Redis channel that carries the messages of redis_channel known to be binary."""
    return marked(redis_channel, BINARY)


class Namespace:
    """The Redis channels of one fleet: all that start with one prefix.

    Args:
        prefix: 1 to 64 bytes of printable ASCII without space.

    Raises:
        InvalidSetting: the prefix is anything else.
    """

    __slots__ = ("_prefix", "_reserved", "pattern")

    def __init__(self, prefix: str) -> None:
        encoded = prefix.encode("utf-8", "surrogatepass")
        if not 0 < len(encoded) <= MAX_PREFIX_BYTES or not _ALLOWED.issuperset(encoded):
            raise InvalidSetting(
                f"the prefix {prefix!r} must be 1 to {MAX_PREFIX_BYTES} printable ASCII characters without space"
            )
        self._prefix = encoded
        self._reserved = encoded + RESERVED
        self.pattern = b"".join(b"\\%c" % byte if byte in _GLOB else b"%c" % byte for byte in encoded) + b"*"
        """The pattern to PSUBSCRIBE to: the prefix, with Redis' glob characters escaped, and a star."""

    def redis_channel(self, channel: bytes) -> bytes:
        """Return the Redis channel of a channel."""
        return self._prefix + channel

    def channel(self, redis_channel: bytes) -> str:
        """Return the name of the channel of a Redis channel of this fleet."""
        return redis_channel[len(self._prefix) :].decode()

    def has_channel(self, redis_channel: bytes) -> bool:
        """Tell whether clients can name the channel of a Redis channel of this fleet, which has no mark."""
        return (
            0 < len(redis_channel) - len(self._prefix) <= MAX_CHANNEL_BYTES
            and not redis_channel.startswith(self._reserved)
            and not redis_channel.endswith(WILDCARD)
            and not redis_channel.translate(None, _CHARACTERS)
        )
