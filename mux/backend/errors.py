"""The codes of everything that can be wrong with a command."""

from __future__ import annotations

from collections.abc import Mapping

from mux.errors import BrokerError, BrokerRefused, ClientError, MuxError, Refused

INTERNAL, NOT_FOUND, BAD_REQUEST, NOT_AVAILABLE, UNRECOVERABLE, CONFLICT = 100, 104, 107, 108, 112, 113

MEANINGS: Mapping[int, str] = {
    INTERNAL: "internal server error",
    NOT_FOUND: "method not found",
    BAD_REQUEST: "bad request",
    NOT_AVAILABLE: "not available",
    UNRECOVERABLE: "unrecoverable position",
    CONFLICT: "conflict",
}
"""The meaning of each code; in an answer a sentence follows it."""

STATUSES: Mapping[int, int] = {
    INTERNAL: 500,
    NOT_FOUND: 404,
    BAD_REQUEST: 400,
    NOT_AVAILABLE: 400,
    UNRECOVERABLE: 416,
    CONFLICT: 409,
}
"""The HTTP status of each code, for those who want errors as statuses."""


class ApiError(MuxError):
    """A command is not done.

    Args:
        code: one of MEANINGS.
        sentence: what is wrong with it.
    """

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


def code_of(error: MuxError) -> int:
    """Return the code of an error that a command has ended in."""
    if isinstance(error, ApiError):
        return error.code
    return BAD_REQUEST if isinstance(error, ClientError) else INTERNAL


def told(error: MuxError) -> dict[str, object]:
    """Return what is told of an error."""
    code = code_of(error)
    said = f"{error.reason.sentence}: {error}" if isinstance(error, BrokerRefused) else str(error)
    return {"code": code, "message": f"{MEANINGS[code]}: {said}"}


EXPECTED = (ApiError, BrokerError, Refused)
"""The errors that a command may end in."""
