"""Check the tokens of SDK clients: of connections and of subscriptions, and those that follow when they end.

Any token of the feed will do for a connection. What it grants counts for every channel, so with one that grants all
that a client needs no channel needs a token of its own. A token that names a channel is for the subscription to it.

    the token is                    connect     subscribe   refresh     sub_refresh
    not valid                       close 3500  error 103   close 3500  close 3500
    out of its time                 error 109   error 109   close 3005  error 109
    of another user or channel                  close 3500  close 3500  close 3500

A client asks for the next token when one has ended, and not before; so it has GRACE_SECONDS to come with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import ceil, inf
from time import time
from typing import NamedTuple

from mux import reasons
from mux.endpoints.request_checks import RequestChecks
from mux.endpoints.sdk.failures import CommandFailed
from mux.endpoints.sdk.session import SdkSession
from mux.errors import MuxError, Refused
from mux.grants.authority import OUT_OF_TIME
from mux.grants.claims import Claims, OutOfTime, read_claims
from mux.grants.grants import Grants
from mux.wire.sdk.replies import PERMISSION_DENIED, TOKEN_EXPIRED

GRACE_SECONDS = 25.0
"""Seconds that a client has to come with the next token, as in Centrifugo."""


class Token(NamedTuple):
    """A token that is valid."""

    claims: Claims
    grants: Grants
    """The rights that it gives, until its end and the seconds for the next one."""


class Answers(NamedTuple):
    """The answers to a token that is not right."""

    invalid: Callable[[], MuxError]
    out_of_time: Callable[[], MuxError]


def _invalid() -> MuxError:
    return Refused(reasons.INVALID_TOKEN)


def _expired() -> MuxError:
    return CommandFailed(TOKEN_EXPIRED)


CONNECT = Answers(_invalid, _expired)
SUBSCRIBE = Answers(lambda: CommandFailed(PERMISSION_DENIED), _expired)
REFRESH = Answers(_invalid, lambda: Refused(reasons.EXPIRED))
SUB_REFRESH = Answers(_invalid, _expired)


class Tokens:
    """Checks the tokens of SDK clients.

    Args:
        checks: know what a token grants.
    """

    def __init__(self, checks: RequestChecks) -> None:
        self._checks = checks

    async def check(self, text: str, address: str, answers: Answers) -> Token:
        """Return what a token says.

        Args:
            text: as it was sent.
            address: where it is from.
            answers: what is raised when it is not right.

        Raises:
            MuxError: it is not right, or cannot be checked now.
        """
        with _answered(answers):
            found = self._checks.grants_of(text, address)
            grants = found if isinstance(found, Grants) else await found()
            claims = read_claims(text, time())
            return Token(claims, replace(grants, until=claims.ends + GRACE_SECONDS))


def check_owner(token: Token, session: SdkSession, channel: str | None) -> None:
    """Let a token pass that is for the user of a connection, and for a channel, or for no single one.

    Raises:
        Refused: it is not.
    """
    if (token.claims.subject, token.claims.channel) != (session.user, channel):
        raise Refused(reasons.INVALID_TOKEN)


@contextmanager
def _answered(answers: Answers) -> Iterator[None]:
    """Answer what is wrong with a token."""
    try:
        yield
    except OutOfTime:
        raise answers.out_of_time() from None
    except ValueError:
        raise answers.invalid() from None
    except Refused as error:
        if error.reason is not reasons.UNAUTHORIZED:
            raise
        answer = answers.out_of_time if str(error) in OUT_OF_TIME else answers.invalid
        raise answer() from None


def told_end(ends: float) -> bytes:
    """Return how a reply says when something ends, as members of a JSON object; nothing when it does not end."""
    return b"" if ends == inf else b'"expires":true,"ttl":%d' % max(1, ceil(ends - time()))
