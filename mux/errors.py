"""Every error mux raises on purpose: one root, and the type says whose fault it is.

::

    MuxError
    ├── ClientError      somebody sent something they should not have; carries the answer they get
    ├── BrokerError      Redis is away, refuses, or was lost on the way
    └── OperatorError    the settings or the machine; the message says what to do about it
"""

from __future__ import annotations


class MuxError(Exception):
    """Root of all errors raised by mux. The message is a sentence for a person."""


class ClientError(MuxError):
    """A client's mistake.

    http_status answers it (RFC 9110, section 15).
    """

    http_status = 400
    counted_as = "request"
    """What it is called where refusals are counted."""


class MalformedRequest(ClientError):
    """What came is no HTTP/1.1 (RFC 9112); nothing after it can be understood either."""

    counted_as = "malformed"


class VersionRefused(MalformedRequest):
    """The request speaks a version of HTTP that is not 1.x."""

    http_status = 505


class CodingRefused(MalformedRequest):
    """The body travels in another transfer coding than chunked."""

    http_status = 501


class MethodRefused(ClientError):
    """No resource here has this method."""

    http_status = 405
    counted_as = "method"


class TargetTooLong(ClientError):
    """The request's target has more than 8 KiB."""

    http_status = 414
    counted_as = "target"


class HeadTooLarge(ClientError):
    """The request's head has more than 32 KiB (RFC 6585, section 5)."""

    http_status = 431
    counted_as = "head"


class BodyRefused(ClientError):
    """The request has a body where none is wanted."""

    counted_as = "body"


class InvalidChannel(ClientError):
    """The name is not 1 to 255 bytes of printable ASCII without space, or it is reserved."""

    counted_as = "channel"


class MessageTooLarge(ClientError):
    """The message is larger than max_message_bytes."""

    http_status = 413
    counted_as = "too_large"


class OriginRefused(ClientError):
    """A browser page of a host that is neither ours nor allowed."""

    http_status = 403
    counted_as = "origin"


class HostRefused(ClientError):
    """The request came under a name that is not served here."""

    http_status = 421
    counted_as = "host"


class UnsupportedBody(ClientError):
    """The body is in a coding or a charset in which it would reach clients as something else."""

    http_status = 415
    counted_as = "content"


class ReadOnly(ClientError):
    """Clients may not publish here."""

    http_status = 403
    counted_as = "read_only"


class TooSlow(ClientError):
    """The request was not complete in time."""

    http_status = 408
    counted_as = "too_slow"


class ServerLeaving(ClientError):
    """Nobody's mistake: the server takes no newcomers any more; there may be another, or a new one soon."""

    http_status = 503
    counted_as = "draining"


class ServerFull(ClientError):
    """Nobody's mistake: there is no room for one more client; trying again later may help."""

    http_status = 503


class TooManyConnections(ServerFull):
    """The process has max_connections clients."""

    counted_as = "connections"


class OutOfDescriptors(ServerFull):
    """The process has as many connections as its descriptors allow."""

    counted_as = "descriptors"


class TooManyFromAddress(ServerFull):
    """One address has max_connections_per_address clients in this process."""

    http_status = 429
    counted_as = "address"


class TooManyInquiries(ServerFull):
    """The process is asking the fleet as much as it may at once."""

    counted_as = "inquiries"


class InspectionRefused(ClientError):
    """A request for the numbers or the names of channels has no token, or asks under a name of another host."""

    http_status = 403
    counted_as = "inspection"


class InvalidQuery(ClientError):
    """A parameter of a URL's query cannot be."""

    counted_as = "query"


_TEMPORARY = frozenset(
    ("BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF", "NOREPLICAS", "OOM", "TRYAGAIN", "UNBLOCKED")
)
"""The codes of error replies that are about the state of Redis and not about the command."""


class BrokerError(MuxError):
    """Redis could not take what it was given."""

    counted_as = "redis"
    """What it is called where messages are counted that were not published."""


class BrokerUnavailable(BrokerError):
    """There is no connection to Redis now; trying again later may help. Nothing was sent."""

    counted_as = "redis_unavailable"


class BrokerBusy(BrokerUnavailable):
    """Redis is there and takes nothing now: it loads, fails over or runs a script. That passes by itself."""

    counted_as = "redis_busy"


class BrokerLost(BrokerError):
    """The connection was lost before Redis answered: the message may or may not be published."""

    counted_as = "redis_lost"


class BrokerRefused(BrokerError):
    """Redis answered and said no: credentials, permissions, its role or its version."""

    counted_as = "redis_refused"

    @property
    def code(self) -> str:
        """The first word of an error reply, in capitals by Redis' convention, as NOPERM."""
        return str(self).partition(" ")[0]

    @property
    def is_temporary(self) -> bool:
        """True when the same command may be taken later, with nobody having done anything about it."""
        return self.code in _TEMPORARY or "max number of clients" in str(self)


class BrokerGarbled(BrokerError):
    """What came from the other end is not RESP; the connection is of no use any more."""


class OperatorError(MuxError):
    """Something the operator can put right; the message says how."""


class InvalidSetting(OperatorError):
    """A setting has a value it cannot have."""


class CannotListen(OperatorError):
    """The address is in use, forbidden, or not of this machine."""


class NoSockets(OperatorError):
    """The app runs under an ASGI server, which does not let go of a socket."""


class NoEmbeddedServer(OperatorError):
    """No Redis was named, and none was found to start, or it did not start."""


class SystemRefused(OperatorError):
    """The system does not give what a process needs of it: memory, files, other processes."""


class ServerUnreachable(OperatorError):
    """`mux publish` or `mux tail` found no mux server at its URL, or was turned away."""
