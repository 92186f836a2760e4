"""Errors that mux raises on purpose: all have one root, and the type says on which side something has to change.

::

    MuxError
    ├── Refused          a request or a client is not served; carries the reason, and with it the answer
    │   └── ClientError      what was to be published cannot be
    ├── BrokerError      Redis is away, refuses, or was lost on the way
    ├── Missed           the journal does not go back to a position
    ├── SlowListener     an app took messages more slowly than they came
    └── OperatorError    the settings or the machine; the message says what to do about it
"""

from __future__ import annotations

from mux import reasons
from mux.reasons import Reason


class MuxError(Exception):
    """Root of all errors raised by mux. The message is a sentence for a person."""


class Refused(MuxError):
    """A request, a client or a message is not served; a client need not have made a mistake.

    Args:
        reason: how it is counted and answered.
        sentence: the answer; the sentence of the reason when there is none.
    """

    def __init__(self, reason: Reason, sentence: str = "") -> None:
        super().__init__(sentence or reason.sentence)
        self.reason = reason


class ClientError(Refused):
    """A client, or the app itself, gave a name or a message that cannot be published."""


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
"""Codes of the error replies that tell of the state of Redis, not of a mistake in the command."""


class BrokerError(MuxError):
    """Redis did not take a message or a command."""

    reason = reasons.REDIS_LOST
    """The reason by which the error is counted, and answered to the client that wanted to publish."""


class BrokerUnavailable(BrokerError):
    """There is no connection to Redis now; trying again later may help. Nothing was sent."""

    reason = reasons.REDIS_UNAVAILABLE


class BrokerBusy(BrokerUnavailable):
    """Redis answers and takes nothing now: it loads, fails over or runs a script, and that passes by itself."""

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
        """True when Redis may take the same command later although no operator has changed anything."""
        return self.code in _TEMPORARY or "max number of clients" in str(self)


class BrokerGarbled(BrokerError):
    """Redis sent bytes that are not RESP; the connection cannot be used any more."""


class OperatorError(MuxError):
    """Something the operator can put right; the message says how."""


class InvalidSetting(OperatorError):
    """A setting has a value that is out of its range or not of its type."""


class CannotListen(OperatorError):
    """The address is in use, forbidden, or not of this machine."""


class NoSockets(OperatorError):
    """The app runs under an ASGI server, which does not let go of a socket."""


class NoEmbeddedServer(OperatorError):
    """No Redis was named, and none was found to start, or it did not start."""


class SystemRefused(OperatorError):
    """The system refuses memory, files or processes that a server needs."""


class ServerUnreachable(OperatorError):
    """`mux publish` or `mux tail` found no mux server at its URL, or was turned away."""


class InvalidToken(OperatorError):
    """`mux token` was given a token that is not valid."""


class Missed(MuxError):
    """The journal does not hold all messages of a channel since a position any more."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"not all that came since this position is known any more ({reason}); begin anew without it")
        self.reason = reason


class SlowListener(MuxError):
    """Messages came faster than a listener took them."""

    def __init__(self, missed: int) -> None:
        super().__init__(f"the listener was too slow and has missed {missed} messages")
        self.missed = missed
