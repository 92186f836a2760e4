"""What an operator's machines ask: is it alive, is it ready, what are its numbers.

    GET /healthz    200 as long as the process answers at all; restart it when it does not
    GET /readyz     200 when clients may be sent here, else 503; the body says which condition fails
    GET /metrics    Prometheus' numbers, of all processes of the server

The first two speak for the process that answers. Who starts and who empties a process needs no more, and no token; the
numbers want one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson
from sanic import Sanic
from sanic.request import Request
from sanic.response import HTTPResponse, raw, text

from mux.endpoints.operator_check import OperatorCheck
from mux.endpoints.refusals import refuse
from mux.errors import Refused
from mux.hub.hub import Hub
from mux.metrics.catalogue import Snapshot
from mux.metrics.exposition import Exposition

NO_STORE = {"Cache-Control": "no-store"}
"""What is true now is of no use later (RFC 9111, section 5.2.2.5)."""


def check(operators: OperatorCheck, request: Request) -> None:
    """Let a request pass that may see the numbers.

    Raises:
        Refused: it may not.
    """
    headers = request.headers
    operators.check(authorization=headers.getall("authorization", []), hosts=headers.getall("host", []))


class Ops:
    """The operator's endpoints of one process.

    Args:
        conditions: returns what must be true for clients to be sent here, by name.
        snapshot: returns the numbers.
        operators: decides who may see the numbers.
        hub: returns where refusals are counted; every run of the app has one of its own.
    """

    def __init__(
        self,
        *,
        conditions: Callable[[], Mapping[str, bool]],
        snapshot: Callable[[], Snapshot],
        operators: OperatorCheck,
        hub: Callable[[], Hub],
    ) -> None:
        self._conditions = conditions
        self._operators = operators
        self._hub = hub
        self._exposition = Exposition(snapshot)

    def mount(self, app: Sanic[Any, Any]) -> None:
        """Add the routes to an app."""
        for handler in (self.healthz, self.readyz, self.metrics):
            name = handler.__name__
            app.add_route(handler, f"/{name}", methods=["GET", "HEAD"], name=f"mux_{name}")

    async def healthz(self, request: Request) -> HTTPResponse:
        """Answer."""
        return text("alive\n", headers=NO_STORE)

    async def readyz(self, request: Request) -> HTTPResponse:
        """Answer 200 when all conditions are met, else 503."""
        conditions = self._conditions()
        failing = [name for name, is_met in conditions.items() if not is_met]
        body = orjson.dumps({"ready": not failing, "failing": failing, "conditions": conditions})
        return raw(body, 503 if failing else 200, NO_STORE, "application/json")

    async def metrics(self, request: Request) -> HTTPResponse:
        """Answer with every metric, in the format that is asked for."""
        try:
            check(self._operators, request)
        except Refused as error:
            return refuse(self._hub(), error, NO_STORE)
        body, content_type = self._exposition.expose(",".join(request.headers.getall("accept", [])))
        return raw(body, 200, NO_STORE, content_type)
