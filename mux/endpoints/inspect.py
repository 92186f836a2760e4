"""What the whole fleet is doing.

    GET /stats      the numbers of every process, and their sum
    GET /channels   which channels there are, with how many subscribers, and how busy

Each asks all processes over Redis and takes half a second at most; who did not answer is named.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any, cast

import orjson
from sanic import Sanic
from sanic.request import Request
from sanic.response import HTTPResponse, raw

from mux import reasons
from mux.endpoints.operator_check import OperatorCheck
from mux.endpoints.ops import NO_STORE, check
from mux.endpoints.refusals import refuse
from mux.errors import Refused
from mux.hub.hub import Hub
from mux.inspect.inspector import Inspector
from mux.inspect.listing import MAX_NAMES, Sort, is_printable
from mux.wire.channel import MAX_CHANNEL_BYTES

DEFAULT_LIMIT = 100
"""Channels in one answer when nobody says how many."""

PARAMETERS = frozenset(("prefix", "sort", "limit"))
SORTS = ("subscribers", "rate")


class Inspect:
    """The endpoints that show the fleet.

    Args:
        inspector: asks the fleet; every run of the app has one of its own.
        hub: returns where refusals are counted.
        operators: decides who may ask.
    """

    def __init__(self, inspector: Callable[[], Inspector], hub: Callable[[], Hub], operators: OperatorCheck) -> None:
        self._inspector = inspector
        self._hub = hub
        self._operators = operators

    def mount(self, app: Sanic[Any, Any]) -> None:
        """Add the routes to an app."""
        for handler in (self.stats, self.channels):
            name = handler.__name__
            app.add_route(handler, f"/{name}", methods=["GET", "HEAD"], name=f"mux_{name}")

    async def stats(self, request: Request) -> HTTPResponse:
        """Answer with the numbers of all processes."""
        return await self._answer(request, lambda: self._inspector().stats())

    async def channels(self, request: Request) -> HTTPResponse:
        """Answer with the first channels."""
        return await self._answer(request, lambda: self._inspector().channels(**_query(request)))

    async def _answer(self, request: Request, ask: Callable[[], Awaitable[dict[str, object]]]) -> HTTPResponse:
        began = perf_counter()
        try:
            check(self._operators, request)
            found = await ask()
        except Refused as error:
            return refuse(self._hub(), error, NO_STORE)
        body = orjson.dumps(found | {"took_seconds": round(perf_counter() - began, 6)})
        return raw(body, 200, NO_STORE, "application/json")


def _query(request: Request) -> dict[str, Any]:
    """Return the parameters of /channels.

    Raises:
        Refused: one of them cannot be.
    """
    given: dict[str, str] = {}
    for name, values in request.get_args(keep_blank_values=True).items():
        if name not in PARAMETERS:
            raise Refused(reasons.QUERY, f"unknown parameter {name[:40]!a}; there are prefix, sort and limit")
        if len(values) > 1:
            raise Refused(reasons.QUERY, f"{name} is given more than once")
        given[name] = values[0]
    prefix, limit = given.get("prefix", ""), given.get("limit", str(DEFAULT_LIMIT))
    sort = given.get("sort", "subscribers")
    if sort not in SORTS:
        raise Refused(reasons.QUERY, "sort must be subscribers or rate")
    if len(prefix) > MAX_CHANNEL_BYTES or not is_printable(prefix):
        raise Refused(
            reasons.QUERY, "prefix must be the beginning of a channel's name: up to 255 printable ASCII characters"
        )
    if not (limit.isascii() and limit.isdigit() and len(limit) < 5 and 1 <= int(limit) <= MAX_NAMES):
        raise Refused(reasons.QUERY, f"limit must be a number from 1 to {MAX_NAMES}")
    return {"prefix": prefix, "sort": cast("Sort", sort), "limit": int(limit)}
