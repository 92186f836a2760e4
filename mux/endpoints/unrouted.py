"""What a server of mux' own answers where no route does: one sentence, whatever the client accepts.

Sanic chooses between text, JSON and a page by reading the Accept header, and one that it cannot read was an error while
handling an error: 500 where 404 was due. It also leaves out which methods there are where a path has a parameter.
"""

from __future__ import annotations

from contextlib import suppress

from sanic.exceptions import MethodNotAllowed, NotFound, SanicException
from sanic.handlers import ErrorHandler
from sanic.request import Request
from sanic.response import HTTPResponse, text

METHODS = ("GET", "HEAD", "OPTIONS", "POST")
"""All that any route of mux has."""


class PlainErrors(ErrorHandler):
    """Answers for the routes that are not there, and for mistakes of those that are."""

    def default(self, request: Request, exception: Exception) -> HTTPResponse:
        """Return the answer to a request that has ended in an exception; a mistake of ours is logged."""
        self.log(request, exception)
        if not isinstance(exception, SanicException):
            return text("the server has failed; its log says how\n", 500)
        headers = dict(exception.headers)
        if isinstance(exception, MethodNotAllowed):
            headers["Allow"] = ", ".join(_methods(request))  # RFC 9110, section 15.5.6
        return text(f"{exception}\n", exception.status_code, headers)


def _methods(request: Request) -> list[str]:
    """Return the methods that a request's path has."""
    found = []
    for method in METHODS:
        with suppress(NotFound, MethodNotAllowed):
            request.app.router.get(request.path, method, None)
            found.append(method)
    return found
