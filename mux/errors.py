"""Every error mux raises on purpose: one root, and the type says whose affair it is.

::

    MuxError
    ├── Refused          a request or a client is not served; carries the reason, and with it the answer
    │   └── ClientError      what was to be published cannot be
    ├── BrokerError      Redis is away, refuses, or was lost on the way
    └── OperatorError    the settings or the machine; the message says what to do about it
"""

from __future__ import annotations

from mux import reasons
from mux.reasons import Reason


class MuxError(Exception):
    """Root of all errors raised by mux. The message is a sentence for a person."""


class Refused(MuxError):
    """A request, a client or a message that is not served, be it somebody's mistake or nobody's.

    Args:
        reason: how it is counted and answered.
        sentence: what is answered; without one it is the reason's own.
    """

    def __init__(self, reason: Reason, sentence: str = "") -> None:
        super().__init__(sentence or reason.sentence)
        self.reason = reason


class ClientError(Refused):
    """A name or a message that cannot be published, whoever gave it."""


class InvalidChannel(ClientError):
    """The name is not 1 to 255 bytes of printable ASCII without space, or it is reserved."""

    def __init__(self, sentence: str) -> None:
        super().__init__(reasons.CHANNEL, sentence)


class MessageTooLarge(ClientError):
    """The message is larger than max_message_bytes."""

    def __init__(self, sentence: str) -> None:
        super().__init__(reasons.TOO_LARGE, sentence)


_TEMPORARY = frozenset(
    ("BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF", "NOREPLICAS", "OOM", "TRYAGAIN", "UNBLOCKED")
)
"""The codes of error replies that are about the state of Redis and not about the command."""


class BrokerError(MuxError):
    """Redis could not take what it was given."""

    reason = reasons.REDIS_LOST
    """How it is counted, and what is answered to whoever wanted to publish."""


class BrokerUnavailable(BrokerError):
    """There is no connection to Redis now; trying again later may help. Nothing was sent."""

    reason = reasons.REDIS_UNAVAILABLE


class BrokerBusy(BrokerUnavailable):
    """Redis is there and takes nothing now: it loads, fails over or runs a script. That passes by itself."""

    reason = reasons.REDIS_BUSY


class BrokerLost(BrokerError):
    """The connection was lost before Redis answered: the message may or may not be published."""


class BrokerRefused(BrokerError):
    """Redis answered and said no: credentials, permissions, its role or its version."""

    reason = reasons.REDIS_REFUSED

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
