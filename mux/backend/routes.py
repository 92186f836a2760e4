"""The routes of the API: POST /api/<method>, for whoever has a key.

    404    there is no such method, or no API              401    the key is missing or wrong; nothing else is said
    405    it is no POST                                   400    the body is no JSON
    413    the body is too large                           200    all else: a result, or an error

A request's key is looked at first, before its body is read. With `X-Centrifugo-Error-Mode: transport` an error is the
whole answer, and its code is told by the status.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import orjson
from sanic import Sanic
from sanic.request import Request
from sanic.response import HTTPResponse, raw

from mux import reasons
from mux.backend.backend import Backend
from mux.backend.errors import STATUSES
from mux.backend.keys import PARAMETER, Keys
from mux.endpoints.compression import Compression
from mux.endpoints.credentials import hide_parameter
from mux.endpoints.past import Answers
from mux.endpoints.publishing import read_body
from mux.endpoints.refusals import refuse
from mux.endpoints.routes import FIRST, own_route
from mux.endpoints.takeover import transport_of
from mux.errors import InvalidSetting, Refused
from mux.hub.hub import Hub
from mux.settings.settings import Settings
from mux.wire.http.head import RequestHead

PATH = "/api/"
"""The path of every method of the API begins with this."""

MAX_BODY_BYTES = 1024 * 1024
"""Largest body of a request, in bytes, unless twice the largest message is more."""

ERROR_MODE = "x-centrifugo-error-mode"


class Api:
    """The API of an app.

    Args:
        settings: api_key, of which there is at least one, max_message_bytes, handshake_seconds, and what compresses.
        backend: returns what does the commands in this run of the app.
        hub: returns where refusals are counted.
    """

    def __init__(self, settings: Settings, backend: Callable[[], Backend], hub: Callable[[], Hub]) -> None:
        self._keys = Keys(settings.api_key)
        self._body_seconds = settings.handshake_seconds
        self._backend = backend
        self._hub = hub
        self._answers = Answers()
        self._compression = Compression(settings)
        self.max_body_bytes = max(MAX_BODY_BYTES, 2 * settings.max_message_bytes)

    def mount(self, app: Sanic[Any, Any]) -> None:
        """Add the route to an app.

        Raises:
            InvalidSetting: the app has an API already.
        """
        name = "mux_api"
        if f"{app.name}.{name}" in {route.name for route in app.router.routes}:
            raise InvalidSetting("the app has an API already: give one Mux of an app the api_key")

        @app.post(f"{PATH}<method:str>", name=name, stream=True)
        async def post(request: Request, method: str) -> HTTPResponse:
            return await self._post(request, method)

        app.register_middleware(partial(_hide_key, name), "request", priority=FIRST)

    def limit(self, head: RequestHead) -> int:
        """Return how large a body a request to the API may have, by its head; 0 when it is for something else.

        Raises:
            Refused: it has no key.
        """
        path, _, query = head.target.partition("?")
        if head.method != "POST" or not path.startswith(PATH):
            return 0
        if not self._keys.fit(head.fields, query):
            raise Refused(reasons.API_KEY)
        return self.max_body_bytes

    async def _post(self, request: Request, method: str) -> HTTPResponse:
        if not self._keys.fit(request.headers.items(), request.query_string):
            self._hub().refuse(reasons.API_KEY)
            return HTTPResponse(status=reasons.API_KEY.status)
        backend = self._backend()
        try:
            if not backend.has(method):
                raise Refused(reasons.NOT_FOUND, "the API has no such method")
            body = await read_body(request, self.max_body_bytes, self._body_seconds)
            self._answers.check()
            answer = await backend.answer(method, body)
        except Refused as error:
            return refuse(self._hub(), error)
        wrong = answer.get("error")
        is_bare = wrong is not None and request.headers.get(ERROR_MODE) == "transport"
        content = orjson.dumps(wrong if is_bare else answer)
        self._answers.add(transport_of(request), len(content))
        status = STATUSES[wrong["code"]] if wrong and is_bare else 200
        return await self._compression.compress(request, raw(content, status, content_type="application/json"))


def _hide_key(route: str, request: Request) -> None:
    """A key leaves the URL before anybody logs it, also when there is no such method."""
    if request.path.startswith(PATH) and (request.route is None or own_route(request) == route):
        hide_parameter(request, PARAMETER, "x-api-key")
