import pytest

from mux.wire.http.answer import sharing
from mux.wire.http.origin import OriginPolicy

LISTED = "https://app.example.com"


@pytest.mark.parametrize(
    ("allowed", "origin", "expected"),
    [
        pytest.param((), None, {}, id="no page"),
        pytest.param((), "http://feed.example.com", {"Allow-Origin": "http://feed.example.com"}, id="same host"),
        pytest.param((), LISTED, {}, id="not allowed"),
        pytest.param((LISTED,), LISTED, {"Allow-Origin": LISTED, "Allow-Credentials": "true"}, id="listed"),
        pytest.param((LISTED,), "https://evil.example.com", {}, id="another is listed"),
        pytest.param(("*",), "https://evil.example.com", {"Allow-Origin": "*"}, id="any"),
        pytest.param(("*",), "null", {"Allow-Origin": "*"}, id="any, and no origin to name"),
        pytest.param(("*", LISTED), LISTED, {"Allow-Origin": LISTED, "Allow-Credentials": "true"}, id="any and listed"),
        pytest.param((LISTED,), "\udcff://\r", {}, id="nonsense"),
        pytest.param(("null",), "null", {"Allow-Origin": "null"}, id="every page that hides, so without credentials"),
        pytest.param(("file://",), "file://", {"Allow-Origin": "file://", "Allow-Credentials": "true"}, id="a file"),
    ],
)
def test_who_may_connect_may_read(allowed: tuple[str, ...], origin: str | None, expected: dict[str, str]) -> None:
    """Credentials go along for whom the list names, and never for everybody; caches keep pages apart."""
    headers = sharing(OriginPolicy(allowed), origin, "feed.example.com")
    assert headers == {"Vary": "Origin", **{f"Access-Control-{name}": value for name, value in expected.items()}}
