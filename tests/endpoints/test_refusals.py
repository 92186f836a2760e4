"""What `mux serve` answers where it has no route, and when a route of its own fails."""

from __future__ import annotations

import socket

import pytest
from sanic import Request
from sanic.headers import format_http1_response
from sanic.response import HTTPResponse

from mux import Settings, create_app, reasons
from mux.reasons import Reason
from tests.endpoints.test_request_checks import ask
from tests.support.requests import exchange, request
from tests.support.servers import running

EXPECTED = [
    ("GET /nothing?token=secret HTTP/1.1", 404, None),
    ("HEAD /nothing HTTP/1.1", 404, None),
    ("GET /feed HTTP/1.1", 404, None),
    ("PUT /feed/lobby HTTP/1.1", 405, "GET, HEAD, OPTIONS, POST"),
    ("DELETE /feed/a/b%2F HTTP/1.0", 405, "GET, HEAD, OPTIONS, POST"),
    ("POST /stats HTTP/1.1", 405, "GET, HEAD"),
    ("OPTIONS / HTTP/1.1", 405, "GET, HEAD"),
    ("GET /broken?token=secret HTTP/1.1", 500, None),
]

ACCEPTS = [
    [],
    *([f"Accept: {accept}"] for accept in ("x", "", "*", "a, b", "=", ";;;", "//", "\N{EURO SIGN}", "text/html;q=x")),
    ["Accept: application/json, text/html"],
    ["Accept: text/html", "Accept: 1"],
]


def test_sanic_says_the_phrase_of_every_status() -> None:
    """421 was `421 UNKNOWN`: Sanic makes these lines when it is imported, whatever its table says later."""
    statuses = {reason.status for reason in vars(reasons).values() if isinstance(reason, Reason) and reason.status}
    lines = {status: format_http1_response(status, []) for status in statuses}
    assert lines[421] == b"HTTP/1.1 421 Misdirected Request\r\n\r\n"
    assert not any(b"UNKNOWN" in line for line in lines.values())


async def test_a_route_that_is_not_there_is_one_sentence_whatever_is_accepted(
    redis_url: str, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An Accept that cannot be read made a 500 of it, without a line of log; 405 says which methods there are."""
    app = create_app(Settings(redis_url=redis_url, prefix=prefix, announce=False))

    @app.get("/broken")
    async def broken(_: Request) -> HTTPResponse:
        raise ZeroDivisionError

    with socket.create_server(("127.0.0.1", 0)) as sock:
        async with running(app, sock=sock, protocol=app.ctx.http_protocol):
            port = sock.getsockname()[1]
            for request, expected, allow in EXPECTED:
                for accept in ACCEPTS:
                    asking = ask(port, request, "Host: localhost", *accept)
                    status, headers, sentence = await asking
                    assert (status, headers.get("allow")) == (expected, allow), (request, accept)
                    assert headers["content-type"] == "text/plain; charset=utf-8"
                    assert "alt-svc" not in headers  # Sanic puts an empty one into all of its answers
                    assert sentence.count("\n") == (not request.startswith("HEAD"))
                    assert "secret" not in sentence
    assert sum("ZeroDivisionError" in str(record.exc_info) for record in caplog.records) == len(ACCEPTS)


async def test_what_has_no_route_is_counted_and_has_no_body_after_head(redis_url: str, prefix: str) -> None:
    """404, 405, 426, 403 and 500 were told and not counted; a HEAD is told as much by the status alone."""
    app = create_app(Settings(redis_url=redis_url, prefix=prefix, announce=False))

    @app.route("/broken", methods=["GET", "HEAD"])
    async def broken(_: Request) -> HTTPResponse:
        raise ZeroDivisionError

    refused = {
        "/nothing": (404, "not_found"),
        "/broken": (500, "failed"),
        "/feed/lobby": (426, "no_upgrade"),
        "/feed/%20": (400, "channel"),
        "/stats": (403, "inspection"),
    }
    with socket.create_server(("127.0.0.1", 0)) as sock:
        async with running(app, sock=sock, protocol=app.ctx.http_protocol):
            port = sock.getsockname()[1]
            for count, method in enumerate(("GET", "HEAD"), 1):
                for target, (status, reason) in refused.items():
                    answer = await exchange(port, request(method, target, "Connection: close"))
                    assert (answer.status, answer.body == b"") == (status, method == "HEAD")
                    assert app.ctx.hub.refused[reason] == count
            answer = await exchange(port, request("DELETE", "/feed/lobby"))
            assert (answer.status, answer.body) == (405, b"this path takes GET, HEAD, OPTIONS, POST\n")
            assert app.ctx.hub.refused["method"] == 1
