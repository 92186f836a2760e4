"""Answer requests that are refused, and requests for routes that are not there: one count and one sentence each.

Sanic would choose between text, JSON and a page by the Accept header, and would answer 500 to one that it cannot read.
It also leaves out which methods there are where a path has a parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus

from sanic.exceptions import MethodNotAllowed, NotFound, SanicException
from sanic.handlers import ErrorHandler
from sanic.request import Request
from sanic.response import HTTPResponse, text

from mux import reasons
from mux.endpoints.takeover import name_status
from mux.errors import Refused
from mux.hub.hub import Hub

METHODS = ("GET", "HEAD", "OPTIONS", "POST")
"""Every method that any route of mux has."""

name_status(HTTPStatus(reasons.HOST.status))


def refuse(hub: Hub, error: Refused, fields: Mapping[str, str] | None = None) -> HTTPResponse:
    """Count a refusal and return its answer, with these header fields beside those of its reason."""
    hub.refuse(error.reason)
    return text(f"{error}\n", error.reason.status, {**(fields or {}), **error.reason.fields})


class PlainErrors(ErrorHandler):
    """Answers in a server of mux' own where there is no route, and where a route fails.

    Args:
        hub: returns where refusals are counted; every run of the app has a hub of its own.
    """

    def __init__(self, hub: Callable[[], Hub]) -> None:
        super().__init__()
        self._hub = hub

    def default(self, request: Request, exception: Exception) -> HTTPResponse:
        """Return the answer to a request that has ended in an exception; a mistake of ours is logged."""
        self.log(request, exception)
        if isinstance(exception, NotFound):
            return refuse(self._hub(), Refused(reasons.NOT_FOUND))
        if isinstance(exception, MethodNotAllowed):
            methods = ", ".join(_methods(request))
            fields = {"Allow": methods}  # RFC 9110, section 15.5.6
            return refuse(self._hub(), Refused(reasons.METHOD, f"this path takes {methods}"), fields)
        if isinstance(exception, SanicException):
            return text(f"{exception}\n", exception.status_code, dict(exception.headers))
        return refuse(self._hub(), Refused(reasons.FAILED))


def _methods(request: Request) -> list[str]:
    """Return the methods that a request's path has."""
    found = []
    for method in METHODS:
        with suppress(NotFound, MethodNotAllowed):
            request.app.router.get(request.path, method, None)
            found.append(method)
    return found
