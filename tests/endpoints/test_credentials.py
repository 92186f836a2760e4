"""Where the token of a request may stand, and what happens to one that stands in a query."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from sanic import Sanic
from sanic.compat import Header
from sanic.request import Request

from mux import reasons
from mux.endpoints.credentials import hide_query_tokens, token_of
from tests.support.refusals import refused

FIELDS = "authorization", "sec-websocket-protocol", "cookie"


def found(*fields: tuple[str, str], cookie: str | None = "session") -> str | None:
    """Return the token of a request with these fields."""
    asking: Any = SimpleNamespace(headers=Header(list(fields)))
    return token_of(asking, cookie)


@pytest.mark.parametrize(
    "field",
    [
        ("Authorization", "Bearer a.b-c_d"),
        ("authorization", "bEaReR   a.b-c_d "),
        ("Sec-WebSocket-Protocol", "bearer, a.b-c_d"),
        ("Sec-WebSocket-Protocol", "chat,bearer,a.b-c_d,more"),
        ("Cookie", "theme=dark; session=a.b-c_d; x=1"),
        ("Cookie", "session=a.b-c_d"),
    ],
)
def test_a_token_is_found_wherever_it_may_stand(field: tuple[str, str]) -> None:
    """In each of its places."""
    assert found(field) == "a.b-c_d"


@pytest.mark.parametrize(
    "fields",
    [
        (),
        (("Authorization", "Basic dTpw"),),
        (("Authorization", "a.b-c_d"),),
        (("Sec-WebSocket-Protocol", "bearer"),),
        (("Sec-WebSocket-Protocol", "a.b-c_d, bearer"),),
        (("Sec-WebSocket-Protocol", "Bearer, a.b-c_d"),),
        (("Cookie", "other=a.b-c_d"),),
        (("X-Token", "a.b-c_d"),),
    ],
)
def test_a_request_without_a_token_has_none(fields: tuple[tuple[str, str], ...]) -> None:
    """Users and passwords are a proxy's, and a subprotocol may be called bearer."""
    assert found(*fields) is None


def test_a_cookie_counts_only_where_its_name_is_given() -> None:
    """It is given for requests of pages that may act with it."""
    assert found(("Cookie", "session=a"), cookie=None) is None


def test_a_cookie_does_not_count_beside_another_token() -> None:
    """The browser has added it; the page has chosen the other."""
    assert found(("Cookie", "session=a"), ("Authorization", "Bearer b")) == "b"


@pytest.mark.parametrize(
    "fields",
    [
        [("Authorization", "Bearer a"), ("Authorization", "Bearer a")],
        [("Authorization", "Bearer a"), ("Sec-WebSocket-Protocol", "bearer, a")],
        [("Sec-WebSocket-Protocol", "bearer, a, bearer, b")],
        [("Sec-WebSocket-Protocol", "bearer, a"), ("Sec-WebSocket-Protocol", "bearer, b")],
        [("Cookie", "session=a; session=b")],
        [("Cookie", "session=a"), ("Cookie", "session=a")],
    ],
)
def test_several_tokens_are_none(fields: list[tuple[str, str]]) -> None:
    """Also the same one twice: of two readers of a request, one might take the other."""
    with refused(reasons.UNAUTHORIZED, "one token"):
        found(*fields)


def asked(url: bytes) -> Request:
    """Return a request as Sanic has it."""
    app: Any = Sanic("credentials", configure_logging=False)
    request = Request(url, Header({"host": "x"}), "1.1", "GET", None, app)  # type: ignore[arg-type]  # no transport
    Sanic.unregister_app(app)
    return request


@pytest.mark.parametrize(
    ("url", "left", "tokens"),
    [
        (b"/feed/a?token=x.y", b"/feed/a", ["Bearer x.y"]),
        (b"/feed/a?last=3&token=x.y&since=1-2", b"/feed/a?last=3&since=1-2", ["Bearer x.y"]),
        (b"/feed/a?tok%65n=x%2Ey", b"/feed/a", ["Bearer x.y"]),
        (b"/feed/a?token=x&token=y", b"/feed/a", ["Bearer x", "Bearer y"]),
        (b"/feed/a?token=", b"/feed/a", ["Bearer "]),
        (b"/feed/a?token=x%0D%0AEvil:%20y", b"/feed/a", ["Bearer "]),
        (b"/feed/a?tokens=x", b"/feed/a?tokens=x", []),
        (b"/feed/a?last=3", b"/feed/a?last=3", []),
        (b"/feed/a", b"/feed/a", []),
    ],
)
def test_a_token_in_a_query_becomes_a_field(url: bytes, left: bytes, tokens: list[str]) -> None:
    """The URL, which is logged, has it no longer; all else of the query stays."""
    request = asked(url)
    assert request.args is not None  # it has been read before, and is kept
    hide_query_tokens(request)
    assert request.raw_url == left
    assert request.headers.getall("authorization", []) == tokens
    assert "token" not in request.args
    assert request.query_string == left.partition(b"?")[2].decode()
    assert request.url == f"http://x{left.decode()}"
