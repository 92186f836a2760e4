"""Tell an operator's machines whether a process is alive and ready, and give them the numbers.

    GET /healthz    200 as long as the process answers at all; restart it when it does not
    GET /readyz     200 when clients may be sent here, else 503; the body says which condition fails
    GET /metrics    Prometheus' numbers, of all processes of the server
    GET /stats      the numbers of every process of the fleet, and their sum
    GET /channels   which channels the fleet has, with how many subscribers, and how busy they are

The first two speak for the process that answers, and want no token; whatever starts and empties a process needs no
more. The last two ask all processes over Redis, take half a second at most, and name those that did not answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import wraps
from time import perf_counter
from typing import Any, TypeAlias, cast

import orjson
from sanic import Sanic
from sanic.request import Request
from sanic.response import HTTPResponse, raw, text

from mux import reasons
from mux.endpoints.compression import Compression
from mux.endpoints.operator_check import OperatorCheck
from mux.endpoints.refusals import refuse
from mux.errors import Refused
from mux.hub.hub import Hub
from mux.inspect.inspector import Inspector
from mux.inspect.listing import MAX_NAMES, Sort, is_printable
from mux.metrics.catalogue import Snapshot
from mux.metrics.exposition import Exposition
from mux.wire.channel import MAX_CHANNEL_BYTES

NO_STORE = {"Cache-Control": "no-store"}
"""Tells caches that what is true now is of no use later (RFC 9111, section 5.2.2.5)."""

DEFAULT_LIMIT = 100
"""Most channels in one answer when the request does not say how many."""

PARAMETERS = frozenset(("prefix", "sort", "limit"))
SORTS = ("subscribers", "rate")

Handler: TypeAlias = Callable[[Request], Coroutine[Any, Any, HTTPResponse]]


class Ops:
    """The operator's endpoints of one process; what a run of the app has of its own is asked for anew every time.

    Args:
        conditions: returns what must be true for clients to be sent here, by name.
        snapshot: returns the numbers.
        inspector: returns what asks the fleet; None leaves out /stats and /channels.
        operators: decides who may see the numbers.
        hub: returns where refusals are counted.
        compression: decides which answers are compressed.
    """

    def __init__(
        self,
        *,
        conditions: Callable[[], Mapping[str, bool]],
        snapshot: Callable[[], Snapshot],
        inspector: Callable[[], Inspector] | None,
        operators: OperatorCheck,
        hub: Callable[[], Hub],
        compression: Compression,
    ) -> None:
        self._conditions = conditions
        self._exposition = Exposition(snapshot)
        self._inspector = inspector
        self._operators = operators
        self._hub = hub
        self._compression = compression

    def mount(self, app: Sanic[Any, Any]) -> None:
        """Add the routes to an app."""
        handlers: list[Handler] = [self.healthz, self.readyz, self._checked(self.metrics)]
        if self._inspector is not None:
            handlers += [self._checked(self.stats), self._checked(self.channels)]
        for handler in handlers:
            name = handler.__name__
            app.add_route(handler, f"/{name}", methods=["GET", "HEAD"], name=f"mux_{name}")

    def _checked(self, handler: Handler) -> Handler:
        """Return a handler that answers requests that may see the numbers, and refuses all others."""

        @wraps(handler)
        async def checked(request: Request) -> HTTPResponse:
            headers = request.headers
            try:
                self._operators.check(
                    authorization=headers.getall("authorization", []), hosts=headers.getall("host", [])
                )
                return await self._compression.compress(request, await handler(request))
            except Refused as error:
                return refuse(self._hub(), error, NO_STORE)

        return checked

    async def healthz(self, request: Request) -> HTTPResponse:
        """Answer."""
        return text("alive\n", headers=NO_STORE)

    async def readyz(self, request: Request) -> HTTPResponse:
        """Answer 200 when all conditions are met, else 503."""
        conditions = self._conditions()
        failing = [name for name, is_met in conditions.items() if not is_met]
        return _json({"ready": not failing, "failing": failing, "conditions": conditions}, 503 if failing else 200)

    async def metrics(self, request: Request) -> HTTPResponse:
        """Answer with every metric, in the format that is asked for."""
        body, content_type = self._exposition.expose(",".join(request.headers.getall("accept", [])))
        return raw(body, 200, NO_STORE, content_type)

    async def stats(self, request: Request) -> HTTPResponse:
        """Answer with the numbers of all processes."""
        assert self._inspector is not None, "the route is there only with an inspector"
        return await _timed(self._inspector().stats())

    async def channels(self, request: Request) -> HTTPResponse:
        """Answer with the first channels."""
        assert self._inspector is not None, "the route is there only with an inspector"
        return await _timed(self._inspector().channels(**_query(request)))


async def _timed(report: Awaitable[dict[str, object]]) -> HTTPResponse:
    """Answer with a report of the fleet and the time that it took."""
    began = perf_counter()
    found = await report
    return _json(found | {"took_seconds": round(perf_counter() - began, 6)}, 200)


def _json(body: dict[str, Any], status: int) -> HTTPResponse:
    return raw(orjson.dumps(body), status, NO_STORE, "application/json")


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
