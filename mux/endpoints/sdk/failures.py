"""The errors that a command of an SDK client may be answered with."""

from __future__ import annotations

from mux import reasons
from mux.errors import ClientError, MuxError, Refused
from mux.wire.sdk.replies import BAD_REQUEST, INTERNAL, PERMISSION_DENIED, TOO_MANY_REQUESTS


class CommandFailed(MuxError):
    """A command is not done.

    Args:
        code: what its error says; clients know the codes up to 113, and 400 to 1999 are an app's own.
        message: a sentence; without one the client is told the meaning of the code.
        is_temporary: whether the client is to try again by itself; None leaves that to the code.
    """

    def __init__(self, code: int, message: str = "", *, is_temporary: bool | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.is_temporary = is_temporary


def failure_of(error: MuxError) -> CommandFailed:
    """Return how a client is told of an error."""
    if isinstance(error, CommandFailed):
        return error
    if isinstance(error, ClientError):
        return CommandFailed(BAD_REQUEST)
    if isinstance(error, Refused):
        if error.reason in (reasons.UNAUTHORIZED, reasons.FORBIDDEN, reasons.READ_ONLY):
            return CommandFailed(PERMISSION_DENIED)
        if error.reason is reasons.CHECKS:
            return CommandFailed(TOO_MANY_REQUESTS)
    return CommandFailed(INTERNAL)
