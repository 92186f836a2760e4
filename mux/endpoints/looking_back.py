"""Find what a client of one channel is owed of the time before it, and answer a request for it as JSON."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from urllib.parse import unquote

from sanic.request import Request
from sanic.response import HTTPResponse, raw

from mux import reasons
from mux.endpoints.catch_up import Owed
from mux.endpoints.past import DEFAULT_MESSAGES, Answers, messages_json, query_of
from mux.endpoints.request_checks import Permit, RequestChecks
from mux.endpoints.takeover import transport_of
from mux.errors import Refused
from mux.recovery.history import OFF, Found, History, Query


class LookingBack:
    """Looks back for the requests of one process.

    Args:
        checks: decide whether a client may still be let in.
        history: what there was; None when nothing is known of that.
    """

    def __init__(self, checks: RequestChecks, history: History | None) -> None:
        self._checks = checks
        self._history = history
        self._answers = Answers()

    async def owed(self, request: Request, permit: Permit, query: Query) -> Owed:
        """Return what a client is owed; it is true in the turn of the loop in which this returns.

        Raises:
            Refused: the client would not be let in.
        """
        self._checks.check_not_leaving()
        self._checks.check_site(request)
        if self._history is None:
            return Owed(permit.redis_channel, query.since, Found([], OFF if query.since else ""))
        found = await self._history.find(permit.redis_channel, query)
        return Owed(permit.redis_channel, query.since, found)

    async def messages(self, request: Request, permit: Permit) -> HTTPResponse:
        """Return the latest messages of a channel as JSON.

        Raises:
            Refused: the client would not be let in, or not all of what is asked for is known any more.
        """
        query = query_of(request) or Query(last=DEFAULT_MESSAGES)
        channel = unquote(request.match_info["channel"])
        async with self._answers.turn:
            self._answers.check()
            # Since a position all are counted, and `last` only says how many are told.
            owed = await self.owed(request, permit, replace(query, last=inf) if query.since else query)
            if owed.found.missed:
                raise Refused(reasons.MISSED)
            body = await messages_json(self._history, channel, owed.found.publications, query.last)
            self._answers.add(transport_of(request), len(body))
        return raw(body, 200, {"Cache-Control": "no-store"}, "application/json")
